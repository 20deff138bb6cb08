"""Joining all that was told of buffers, by inode."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache, partial
from types import MappingProxyType
from typing import Final, NamedTuple, TypeVar

from heaptop.assemble.bpf import Bpf, BpfReader, note_refusal
from heaptop.assemble.gaps import Gaps, counted, is_gone, missing_debugfs
from heaptop.assemble.heaps import HeapNames
from heaptop.assemble.memo import Last, keep_equal
from heaptop.assemble.parts import Holding, Parts, SysfsEntry
from heaptop.assemble.stacks import StacksReader
from heaptop.call_stack import Origin
from heaptop.capture import NOTHING, Capture, Raw
from heaptop.compiled import compiled
from heaptop.errors import ParseError
from heaptop.model import Buffer, Fence, PageRun, Provenance, Source
from heaptop.parse import bufinfo, dmabuf_sysfs
from heaptop.parse.bpf_iter import IterRow
from heaptop.parse.bufinfo import Bufinfo, Row
from heaptop.parse.dump import DumpedBuffer
from heaptop.parse.fdinfo import DmabufFdinfo
from heaptop.units import text_of

_quick = compiled("heaptop.assemble._quick")

BUFINFO: Final = "sys/kernel/debug/dma_buf/bufinfo"
BUFFERS: Final = "sys/kernel/dmabuf/buffers"

Held = Mapping[int, Sequence[Holding]]
"""How processes hold each buffer, by inode."""
Infos = Mapping[int, DmabufFdinfo]
"""The newest fdinfo of each buffer, where it is apart from those of the processes."""


class Listing(NamedTuple):
    """What the lists of all buffers say: BPF, rows of bufinfo and entries of sysfs by inode, and the rows that have no
    inode (up to 5.2). `trouble` is what is wrong with bufinfo's rows by its own totals.
    """

    bpf: Bpf

    rows: Mapping[int, Row]
    entries: Mapping[int, SysfsEntry]
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
        return Parts(
            holdings=tuple(holdings),
            row=self.rows.get(inode),
            entry=self.entries.get(inode),
            trust_row=self.is_exact,
            heap_names=names,
            listed=self.bpf.rows.get(inode),
            runs=self.bpf.runs.get(inode),
            dumped=self.dumped.get(inode),
            info=info,
            origin=self.origins.get(inode),
        )


class Lister:
    """Reads all lists. While a capture has the same text as the one before, so is the listing the very same object."""

    def __init__(self) -> None:
        self._bpf = BpfReader()
        self._names = Last(_known_names)
        self._rows: bufinfo.Known = {}
        self._parse = Last(partial(bufinfo.parse, known=self._rows))
        self._origins = StacksReader()
        self._join = Last(_listing)
        self._text = b""
        self._entries: dict[int, SysfsEntry] = {}

    def read(self, capture: Capture, held: Held, infos: Infos, gaps: Gaps) -> Listing:
        """Names that BPF and processes told make bufinfo's rows exact where a name holds newlines."""
        bpf = self._bpf.read(capture.files, gaps)
        self._entries = keep_equal(self._entries, _entries(capture, gaps))
        raw = capture.files.get(BUFINFO)
        if isinstance(raw, bytes):
            raw = self._text = keep_equal(self._text, raw)
        info = gaps.read(raw, lambda text: self._parse(text, self._names(held, bpf.rows, infos)), "bufinfo")
        origins = self._origins.read(capture.files, gaps)
        return self._join(bpf, info, self._entries, BUFINFO in capture.older, origins)


def _listing(
    bpf: Bpf, info: Bufinfo | None, entries: dict[int, SysfsEntry], is_old: bool, origins: Mapping[int, Origin]
) -> Listing:
    """Of an older bufinfo, what is not in another list either has been freed since."""
    if info is None:
        return Listing(bpf, {}, entries, (), has_bufinfo=False, trouble="", origins=origins)
    nameless = tuple(row for row in info.rows if row.ino is None)
    rows = _by_inode(info)
    if is_old and (bpf.has_list or entries):
        rows = {inode: row for inode, row in rows.items() if inode in bpf.rows or inode in entries}
    return Listing(
        bpf, rows, entries, nameless, has_bufinfo=True, trouble=info.trouble(), is_old=is_old, origins=origins
    )


def _by_inode(info: Bufinfo) -> dict[int, Row]:
    """The first of rows with the same inode: a buffer's name can imitate a row, but only after its own."""
    rows: dict[int, Row] = {}
    for row in info.rows:
        if row.ino is not None:
            rows.setdefault(row.ino, row)
    return rows


def _entries(capture: Capture, gaps: Gaps) -> dict[int, SysfsEntry]:
    entries: dict[int, SysfsEntry] = {}
    for path in sorted(path for path in capture.files if path.startswith(BUFFERS)):
        raw = capture.files[path]
        where = dmabuf_sysfs.entry(path)
        if where is None:
            if path == BUFFERS:
                gaps.read(raw, lambda _: None, f"/{BUFFERS}")
        elif not is_gone(raw):
            entries[where.inode] = _read(entries.get(where.inode) or SysfsEntry(), where.file, raw, gaps)
    for path, target in capture.links.items():
        where = dmabuf_sysfs.entry(path)
        if where is not None and where.attachment is not None and where.inode in entries:
            entry = entries[where.inode]
            device = where.attachment, dmabuf_sysfs.device(target)
            entries[where.inode] = entry._replace(attachments=(*entry.attachments, device))
    return entries


def _read(entry: SysfsEntry, file: str, raw: Raw, gaps: Gaps) -> SysfsEntry:
    if not isinstance(raw, bytes):
        # A directory can vanish while it is being read, as any errno; the fields stay unknown.
        return entry
    try:
        if file == "size":
            return entry._replace(size=dmabuf_sysfs.size(raw))
        if file == "exporter_name":
            return entry._replace(exporter=dmabuf_sysfs.exporter_name(raw))
    except ParseError as error:
        gaps.tally(f"{{}} below /{BUFFERS} could not be read", "file", str(error))
    return entry


def _known_names(held: Held, listed: Mapping[int, IterRow], infos: Infos) -> dict[int, bytes]:
    exact = {inode: row.name for inode, row in listed.items() if row.name is not None and not row.is_pinned}
    told = {inode: info.name for inode, info in infos.items() if info.name is not None}
    names = {inode: name for inode, holdings in held.items() if (name := _known_name(holdings)) is not None}
    return names | told | exact


def _known_name(holdings: Iterable[Holding]) -> bytes | None:
    for holding in holdings:
        if holding.info is not None:
            return holding.info.name
    return next((name for holding in holdings if (name := holding.link_name or holding.map_name)), None)


Value = TypeVar("Value")


class _Taken:
    """Takes the values of one buffer, each from the first source that tells it, and keeps all that do."""

    def __init__(self) -> None:
        self.sources: list[tuple[str, tuple[Source, ...]]] = []

    def first(self, name: str, *candidates: tuple[Source, Value | None]) -> Value | None:
        known = [candidate for candidate in candidates if candidate[1] is not None]
        if not known:
            return None
        self.sources.append((name, (known[0][0],) if len(known) == 1 else tuple([source for source, _ in known])))
        return known[0][1]


def build(inode: int, parts: Parts) -> Buffer:
    """The buffer that these parts make."""
    built: Buffer | None = None if _quick is None else _quick.build(inode, parts, _build)
    return _build(inode, parts) if built is None else built


def _build(inode: int, parts: Parts) -> Buffer:
    holdings, row, entry, listed = parts.holdings, parts.row, parts.entry, parts.listed
    stat = next((holding.stat for holding in holdings if holding.stat is not None), None)
    info = parts.newest_info
    taken = _Taken()
    teller, told = parts.dumped or (Source.DERIVED, None)
    size = taken.first(
        "size_bytes",
        (Source.BPF, listed.size if listed else None),
        (Source.FD_STAT, stat.size_bytes if stat else None),
        (Source.FDINFO, info.size if info else None),
        (Source.SYSFS_BUFFERS, entry.size if entry else None),
        (Source.BUFINFO, row.size if row else None),
        (teller, told.size if told else None),
    )
    exporter_name = taken.first(
        "exporter",
        (Source.BPF, listed.exp_name if listed else None),
        (Source.FDINFO, info.exp_name if info else None),
        (Source.SYSFS_BUFFERS, entry.exporter if entry else None),
        (Source.BUFINFO, row.exp_name if row else None),
        (teller, told.exporter if told else None),
    )
    exporter = None if exporter_name is None else text_of(exporter_name)
    count = taken.first("file_count", *_counts(parts))
    holders = tuple(holding.holder for holding in holdings)
    seen = [holding.references for holding in holdings]
    hidden = None if count is None or None in seen else max(0, count - sum(one or 0 for one in seen))
    fences = taken.first("fences", (Source.BUFINFO, row.fences if row else None))
    attachments = _attachments(taken, row, entry, parts.dumped)
    return Buffer(
        inode=inode,
        size_bytes=size,
        exporter=exporter,
        name=_name(taken, parts),
        file_count=count,
        hidden_refs=taken.first("hidden_refs", (Source.DERIVED, hidden)),
        attachments=attachments,
        fences=None
        if fences is None
        else tuple(Fence(each.usage, text_of(each.text), each.signalled) for each in fences),
        holders=holders,
        heap=None if exporter is None else taken.first("heap", (Source.DERIVED, parts.heap_names.heap_of(exporter))),
        runs=taken.first("runs", (Source.BPF, parts.runs), (teller, _runs(told))),
        origin=taken.first("origin", (Source.STACKS, parts.origin)),
        provenance=_provenance(tuple(taken.sources)),
    )


def _runs(dumped: DumpedBuffer | None) -> tuple[PageRun, ...] | None:
    """Page frames of 4 KiB: the vendors' kernels that print addresses have no others."""
    if dumped is None or not dumped.spans:
        return None
    return tuple(PageRun(first >> 12, (last + 1 - first) >> 12) for first, last in dumped.spans)


def _counts(parts: Parts) -> tuple[tuple[Source, int | None], ...]:
    """BPF and bufinfo are read in one go with each capture, a descriptor's fdinfo perhaps long before the last one: so
    BPF's count goes first, then bufinfo's where that is in order, then that of the newest fdinfo, and else the
    smallest, so that no reference is hidden by mistake.
    """
    newest = [] if parts.info is None else [parts.info.file_count]
    counts = newest or [holding.file_count for holding in parts.holdings if holding.file_count is not None]
    fdinfo = (Source.FDINFO, min(counts, default=None))
    row = parts.row
    listed = (Source.BUFINFO, row.file_count if row is not None and row.file_count >= 0 else None)
    exact = (Source.BPF, parts.listed.file_count if parts.listed is not None else None)
    teller, told = parts.dumped or (Source.DERIVED, None)
    dumped = (teller, told.file_count if told is not None else None)
    return (exact, listed, fdinfo, dumped) if parts.trust_row else (exact, fdinfo, listed, dumped)


def _name(taken: _Taken, parts: Parts) -> str | None:
    """The name; each candidate is a name in a tuple, `(None,)` where a source tells that there is none.

    A link or mapping without a name tells nothing: it is the same for an unnamed buffer and an empty name. Nor does a
    pinned iterator, and it shows newlines as blanks.
    """
    listed = parts.listed
    pinned = listed.name if listed is not None and listed.is_pinned else None
    info = parts.newest_info
    link = next((holding.link_name for holding in parts.holdings if holding.link_name), None)
    mapped = next((holding.map_name for holding in parts.holdings if holding.map_name), None)
    teller, dumped = parts.dumped or (Source.DERIVED, None)
    told = taken.first(
        "name",
        (Source.BPF, (listed.name,) if listed is not None and not listed.is_pinned else None),
        (Source.FDINFO, (info.name,) if info is not None else None),
        (Source.FD_LINK, (link,) if link is not None else None),
        (Source.MAPS, (mapped,) if mapped is not None else None),
        (Source.BUFINFO, (parts.row.name,) if parts.row is not None else None),
        (Source.BPF, (pinned,) if pinned is not None else None),
        (teller, (dumped.name,) if dumped is not None and dumped.name is not None else None),
    )
    return None if told is None or told[0] is None else text_of(told[0])


def _attachments(
    taken: _Taken, row: Row | None, entry: SysfsEntry | None, dumped: tuple[Source, DumpedBuffer] | None
) -> tuple[str, ...] | None:
    """Devices by bufinfo, or by sysfs where that has them (5.14 only: their absence there tells nothing)."""
    by_number = sorted(entry.attachments) if entry is not None else []
    teller, told = dumped or (Source.DERIVED, None)
    devices = taken.first(
        "attachments",
        (Source.BUFINFO, row.attachments if row else None),
        (Source.SYSFS_BUFFERS, tuple(device for _, device in by_number) or None),
        (teller, told.attachments if told is not None else None),
    )
    return None if devices is None else tuple(map(text_of, devices))


@lru_cache(maxsize=256)
def _provenance(sources: tuple[tuple[str, tuple[Source, ...]], ...]) -> Provenance:
    """Few combinations occur: one object for each."""
    return MappingProxyType(dict(sources))


_SHOWN: Final = {"size_bytes": "size", "exporter": "exporter", "name": "name", "file_count": "file count"}
_SHOWN_OF_BUFINFO: Final = {"attachments": "attachments", "fences": "fences"}


def count_unknown(buffers: tuple[Buffer, ...]) -> Mapping[str, int]:
    """How many buffers have a value that no source told, by field."""
    by_provenance = Counter(id(buffer.provenance) for buffer in buffers)
    sources = {id(buffer.provenance): buffer.provenance for buffer in buffers}
    return {
        name: sum(count for key, count in by_provenance.items() if name not in sources[key])
        for name in (*_SHOWN, *_SHOWN_OF_BUFINFO)
    }


def note(capture: Capture, listing: Listing, unknown: Mapping[str, int], total: int, gaps: Gaps) -> None:
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
    note_refusal(capture.files, gaps, has_list=listing.has_bufinfo)
    if listing.trouble:
        gaps.add("rows of bufinfo may be wrong or missing", listing.trouble, "look again")
    fields_by_count: dict[int, list[str]] = {}
    for name, text in (_SHOWN | _SHOWN_OF_BUFINFO if listing.has_bufinfo else _SHOWN).items():
        fields_by_count.setdefault(unknown[name], []).append(text)
    fields_by_count.pop(0, None)
    for count, fields in fields_by_count.items():
        gaps.add(f"{', '.join(fields)} of {counted(count, 'buffer', total)}", why, remedy)
