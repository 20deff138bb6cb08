"""The lists of all buffers: by BPF, bufinfo, sysfs and dumps."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from heaptop.assemble.bpf import Bpf, BpfReader, note_refusal
from heaptop.assemble.entries import Entries
from heaptop.assemble.gaps import Gaps, counted, missing_debugfs
from heaptop.assemble.heaps import HeapNames
from heaptop.assemble.held import Held
from heaptop.assemble.memo import Last, keep_equal
from heaptop.assemble.parts import Holding, Parts
from heaptop.assemble.stacks import StacksReader
from heaptop.assemble.totals import Totals
from heaptop.assemble.troubles import without_identity
from heaptop.call_stack import Origin
from heaptop.capture import NOTHING, Capture
from heaptop.model import Source
from heaptop.parse import bufinfo
from heaptop.parse.bpf_iter import IterRow
from heaptop.parse.bufinfo import Bufinfo, Row
from heaptop.parse.dump import DumpedBuffer
from heaptop.parse.fdinfo import DmabufFdinfo

BUFINFO: Final = "sys/kernel/debug/dma_buf/bufinfo"

Infos = Mapping[int, DmabufFdinfo]
"""The newest fdinfo of each buffer, where it is apart from those of the processes."""


class Listing(NamedTuple):
    """What the lists of all buffers say: BPF, rows of bufinfo and entries of sysfs by inode, and the rows that have no
    inode (up to 5.2). `trouble` is what is wrong with bufinfo's rows by its own totals.
    """

    bpf: Bpf

    rows: Mapping[int, Row]
    entries: Entries
    nameless_rows: tuple[Row, ...]
    has_bufinfo: bool
    trouble: str
    is_old: bool = False
    dumped: Mapping[int, tuple[Source, DumpedBuffer]] = NOTHING
    origins: Mapping[int, Origin] = NOTHING

    @property
    def is_exact(self) -> bool:
        """Whether bufinfo is there, of this capture, and in order."""
        return self.has_bufinfo and not self.trouble and not self.is_old

    @property
    def inodes(self) -> set[int]:
        """The buffers in any of them."""
        return {*self.bpf.rows, *self.rows, *self.entries, *self.dumped}

    def parts(
        self, inode: int, holdings: Sequence[Holding], names: HeapNames, info: DmabufFdinfo | None = None
    ) -> Parts:
        """All that is told of one buffer."""
        bpf, rows, entries = self.bpf, self.rows, self.entries
        return Parts(
            tuple(holdings),
            rows.get(inode),
            entries.get(inode),
            self.is_exact,
            names,
            bpf.rows.get(inode),
            bpf.runs.get(inode),
            self.dumped.get(inode),
            info,
            self.origins.get(inode),
        )


class Lister:
    """Reads all lists. While a capture has the same text as the one before, so is the listing the very same object."""

    def __init__(self) -> None:
        self._bpf = BpfReader()
        self._known = bufinfo.Known()
        self._rows = Last(_rows)
        self._origins = StacksReader()
        self._join = Last(_listing)
        self._text = b""

    def read(self, capture: Capture, entries: Entries, held: Held, infos: Infos, gaps: Gaps) -> Listing:
        """Names that BPF and processes told make bufinfo's rows exact where a name holds newlines."""
        bpf = self._bpf.read(capture.files, gaps)
        raw = capture.files.get(BUFINFO)
        if isinstance(raw, bytes):
            raw = self._text = keep_equal(self._text, raw)
        names = _KnownNames(held, bpf.rows, infos)
        info = gaps.read(raw, lambda text: bufinfo.parse(text, names, self._known), "bufinfo")
        rows = None if info is None else self._rows(info)
        origins = self._origins.read(capture.files, gaps)
        return self._join(bpf, rows, entries, BUFINFO in capture.older, origins)


class _Rows(NamedTuple):
    """What bufinfo lists: by inode, and what has none; `trouble` is what is wrong by its own totals."""

    by_inode: Mapping[int, Row]
    nameless: tuple[Row, ...]
    trouble: str


def _rows(info: Bufinfo) -> _Rows:
    """Of rows with the same inode the first: a buffer's name can imitate a row, but only after its own."""
    by_inode = {row.ino: row for row in reversed(info.rows) if row.ino is not None}
    return _Rows(by_inode, tuple([row for row in info.rows if row.ino is None]), info.trouble())


def _listing(bpf: Bpf, rows: _Rows | None, entries: Entries, is_old: bool, origins: Mapping[int, Origin]) -> Listing:
    """Of an older bufinfo, what is not in another list either has been freed since."""
    if rows is None:
        return Listing(bpf, {}, entries, (), has_bufinfo=False, trouble="", origins=origins)
    by_inode = rows.by_inode
    if is_old and (bpf.has_list or entries):
        by_inode = {inode: row for inode, row in by_inode.items() if inode in bpf.rows or inode in entries}
    return Listing(
        bpf,
        by_inode,
        entries,
        rows.nameless,
        has_bufinfo=True,
        trouble=rows.trouble,
        is_old=is_old,
        origins=origins,
    )


class _KnownNames:
    """Names as other sources than bufinfo tell them."""

    def __init__(self, held: Held, listed: Mapping[int, IterRow], infos: Infos) -> None:
        self._held = held
        self._listed = listed
        self._infos = infos

    def get(self, inode: int) -> bytes | None:
        """The name of a buffer; None where it has none, or that is not known."""
        row, info = self._listed.get(inode), self._infos.get(inode)
        if row is not None and row.name is not None and not row.is_pinned:
            return row.name
        if info is not None and info.name is not None:
            return info.name
        return _known_name(self._held.get(inode, ()))


def _known_name(holdings: Iterable[Holding]) -> bytes | None:
    for holding in holdings:
        if holding.info is not None:
            return holding.info.name
    return next((name for holding in holdings if (name := holding.link_name or holding.map_name)), None)


_SHOWN: Final = {"size_bytes": "size", "exporter": "exporter", "name": "name", "file_count": "file count"}
_SHOWN_OF_BUFINFO: Final = {"attachments": "attachments", "fences": "fences"}


def note(capture: Capture, listing: Listing, totals: Totals, gaps: Gaps) -> None:
    """Gaps for the lists, and for the values that no source told. What only bufinfo has is one gap where that is not
    readable.
    """
    why, remedy = "no source that could be read tells", ""
    if listing.has_bufinfo:
        why = "not in bufinfo, which is read at another moment"
    elif not isinstance(capture.files.get(BUFINFO), bytes):
        reason, remedy = missing_debugfs(capture, BUFINFO, "CONFIG_DEBUG_FS")
        has_list = listing.entries or listing.bpf.has_list
        unlisted = "" if has_list else "buffers that no readable process holds; "
        gaps.add(f"{unlisted}attachments, fences and references as bufinfo has them", reason, remedy)
    if listing.nameless_rows:
        gaps.add(*without_identity(counted(len(listing.nameless_rows), "buffer") + " of bufinfo"))
    note_refusal(capture.files, gaps, has_list=listing.has_bufinfo)
    if listing.trouble:
        gaps.add("rows of bufinfo may be wrong or missing", listing.trouble, "look again")
    fields_by_count: dict[int, list[str]] = {}
    for name, text in (_SHOWN | _SHOWN_OF_BUFINFO if listing.has_bufinfo else _SHOWN).items():
        fields_by_count.setdefault(totals.count_without(name), []).append(text)
    fields_by_count.pop(0, None)
    for count, fields in fields_by_count.items():
        gaps.add(f"{', '.join(fields)} of {counted(count, 'buffer', totals.count)}", why, remedy)
