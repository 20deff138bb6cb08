"""The pass over /proc: who holds buffers, by descriptor and by mapping.

Reading changes nothing and opens no buffer. Links are read, which cannot hang; only those of buffers are followed
by stat. Only holders, and processes that cannot be read, are kept.
"""

import errno
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from types import MappingProxyType
from typing import Final, NamedTuple

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


def is_dmabuf_info(text: bytes) -> bool:
    """Whether an fdinfo is a dma-buf's (drivers/dma-buf/dma-buf.c dma_buf_show_fdinfo, 5.3 on)."""
    return b"\nexp_name:\t" in text


class ProcScan(NamedTuple):
    """How to look at one proc file system.

    `is_buffer` knows a buffer by its link, `is_info` by its fdinfo. `needle` is in the line of maps of every buffer,
    and in the fdinfo of an io_uring that has one registered. Of `fd`, `fdinfo`, `maps` and `tasks`, those that are
    `off` are never opened.
    """

    root: str = "/proc"
    is_buffer: Callable[[bytes], bool] = is_dmabuf
    needle: bytes = DMABUF_NEEDLE
    is_info: Callable[[bytes], bool] = is_dmabuf_info
    off: frozenset[str] = frozenset()

    def pids(self) -> list[int]:
        """All processes, rising.

        Raises:
            OSError: proc cannot be listed.
        """
        return sorted(int(name) for name in os.listdir(self.root) if name.isascii() and name.isdigit())

    def process(self, pid: int) -> ProcessCapture | None:
        """One process; None where it holds nothing, or has ended.

        `maps` is the whole text: it tells what the process links, too.
        """
        try:
            with _folder(f"{self.root}/{pid}", None, os.O_PATH) as folder:
                return self._process(pid, folder)
        except OSError as error:
            failure = read_error("open", error)
            return None if failure is None else ProcessCapture(pid, MappingProxyType({}), FdTable(error=failure))

    def _process(self, pid: int, folder: int) -> ProcessCapture | None:
        table, is_holder = self._table(folder)
        maps = None if "maps" in self.off else read_file("maps", folder)
        is_without_memory = _is_without_memory(maps, folder)  # so what is held its threads hold
        tasks = tuple(self._tasks(pid, folder, table, is_without_memory)) if table.error is None else ()
        is_holder |= any(self._holds(task.table) or task.files.get("maps") for task in tasks)
        is_refused = table.error is not None or isinstance(maps, ReadError)
        if isinstance(maps, bytes):
            is_holder |= self.needle in maps
        if is_holder:
            names: tuple[str, ...] = _DETAILS
        elif is_refused and not is_without_memory:
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
        """An fd table, and whether a buffer is in it."""
        if "fd" in self.off:
            return self._table_by_fdinfo(folder)
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
                    is_wanted = found[-1].stat is not None or target == _IO_URING
                    if is_wanted and "fdinfo" not in self.off:
                        _put(infos, fd, read_file(f"fdinfo/{fd}", folder))
        except OSError as failure:
            return self._table_by_fdinfo(folder, read_error("open", failure))
        if error is not None and not found:
            return self._table_by_fdinfo(folder, error)
        table = FdTable(tuple(found), MappingProxyType(infos), error)
        return table, self._holds(table)

    def _table_by_fdinfo(self, folder: int, error: ReadError | None = None) -> tuple[FdTable, bool]:
        """An fd table without its links, by what fdinfo says of every descriptor. From 5.14 on it is open to all who
        may trace the process (commit 7bc3fa0172a4), where fd is open to its own user and to root alone.
        """
        infos: dict[int, Raw] = {}
        if "fdinfo" not in self.off:
            try:
                with _folder("fdinfo", folder) as inner:
                    for fd in sorted(map(int, os.listdir(inner))):
                        raw = read_file(str(fd), inner)
                        if isinstance(raw, ReadError):
                            return FdTable(error=error or raw), False
                        if raw is not None and self.is_info(raw):
                            infos[fd] = raw
            except OSError as failure:
                return FdTable(error=error or read_error("open", failure)), False
            error = None
        return FdTable(fdinfo=MappingProxyType(infos), error=error), bool(infos)

    def _holds(self, table: FdTable) -> bool:
        return any(link.stat is not None for link in table.links) or any(
            isinstance(raw, bytes) and (self.needle in raw or self.is_info(raw)) for raw in table.fdinfo.values()
        )

    def _tasks(self, pid: int, folder: int, table: FdTable, is_leader_gone: bool) -> Iterator[TaskCapture]:
        """Threads whose fd table is their own, each such table once; with `maps` where the leader has none."""
        known = [(pid, table)]
        for tid in () if "tasks" in self.off else other_threads(folder, pid):
            shared = [self._share(other, tid) for other, _ in known]
            if True in shared:
                continue
            try:
                with _folder(f"task/{tid}", folder, os.O_PATH) as inner:
                    if None in shared and _is_alike(inner, (each for _, each in known)):
                        continue
                    own, _ = self._table(inner)
                    comm = read_file("comm", inner)
                    maps = read_file("maps", inner) if is_leader_gone and "maps" not in self.off else None
            except OSError:
                continue  # ended meanwhile
            is_same = None in shared and any(
                own.links == each.links and own.fdinfo.keys() == each.fdinfo.keys() for _, each in known
            )
            if own.error is None and comm is not None and not is_same:
                known.append((tid, own))
                files: dict[str, Raw] = {"comm": comm}
                if isinstance(maps, bytes) and self.needle in maps:
                    files["maps"] = maps
                yield TaskCapture(tid, MappingProxyType(files), own)

    def _share(self, one: int, other: int) -> bool | None:
        """Whether two tasks share one fd table; None where only a look at both can tell."""
        return share_table(one, other) if self.root == "/proc" else None


def silent(pid: int) -> ProcessCapture:
    """A process that gave no answer in time."""
    return ProcessCapture(pid, MappingProxyType({}), FdTable(error=ReadError("read", errno.ETIMEDOUT)))


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


def _is_without_memory(maps: Raw | None, folder: int) -> bool:
    """A kernel thread, or a leader that has ended. Without maps, statm tells, which is open to all."""
    if maps is not None:
        return maps == b""
    statm = read_file("statm", folder)
    return isinstance(statm, bytes) and statm.startswith(b"0 ")


def _is_alike(folder: int, tables: Iterable[FdTable]) -> bool:
    """Whether a thread's table has the very numbers of one of `tables`: the cheap sign that it is shared."""
    try:
        with _folder("fd", folder) as links:
            numbers = sorted(int(name) for name in os.listdir(links))
    except PermissionError:
        return False
    return any(numbers == [link.fd for link in table.links] for table in tables)


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
