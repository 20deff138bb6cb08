"""What BPF tells of all buffers: the list of them, and where they lie."""

from collections.abc import Mapping
from typing import Final, NamedTuple

from heaptop.assemble.gaps import AS_ROOT, Gaps, is_denied, is_gone, reason
from heaptop.assemble.memo import Last, keep_equal
from heaptop.capture import NOTHING, Raw, ReadError
from heaptop.model import PageRun
from heaptop.parse import bpf_iter, bpf_pages
from heaptop.parse.bpf_iter import IterRow

LIST: Final = "bpf/dmabuf_iter"
PAGES: Final = "bpf/dmabuf_pages"
PINS: Final = "sys/fs/bpf/"
AS_PROFILER: Final = "run as root or with CAP_BPF and CAP_PERFMON"

_PLACES: Final = "where buffers lie in memory, as BPF tells it"
_Place = tuple[int, tuple[PageRun, ...]]


class Bpf(NamedTuple):
    """Rows and runs by inode. `has_list` says whether all buffers are listed, of which there may be none."""

    rows: Mapping[int, IterRow] = NOTHING
    runs: Mapping[int, tuple[PageRun, ...]] = NOTHING
    has_list: bool = False


class BpfReader:
    """Reads both. While a capture has the same texts as the one before, so is the result the very same object."""

    def __init__(self) -> None:
        self._parse = Last(bpf_iter.parse)
        self._parse_pinned = Last(bpf_iter.parse_pinned)
        self._find_places = Last(self._places)
        self._join = Last(_joined)
        self._text = b""
        self._pages = b""
        self._by_line: dict[bytes, _Place] = {}

    def read(self, files: Mapping[str, Raw], gaps: Gaps) -> Bpf:
        """A pinned iterator is asked only where there is no list of our own."""
        raw = files.get(LIST)
        pinned = next((text for path, text in sorted(files.items()) if path.startswith(PINS)), None)
        if isinstance(raw, bytes):
            raw = self._text = keep_equal(self._text, raw)
            listed = gaps.read(raw, self._parse, "the list of buffers by BPF")
        else:
            if isinstance(pinned, bytes):
                pinned = self._text = keep_equal(self._text, pinned)
            listed = gaps.read(pinned, self._parse_pinned, "the BPF iterator in /sys/fs/bpf")
        pages = files.get(PAGES)
        if isinstance(pages, bytes):
            pages = self._pages = keep_equal(self._pages, pages)
        places = None
        if isinstance(pages, ReadError):
            gaps.add(_PLACES, reason(pages), AS_ROOT if is_denied(pages) else "")
        else:
            places = gaps.read(pages, self._find_places, _PLACES)
        return self._join(listed, places)

    def _places(self, data: bytes) -> Mapping[int, tuple[PageRun, ...]]:
        """Runs by inode; a line that was there before is not read again."""
        before, self._by_line = self._by_line, {}
        for line in bpf_pages.lines(data):
            self._by_line[line] = before.get(line) or _place(line)
        return dict(self._by_line.values())


def _place(line: bytes) -> _Place:
    inode, runs = bpf_pages.place(line)
    return inode, tuple(map(PageRun._make, runs))


def _joined(rows: tuple[IterRow, ...] | None, places: Mapping[int, tuple[PageRun, ...]] | None) -> Bpf:
    return Bpf({row.ino: row for row in rows or ()}, places or {}, has_list=rows is not None)


def note_refusal(files: Mapping[str, Raw], gaps: Gaps, *, has_list: bool) -> None:
    """A gap where the kernel has the iterator and refuses it. `has_list`: what it lists is known otherwise."""
    refused = files.get(LIST)
    if not isinstance(refused, ReadError) or is_gone(refused):
        return
    what = _PLACES if has_list else "buffers and where they lie, as BPF tells it"
    gaps.add(what, reason(refused), AS_PROFILER if is_denied(refused) else "")
