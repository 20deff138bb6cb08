"""Captures of real kernels with parts taken away, and small ones made by hand."""

import errno
from collections.abc import Callable, Iterable, Mapping
from functools import cache

from heaptop import recording
from heaptop.capture import Capture, FdLink, FdStat, FdTable, ProcessCapture, Raw, ReadError
from heaptop.model import Buffer, Gap, Snapshot
from tests.support import archive

FULL = "6.12.117-x86_64"
DENIED = ReadError("open", errno.EACCES)
DMABUF_DEV = (0, 12)


@cache
def real(name: str = FULL) -> Capture:
    return recording.read(str(archive(name)))


def without_files(capture: Capture, *prefixes: str) -> Capture:
    kept = {path: raw for path, raw in capture.files.items() if not path.startswith(prefixes)}
    return capture._replace(files=kept)


def with_files(capture: Capture, files: Mapping[str, Raw]) -> Capture:
    return capture._replace(files={**capture.files, **files})


def each_process(capture: Capture, change: Callable[[ProcessCapture], ProcessCapture]) -> Capture:
    return capture._replace(processes=tuple(map(change, capture.processes)))


def without_process_files(capture: Capture, *names: str) -> Capture:
    def change(process: ProcessCapture) -> ProcessCapture:
        return process._replace(files={name: raw for name, raw in process.files.items() if name not in names})

    return each_process(capture, change)


def each_table(capture: Capture, change: Callable[[FdTable], FdTable]) -> Capture:
    def process(old: ProcessCapture) -> ProcessCapture:
        tasks = tuple(task._replace(table=change(task.table)) for task in old.tasks)
        return old._replace(table=change(old.table), tasks=tasks)

    return each_process(capture, process)


def without_stat(table: FdTable) -> FdTable:
    return table._replace(links=tuple(link._replace(stat=None) for link in table.links))


def without_fdinfo(table: FdTable) -> FdTable:
    return table._replace(fdinfo={})


def by_inode(snapshot: Snapshot) -> dict[int, Buffer]:
    return {buffer.inode: buffer for buffer in snapshot.buffers}


def gap(snapshot: Snapshot, words: str) -> Gap:
    """The one gap that speaks of `words`."""
    (found,) = (each for each in snapshot.gaps if words in each.what)
    return found


def capture(
    files: Mapping[str, Raw] | None = None,
    processes: Iterable[ProcessCapture] = (),
    links: Mapping[str, bytes] | None = None,
    seen: int | None = None,
) -> Capture:
    return Capture("test", 12.5, dict(files or {}), dict(links or {}), tuple(processes), seen)


def fdinfo(inode: int | None, size: int, *, count: int = 1, exporter: str = "system", name: str | None = None) -> bytes:
    ino = "" if inode is None else f"ino:\t{inode}\n"
    named = "" if name is None else f"name:\t{name}\n"
    text = f"pos:\t0\nflags:\t02000002\nmnt_id:\t9\n{ino}size:\t{size}\ncount:\t{count}\nexp_name:\t{exporter}\n{named}"
    return text.encode("utf-8", "surrogateescape")


def stat_of(inode: int, size: int, mode: int = 0o600) -> FdStat:
    return FdStat(DMABUF_DEV, inode, size, mode, 1, size // 512)


def link(fd: int, stat: FdStat | None, name: str = "") -> FdLink:
    return FdLink(fd, f"/dmabuf:{name}".encode(), stat)


def process(
    pid: int,
    comm: str = "app",
    *,
    links: Iterable[FdLink] = (),
    fdinfo: Mapping[int, Raw] | None = None,
    maps: bytes = b"",
    files: Mapping[str, Raw] | None = None,
) -> ProcessCapture:
    texts: dict[str, Raw] = {"comm": comm.encode() + b"\n", "maps": maps}
    return ProcessCapture(pid, {**texts, **(files or {})}, FdTable(tuple(links), dict(fdinfo or {})))
