"""A capture: raw kernel text, or why it could not be read, exactly as a backend found it.

This is the one seam of heaptop. Every backend (kernel, emulator, recording, a device) hands over a `Capture`;
everything above works on it alone. Nothing here is parsed: texts are the kernel's bytes, errors its errno.

A capture mirrors real paths, relative to the root and without a leading slash: `sys/kernel/debug/dma_buf/bufinfo`.
What a kernel tells only to BPF programs has paths below `bpf/`, in a text of heaptop's own (docs/recording.md).
What is absent from a mapping was not there, or was not captured. Values are never changed after the capture is made;
a live backend may hand over the very same `ProcessCapture` object again while it cannot have changed, so that later
layers skip it by identity.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final, NamedTuple

NOTHING: Final[Mapping[Any, Any]] = MappingProxyType({})
"""An empty, read-only mapping."""


class ReadError(NamedTuple):
    """Why a file could not be read: the failed call (`open`, `read`, `readlink`) and its errno."""

    call: str
    errno: int


Raw = bytes | ReadError
"""A file's whole text, or why there is none."""


class FdStat(NamedTuple):
    """`stat()` through an fd link. `dev` is (major, minor); `blocks` are 512 bytes each."""

    dev: tuple[int, int]
    inode: int
    size_bytes: int
    mode: int
    nlink: int
    blocks: int


class FdLink(NamedTuple):
    """One entry of an fd table: `target` is the raw readlink; `stat` is None where it was not taken.

    `link_mode` is lstat's mode of the link itself (0 where not taken): its bits 0400 and 0200 say how the file is open.
    """

    fd: int
    target: bytes
    stat: FdStat | None = None
    link_mode: int = 0


class FdTable(NamedTuple):
    """An fd table: its links by rising fd, and `fdinfo` texts by fd. `error` says why the table could not be listed."""

    links: tuple[FdLink, ...] = ()
    fdinfo: Mapping[int, Raw] = NOTHING
    error: ReadError | None = None


class TaskCapture(NamedTuple):
    """A thread other than the leader. A live backend keeps only those whose fd table differs from the leader's."""

    tid: int
    files: Mapping[str, Raw]
    table: FdTable


class ProcessCapture(NamedTuple):
    """One process: `files` by their name below /proc/PID (`comm`, `stat`, `status`, `maps`, `cgroup`, …).

    Where compiled code looked, `maps.buffers` stands in place of `maps`: its lines of buffers. Where there is
    `details.later`, of all that is neither descriptor nor mapping only `stat` was read yet, or, where it has a start
    time, `comm`: a later capture has the rest.
    """

    pid: int
    files: Mapping[str, Raw]
    table: FdTable = FdTable()
    tasks: tuple[TaskCapture, ...] = ()


class BufferInfo(NamedTuple):
    """A buffer's fdinfo: that of one descriptor (in the table of thread `tid`, where not None)."""

    pid: int
    tid: int | None
    fd: int
    raw: Raw


class Reading(NamedTuple):
    """When a text was read, in seconds before the capture, and how long that took."""

    age_s: float
    cost_s: float


class Capture(NamedTuple):
    """All that one look at a source showed.

    `source` names the backend (`kernel`, `emulator:steady`, `replay:PATH`). `captured_at` is seconds since the epoch,
    None where a recording does not tell. `files` are system-wide texts by path; `links` symbolic links by path.
    `processes` are by rising pid: those that hold or may hold a buffer, and those that could not be read.
    `processes_seen` counts all that were looked at, None where a recording does not tell. `off` are the sources that
    were switched off (`heaptop.sources`): their files were never opened. `older` are the files whose text is from an
    earlier capture, because they are slow to read. `infos` has the newest fdinfo of one descriptor of each buffer, by
    inode, where not that of each descriptor is in its table.
    """

    source: str
    captured_at: float | None
    files: Mapping[str, Raw]
    links: Mapping[str, bytes]
    processes: tuple[ProcessCapture, ...]
    processes_seen: int | None = None
    off: frozenset[str] = frozenset()
    older: Mapping[str, Reading] = NOTHING
    infos: Mapping[int, BufferInfo] = NOTHING
