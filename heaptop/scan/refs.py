"""By which descriptor each buffer of a process can be asked."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from heaptop.capture import FdLink, FdTable, ProcessCapture
from heaptop.compiled import compiled
from heaptop.scan.proc import DMABUF_NEEDLE

_quick = compiled("heaptop.scan._refs")


class Ref(NamedTuple):
    """A descriptor; `tid` is 0 in the process's own table."""

    pid: int
    tid: int
    fd: int


Refs = Mapping[int, Ref | None]
"""One descriptor of each buffer that a process holds, by inode; None where it has a mapping alone."""


def refs_of(capture: ProcessCapture) -> Refs:
    """Those of a process."""
    texts = [text for name in ("maps.buffers", "maps") if isinstance(text := capture.files.get(name), bytes)]
    if _quick is not None and not capture.tasks:
        quickly: Refs = _quick.refs(capture.pid, capture.table.links, texts, Ref)
        return quickly
    return plain_refs(capture.pid, [(0, capture.table), *((task.tid, task.table) for task in capture.tasks)], texts)


def plain_refs(pid: int, tables: list[tuple[int, FdTable]], texts: list[bytes]) -> Refs:
    """Those in some tables, of which the first goes first, and in texts of maps."""
    refs: dict[int, Ref | None] = dict.fromkeys(inode for text in texts for inode in _mapped(text))
    for tid, table in reversed(tables):
        refs.update(_refs_in(pid, tid, table.links))
    return refs


def _refs_in(pid: int, tid: int, links: tuple[FdLink, ...]) -> Iterator[tuple[int, Ref]]:
    return ((link.stat.inode, Ref(pid, tid, link.fd)) for link in links if link.stat is not None)


def _mapped(text: bytes) -> Iterator[int]:
    """Inodes of the mappings that look like buffers."""
    for line in text.split(b"\n"):
        if DMABUF_NEEDLE in line and len(words := line.split(b" ", 5)) == 6 and words[4].isdigit():
            yield int(words[4])
