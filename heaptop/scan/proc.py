"""The pass over /proc: who holds buffers, by descriptor and by mapping.

Reading changes nothing and opens no buffer. Links are read, which cannot hang; only those of buffers are followed
by stat. Only holders, and processes that cannot be read, are kept.
"""

import errno
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from heaptop.capture import FdLink, FdStat, FdTable, ProcessCapture, Raw, ReadError, TaskCapture
from heaptop.scan.files import read_error, read_file
from heaptop.scan.threads import other_threads, share_table

DMABUF_LINKS: Final = (b"/dmabuf:", b"anon_inode:dmabuf")
"""How links of dma-bufs begin: 5.3 on (commit ed63bb1d1f84), and up to 5.2."""
DMABUF_NEEDLE: Final = b"dmabuf"
"""What stands in maps, and in an io_uring's fdinfo, where there is a dma-buf."""
_IO_URING: Final = b"anon_inode:[io_uring]"
_DETAILS: Final = ("comm", "stat", "status", "statm", "cmdline", "cgroup", "oom_score_adj")
_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


def is_dmabuf(target: bytes) -> bool:
    """Whether a descriptor's link is a dma-buf's."""
    return target.startswith(DMABUF_LINKS)


@dataclass(frozen=True, slots=True)
class ProcScan:
    """How to look at one proc file system.

    `is_buffer` knows a buffer by its link. `needle` is in the line of maps of every buffer, and in the fdinfo of an
    io_uring that has one registered.
    """

    root: str = "/proc"
    is_buffer: Callable[[bytes], bool] = is_dmabuf
    needle: bytes = DMABUF_NEEDLE

    def pids(self) -> list[int]:
        """All processes, rising.

        Raises:
            OSError: proc cannot be listed.
        """
        return sorted(int(name) for name in os.listdir(self.root) if name.isascii() and name.isdigit())

    def process(self, pid: int) -> ProcessCapture | None:
        """One process; None where it holds nothing, or has ended.

        `maps` is the whole text where a buffer is mapped, and empty where none is.
        """
        try:
            with _folder(f"{self.root}/{pid}", None, os.O_PATH) as folder:
                return self._process(pid, folder)
        except OSError as error:
            failure = read_error("open", error)
            return None if failure is None else ProcessCapture(pid, MappingProxyType({}), FdTable(error=failure))

    def _process(self, pid: int, folder: int) -> ProcessCapture | None:
        table, is_holder = self._table(folder)
        maps = read_file("maps", folder)
        is_without_memory = maps == b""  # a kernel thread, or a leader that has ended: what is held its threads hold
        tasks = tuple(self._tasks(pid, folder, table, is_without_memory)) if table.error is None else ()
        is_holder |= any(self._holds(task.table) or task.files.get("maps") for task in tasks)
        if isinstance(maps, bytes):
            is_mapper = self.needle in maps
            maps = maps if is_mapper else b""
            is_holder |= is_mapper
        if is_holder:
            names: tuple[str, ...] = _DETAILS
        elif table.error is not None and not is_without_memory:
            names = ("comm",)
        else:
            return None
        files = {name: raw for name in names if (raw := read_file(name, folder)) is not None}
        if maps is not None:
            files["maps"] = maps
        if "comm" not in files:
            return None  # ended meanwhile
        return ProcessCapture(pid, MappingProxyType(files), table, tasks)

    def _table(self, folder: int) -> tuple[FdTable, bool]:
        """An fd table, and whether a buffer is in it. Without one it has no fdinfo and no stat."""
        try:
            with _folder("fd", folder) as links:
                targets, error = _targets(links)
                infos: dict[int, Raw] = {}
                found: list[FdLink] = []
                for fd, target in targets:
                    if not self.is_buffer(target):
                        found.append(FdLink(fd, target))
                    elif (link := _followed(fd, target, links)) is not None:
                        found.append(link)
                    else:
                        continue
                    if found[-1].stat is not None or target == _IO_URING:
                        _put(infos, fd, read_file(f"fdinfo/{fd}", folder))
        except OSError as failure:
            return FdTable(error=read_error("open", failure)), False
        table = FdTable(tuple(found), MappingProxyType(infos), error)
        return table, self._holds(table)

    def _holds(self, table: FdTable) -> bool:
        return any(link.stat is not None for link in table.links) or any(
            isinstance(raw, bytes) and self.needle in raw for raw in table.fdinfo.values()
        )

    def _tasks(self, pid: int, folder: int, table: FdTable, is_leader_gone: bool) -> Iterator[TaskCapture]:
        """Threads whose fd table is their own, each such table once; with `maps` where the leader has none."""
        known = [(pid, table)]
        for tid in other_threads(folder, pid):
            shared = [self._share(other, tid) for other, _ in known]
            if True in shared:
                continue
            try:
                with _folder(f"task/{tid}", folder, os.O_PATH) as inner:
                    if None in shared and _numbers(inner) in [[link.fd for link in each.links] for _, each in known]:
                        continue  # the cheap sign of a shared table
                    own, _ = self._table(inner)
                    comm = read_file("comm", inner)
                    maps = read_file("maps", inner) if is_leader_gone else None
            except OSError:
                continue  # ended meanwhile
            is_same = None in shared and any(own.links == each.links for _, each in known)
            if own.error is None and comm is not None and not is_same:
                known.append((tid, own))
                files: dict[str, Raw] = {"comm": comm}
                if isinstance(maps, bytes) and self.needle in maps:
                    files["maps"] = maps
                yield TaskCapture(tid, MappingProxyType(files), own)

    def _share(self, one: int, other: int) -> bool | None:
        """Whether two tasks share one fd table; None where only a look at both can tell."""
        return share_table(one, other) if self.root == "/proc" else None


def scan_processes(
    root: str = "/proc",
    is_buffer: Callable[[bytes], bool] = is_dmabuf,
    needle: bytes = DMABUF_NEEDLE,
    pids: Iterable[int] | None = None,
) -> tuple[ProcessCapture, ...]:
    """Holders and unreadable processes among `pids` (all of proc without), as `ProcScan` has them.

    Raises:
        OSError: proc cannot be listed.
    """
    scan = ProcScan(root, is_buffer, needle)
    found = map(scan.process, scan.pids() if pids is None else sorted(pids))
    return tuple(process for process in found if process is not None)


@contextmanager
def _folder(path: str, parent: int | None, flags: int = 0) -> Iterator[int]:
    folder = os.open(path, _FOLDER | flags, dir_fd=parent)
    try:
        yield folder
    finally:
        os.close(folder)


def _numbers(folder: int) -> list[int]:
    with _folder("fd", folder) as links:
        return sorted(int(name) for name in os.listdir(links))


def _targets(links: int) -> tuple[list[tuple[int, bytes]], ReadError | None]:
    """Descriptors and what they link to, rising; and why links could not be read, where that is refused."""
    targets = []
    error = None
    for name in os.listdir(links):
        try:
            targets.append((int(name), os.readlink(name.encode(), dir_fd=links)))
        except OSError as failure:
            error = error or read_error("readlink", failure)
    targets.sort()
    return targets, error


def _followed(fd: int, target: bytes, links: int) -> FdLink | None:
    """A buffer's link with its stat; None where it was closed meanwhile."""
    name = str(fd)
    try:
        stat = os.stat(name, dir_fd=links)
        mode = os.stat(name, dir_fd=links, follow_symlinks=False).st_mode
    except OSError as error:
        return None if error.errno in (errno.ENOENT, errno.ESRCH) else FdLink(fd, target)
    dev = (os.major(stat.st_dev), os.minor(stat.st_dev))
    return FdLink(fd, target, FdStat(dev, stat.st_ino, stat.st_size, stat.st_mode, stat.st_nlink, stat.st_blocks), mode)


def _put(files: dict[int, Raw], fd: int, raw: Raw | None) -> None:
    if raw is not None:
        files[fd] = raw
