r"""MediaTek's `/proc/dma_heap/all_heaps` and `/proc/dma_heap/heaps/NAME` (mtk_heap_debug.c), in its three generations.

5.10      [mtk_mm] buffer total size: 1234 KB           a table by buffer whose titles are `heap_name \tdmabuf \t…`, and
          pid:812(cameraserver) -------->               below each process a table of its descriptors
5.15      the tables of descriptors alone; with vma_dump:on also `inode:62 sz:0x1000 va:…` for each mapping
later     inode:62       size(Byte):8388608    count:3  cache_sg:0  exp:mtk_mm\tname:cam
          \tpid:812(cameraserver) \tinode:62 size:8388608 fd_cnt:1 mmap_cnt:1 fd_list:14
          \tattach[1]: iova:0x… attr:… dir:0 dev:soc:camera

Tables are read by their titles, for branches differ in the columns that they have. The sums are not exact: they take a
page for 4 KiB.
"""

import re
from itertools import pairwise
from typing import Final

from heaptop.parse.dump import KIB, Dumped, DumpedBuffer, DumpedHolding, kept
from heaptop.parse.text import error_at
from heaptop.pattern import pattern

_HEAP: Final = pattern(rb"\[(.+)\] buffer total size: *([0-9]+) KB")
_POOL: Final = pattern(rb"(?:--->)?.*(?:pool|freelist).*?: *([0-9]+) KB", re.IGNORECASE)
_PROCESS: Final = pattern(rb"pid:([0-9]{1,10})\((.*)\) -+>")
_FD_TITLES: Final = pattern(rb"\s*fd\s+size\s+inode\s.*")
_FD_ROW: Final = pattern(rb"\tpid:([0-9]{1,10})\s*\t(.*)")
_BUFFER_TITLES: Final = pattern(rb"\s*heap_name\s.*\bino\b.*")
_BUFFER: Final = pattern(
    rb"inode:([0-9]{1,20}) +size\(Byte\):([0-9]{1,20}) +count:(-?[0-9]{1,10}) .*?exp:(.*?)\tname:(.*)"
)
_HELD: Final = pattern(
    rb"\tpid:([0-9]{1,10})\((.*)\) \tinode:([0-9]{1,20}) +size:([0-9]{1,20}) +fd_cnt:([0-9]+) mmap_cnt:([0-9]+) ?(.*)"
)
_FDS: Final = pattern(rb"fd_list:([0-9 ]*)")
_VMA: Final = pattern(rb"\t\tinode:([0-9]{1,20}) +sz:0x([0-9a-fA-F]{1,16}) va:.*")
_VMAS: Final = pattern(rb"\tpid:([0-9]{1,10})\((.*)\) dmabuf vma-+>")
_ATTACHMENT: Final = pattern(rb"\tattach\[[0-9]+\]: .*\bdev:(\S.*)")
_KERNEL_ONLY: Final = pattern(rb"--sum: kernel rss: ([0-9]+) KB")
_KNOWN: Final = pattern(
    rb"\s*|Show all dmabuf fds.*|dmabuf total:.*|\tpid:.*Total size:.*|\[.*\] (?:buffer|attach).*|.*help info"
    rb"|- .*|debug:|PID +PSS.*|[0-9]+ +[0-9]+ +[0-9]+|-+.*|start:.*|(?:allocated|freed) +for debug dump.*|\t\tva:.*"
    rb"|\t(?:Dev|attach|get lock).*|pid table.*|[0-9]+ [0-9]+\(.*"
)


def is_dump(data: bytes) -> bool:
    """Whether one of its unmistakable lines is there."""
    lines = data[: 256 * KIB].splitlines()
    return any(_HEAP.fullmatch(line) or _BUFFER.fullmatch(line) or _HELD.fullmatch(line) for line in lines) or any(
        _PROCESS.fullmatch(line) and _FD_TITLES.fullmatch(after) for line, after in pairwise(lines)
    )


def parse(data: bytes) -> Dumped:
    """Buffers, holders and sums, of one heap or of all.

    Raises:
        ParseError: nothing in it is of this format.
    """
    if not is_dump(data):
        raise error_at("all_heaps", "no line of a heap, a buffer or a process", data)
    reader = _Reader()
    for line in data.splitlines():
        reader.line(line)
    return reader.dumped()


class _Reader:
    def __init__(self) -> None:
        self._buffers: dict[int, DumpedBuffer] = {}
        self._holdings: dict[tuple[int, int], DumpedHolding] = {}
        self._comms: dict[int, bytes] = {}
        self._heaps: dict[bytes, int] = {}
        self._kernel_only: int | None = None
        self._pools: int | None = None
        self._unread = 0
        self._inode: int | None = None
        self._pid: int | None = None
        self._titles: tuple[bytes, ...] = ()
        self._of_buffers = False

    def dumped(self) -> Dumped:
        return Dumped(
            buffers=tuple(self._buffers.values()),
            holdings=tuple(self._holdings.values()),
            comms=self._comms,
            heaps=self._heaps,
            kernel_only=self._kernel_only,
            pools=self._pools,
            unread=self._unread,
        )

    def line(self, line: bytes) -> None:
        if not (self._title(line) or self._record(line) or self._table_row(line)):
            self._unread += _KNOWN.fullmatch(line) is None

    def _title(self, line: bytes) -> bool:
        if found := _HEAP.fullmatch(line):
            if found[1] != b"all":
                self._heaps[found[1]] = int(found[2]) * KIB
        elif found := _KERNEL_ONLY.fullmatch(line):
            self._kernel_only = int(found[1]) * KIB
        elif found := _PROCESS.fullmatch(line) or _VMAS.fullmatch(line):
            self._pid = int(found[1])
            self._comms[self._pid] = found[2]
        elif _FD_TITLES.fullmatch(line) or _BUFFER_TITLES.fullmatch(line):
            self._titles = tuple(line.split())
            self._of_buffers = b"heap_name" in self._titles
        elif found := _POOL.fullmatch(line):
            self._pools = (self._pools or 0) + int(found[1]) * KIB
        else:
            return False
        return True

    def _record(self, line: bytes) -> bool:
        """The lines of the later generation, which need no titles."""
        if found := _BUFFER.fullmatch(line):
            self._inode = int(found[1])
            self._sight(self._inode, size=int(found[2]), count=int(found[3]), exporter=found[4], name=found[5])
            before = self._buffers[self._inode]
            self._buffers[self._inode] = before._replace(attachments=before.attachments or ())
        elif found := _HELD.fullmatch(line):
            pid, inode, fds = int(found[1]), int(found[3]), int(found[5])
            self._comms[pid] = found[2]
            self._sight(inode, size=int(found[4]))
            listed = _FDS.fullmatch(found[7])
            numbers = tuple(int(word) for word in listed[1].split()) if listed else ()
            named = numbers if len(numbers) == fds else ()  # the list is cut at 99 bytes
            self._holdings[pid, inode] = DumpedHolding(inode, pid, fds, int(found[6]), named)
        elif (found := _ATTACHMENT.fullmatch(line)) and self._inode is not None:
            before = self._buffers[self._inode]
            self._buffers[self._inode] = before._replace(attachments=(*(before.attachments or ()), found[1]))
        elif (found := _VMA.fullmatch(line)) and self._pid is not None:
            inode = int(found[1])
            self._sight(inode, size=int(found[2], 16))
            held = self._holdings.get((self._pid, inode), DumpedHolding(inode, self._pid, 0, 0))
            self._holdings[self._pid, inode] = held._replace(map_count=(held.map_count or 0) + 1)
        else:
            return False
        return True

    def _table_row(self, line: bytes) -> bool:
        if self._of_buffers:
            cells = [cell.strip() for cell in line.lstrip(b"\t").split(b"\t")]
            row = dict(zip(self._titles, cells, strict=False))
            if (inode := _number(row.get(b"ino"))) is None or (size := _number(row.get(b"size(hex)"))) is None:
                return False
            name = kept(row.get(b"dmabuf_name", b""), b"NULL")
            self._sight(inode, size=size, count=_number(row.get(b"f_count")), exporter=row.get(b"exp_name"), name=name)
            return True
        found = _FD_ROW.fullmatch(line)
        if found is None:
            return False
        row = dict(zip(self._titles, (cell.strip() for cell in found[2].split(b"\t")), strict=False))
        fd, inode, size = (_number(row.get(title)) for title in (b"fd", b"inode", b"size"))
        if fd is None or inode is None or size is None:
            return False
        self._sight(inode, size=size, count=_number(row.get(b"count")), exporter=row.get(b"exp_name"))
        held = self._holdings.get((int(found[1]), inode), DumpedHolding(inode, int(found[1]), 0))
        self._holdings[int(found[1]), inode] = held._replace(fd_count=(held.fd_count or 0) + 1, fds=(*held.fds, fd))
        return True

    def _sight(
        self,
        inode: int,
        *,
        size: int | None = None,
        count: int | None = None,
        exporter: bytes | None = None,
        name: bytes | None = None,
    ) -> None:
        before = self._buffers.get(inode, DumpedBuffer(inode))
        self._buffers[inode] = before._replace(
            size=size if before.size is None else before.size,
            file_count=count if before.file_count is None else before.file_count,
            exporter=before.exporter or kept(exporter or b"", b"NULL"),
            name=before.name or kept(name or b"", b"NULL"),
        )


def _number(cell: bytes | None) -> int | None:
    """A decimal number, or hex where 0x says so; None for anything else."""
    if cell is None or not re.fullmatch(rb"0x[0-9a-fA-F]{1,16}|[0-9]{1,20}", cell):
        return None
    return int(cell, 16) if cell[:2] == b"0x" else int(cell)
