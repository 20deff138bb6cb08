r"""Targets of `/proc/P/fd/N`. All functions are total.

    /dmabuf:NAME            a dma-buf (drivers/dma-buf/dma-buf.c dmabuffs_dname, 5.3 on); NAME is raw, empty if unnamed
    anon_inode:dmabuf       a dma-buf up to 5.2: without identity
    socket:[N]  anon_inode:[io_uring]  /dev/dma_heap/HEAP  /memfd:NAME (deleted)

A file of that name in the root directory reads `/dmabuf:x` too. Its stat has a file type; a dma-buf's mode is 0600
without one (alloc_anon_inode, fs/libfs.c, unchanged up to 7.2: seen).
"""

from enum import StrEnum
from typing import Final

from heaptop.capture import FdLink, FdStat

_DMABUF = b"/dmabuf:"
DMABUF_ANON: Final = b"anon_inode:dmabuf"
_HEAP = b"/dev/dma_heap/"
_FILE_TYPE_BITS = 0o170000


class Kind(StrEnum):
    """What a link refers to."""

    DMABUF = "dma-buf"
    DMABUF_ANON = "dma-buf without identity"
    SOCKET = "socket"
    IO_URING = "io_uring"
    HEAP = "dma-heap"
    MEMFD = "memfd"
    OTHER = "other"


_EXACT = {DMABUF_ANON: Kind.DMABUF_ANON, b"anon_inode:[io_uring]": Kind.IO_URING}
_PREFIXES = ((_DMABUF, Kind.DMABUF), (b"socket:[", Kind.SOCKET), (_HEAP, Kind.HEAP), (b"/memfd:", Kind.MEMFD))


def kind(target: bytes) -> Kind:
    """By the target's text alone: a regular file named `/dmabuf:x` passes for a dma-buf here."""
    if target.startswith(_DMABUF):
        return Kind.DMABUF
    if target in _EXACT:
        return _EXACT[target]
    return next((kind for prefix, kind in _PREFIXES if target.startswith(prefix)), Kind.OTHER)


def classify(link: FdLink) -> Kind:
    """By the target and, where it was taken, by stat: a file that only has a dma-buf's name is OTHER."""
    by_text = kind(link.target)
    if by_text is Kind.DMABUF and link.stat is not None and not is_dmabuf_stat(link.stat):
        return Kind.OTHER
    return by_text


def is_dmabuf_stat(stat: FdStat) -> bool:
    """Whether the mode is one that a dma-buf can have: no file type in it."""
    return stat.mode & _FILE_TYPE_BITS == 0


def dmabuf_name(target: bytes) -> bytes | None:
    """NAME of `/dmabuf:NAME`; empty for an unnamed buffer and for an empty name; None for any other target."""
    return target.removeprefix(_DMABUF) if target.startswith(_DMABUF) else None


def heap_name(target: bytes) -> bytes | None:
    """HEAP of `/dev/dma_heap/HEAP`; None for any other target."""
    return target.removeprefix(_HEAP) if target.startswith(_HEAP) else None
