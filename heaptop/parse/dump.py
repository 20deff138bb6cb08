"""What other people's dumps tell: one shape for all of them, whatever a dump leaves out.

A dump is text that some tool or vendor's driver made about all buffers at once. It is read line by line; a line that
is not understood is counted, never guessed at, for a name in it can hold newlines and imitate anything.
"""

from collections.abc import Mapping
from typing import Final, NamedTuple

KIB: Final = 1024


class DumpedBuffer(NamedTuple):
    """One buffer. `size` is in bytes; None is what the dump does not tell; `spans` are (first, last) bytes of physical
    memory.
    """

    inode: int
    size: int | None = None
    exporter: bytes | None = None
    name: bytes | None = None
    file_count: int | None = None
    attachments: tuple[bytes, ...] | None = None
    spans: tuple[tuple[int, int], ...] = ()


class DumpedHolding(NamedTuple):
    """That a process holds a buffer, and by how many descriptors and mappings, None where that is not told. `fds` are
    the descriptors where each is named, and then all of them.
    """

    inode: int
    pid: int
    fd_count: int | None = None
    map_count: int | None = None
    fds: tuple[int, ...] = ()


class DumpedUse(NamedTuple):
    """What a process uses in all, in bytes, where a dump tells no single buffers."""

    rss: int
    pss: int | None = None


class Dumped(NamedTuple):
    """All that one dump tells. `comms` and `uses` are by pid.

    `heaps` are bytes by heap (or exporter) as the dump sums them up, `kernel_only` bytes that no process holds, `pools`
    bytes kept for reuse. `nameless` are (exporter, bytes) of buffers without identity. `unread` counts lines that were
    not understood; `trouble` says what is wrong with the dump by its own sums.
    """

    buffers: tuple[DumpedBuffer, ...] = ()
    holdings: tuple[DumpedHolding, ...] = ()
    comms: Mapping[int, bytes] = {}
    uses: Mapping[int, DumpedUse] = {}
    heaps: Mapping[bytes, int] = {}
    kernel_only: int | None = None
    pools: int | None = None
    nameless: tuple[tuple[bytes, int], ...] = ()
    unread: int = 0
    trouble: str = ""


def kept(text: bytes, nothing: bytes = b"<unknown>") -> bytes | None:
    """A name out of a dump; None where the dump says that it has none."""
    text = text.strip()
    return None if text in (b"", nothing) else text
