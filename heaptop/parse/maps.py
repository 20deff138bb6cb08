r"""`/proc/P/maps` (fs/proc/task_mmu.c show_map_vma, 5.3 to 7.3).

    7f0a1c000000-7f0a1c400000 rw-s 00000000 00:0c 18                         /dmabuf:preview

Addresses, offset and device are hexadecimal, the inode is decimal. Only newline is escaped in the path (`\012`), so
each line is one mapping, and a path that really has the four characters `\012` cannot be told from it: names are
better taken elsewhere. A file named `/dmabuf:x` in the root directory looks the same too: its device differs.
"""

from typing import NamedTuple

from heaptop.compiled import compiled
from heaptop.parse.text import error_at
from heaptop.pattern import pattern
from heaptop.sources import LIBRARY_WORDS

_quick = compiled("heaptop.parse._quick")
_LINE = pattern(
    rb"([0-9a-f]{1,16})-([0-9a-f]{1,16}) ([r-][w-][x-][sp]) ([0-9a-f]{1,16}) ([0-9a-f]{1,8}):([0-9a-f]{1,8}) (\d{1,20})"
    rb"(?: +([^\n]*))?\n"
)
_DMABUF = b"/dmabuf:"
_DMABUF_ANON = b"anon_inode:dmabuf"
_IN_BOTH = b"dmabuf"
_ALLOCATOR = pattern(
    rb"/((?:libdmabufheap|libion|(?:lib)?gralloc|android\.hardware\.graphics\.(?:allocator|mapper)|libgbm|libdrm)"
    rb"[^/]*\.so[^/ ]*)(?: \(deleted\))?"
)


class Vma(NamedTuple):
    """One mapping. `offset` in bytes, `dev` as (major, minor); `path` is empty for anonymous memory."""

    start: int
    end: int
    perms: str
    offset: int
    dev: tuple[int, int]
    inode: int
    path: bytes

    @property
    def length(self) -> int:
        """Bytes mapped."""
        return self.end - self.start


def parse(data: bytes) -> tuple[Vma, ...]:
    """All mappings in address order; none for a kernel thread.

    Raises:
        ParseError: a line is not a mapping, or the last one is cut.
    """
    vmas = []
    offset = 0
    while offset < len(data):
        vma, offset = _vma(data, offset)
        vmas.append(vma)
    return tuple(vmas)


def dmabufs(data: bytes) -> tuple[Vma, ...]:
    """The mappings of dma-bufs: paths `/dmabuf:NAME` and `anon_inode:dmabuf` (up to 5.2, without identity).

    Looks only at lines that hold the word, so a process without any costs one search.

    Raises:
        ParseError: such a line is not a mapping, or is cut.
    """
    if _quick is not None:
        quickly: tuple[Vma, ...] | None = _quick.dmabufs(data, Vma)
        if quickly is not None:
            return quickly
    vmas = []
    found = data.find(_IN_BOTH)
    while found >= 0:
        vma, end = _vma(data, data.rfind(b"\n", 0, found) + 1)
        if vma.path.startswith(_DMABUF) or vma.path == _DMABUF_ANON:
            vmas.append(vma)
        found = data.find(_IN_BOTH, end)
    return tuple(vmas)


def allocator_libraries(data: bytes) -> tuple[bytes, ...]:
    """The libraries mapped that buffers are commonly allocated through, by file name, sorted: libdmabufheap, libion,
    gralloc, Android's graphics allocator and mapper, gbm and drm.

    Looks only at lines that hold such a word, and passes over a mapped buffer whose name imitates one.

    Raises:
        ParseError: such a line is not a mapping, or is cut.
    """
    names = set()
    for word in LIBRARY_WORDS:
        found = data.find(word)
        while found >= 0:
            vma, end = _vma(data, data.rfind(b"\n", 0, found) + 1)
            match = _ALLOCATOR.fullmatch(vma.path, max(0, vma.path.rfind(b"/")))
            if match is not None and not vma.path.startswith((_DMABUF, b"/memfd:")):
                names.add(match[1])
            found = data.find(word, end)
    return tuple(sorted(names))


def _vma(data: bytes, offset: int) -> tuple[Vma, int]:
    if _quick is not None and (found := _quick.mapping(data, offset)) is not None:
        return Vma._make(found[0]), found[1]
    match = _LINE.match(data, offset)
    if match is None:
        raise error_at("maps", "not a mapping, or cut", data, offset)
    start, end, perms, file_offset, major, minor, inode, path = match.groups()
    return (
        Vma(
            int(start, 16),
            int(end, 16),
            perms.decode("ascii"),
            int(file_offset, 16),
            (int(major, 16), int(minor, 16)),
            int(inode),
            (path or b"").replace(rb"\012", b"\n"),
        ),
        match.end(),
    )
