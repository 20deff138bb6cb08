"""This kernel as a source of captures, or another's files below a root of their own."""

import contextlib
import errno
import os
import stat
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from heaptop.backend import buffer_folders, uapi
from heaptop.backend.base import Allocation, Content, Way
from heaptop.capture import Capture, Raw, ReadError
from heaptop.errors import AllocationError
from heaptop.scan.files import read_error, read_file
from heaptop.scan.hiding import HidingScan
from heaptop.scan.holders import Holders, PlainHolders, Seen, find_holders
from heaptop.scan.pace import Paced
from heaptop.scan.patience import TIMEOUT_S, Patience
from heaptop.scan.proc import ProcScan, is_dmabuf
from heaptop.sources import PROCESSES, source_of
from heaptop.stacks import shelf
from heaptop.units import printable, text_of

if TYPE_CHECKING:
    from heaptop.scan.bpf import BpfSource

_LASTING_FILES: Final = ("proc/version", "proc/sys/kernel/osrelease", "proc/sys/kernel/random/boot_id")
"""What a running kernel does not change."""
_FILES: Final = (
    *_LASTING_FILES,
    "proc/meminfo",
    "proc/vmstat",
    "proc/mounts",
    "proc/self/status",
    "proc/self/statm",
    "sys/kernel/dma_heap/total_pools_kb",
)
_SLOW_FILES: Final = ("sys/kernel/debug/dma_buf/bufinfo",)
"""Files that hold locks of the whole system while they are read, and may wait for a driver.

/proc/pagetypeinfo is left alone: it walks every free list with the zone's lock held and interrupts off.
"""
_TREES: Final = {
    "sys/kernel/mm/cma": None,
    buffer_folders.FOLDER: None,
    "sys/class/dma_heap": None,
    "sys/devices/virtual/dma_heap": frozenset({"dev", "uevent"}),
    "sys/kernel/debug/cma": frozenset({"count", "used", "maxchunk", "order_per_bit", "base_pfn", "bitmap"}),
}
"""Folders that are read whole, or only the files so named: writing to `alloc` and `free` of debugfs cma acts."""
_LINKS: Final = ("proc/self/ns/pid",)
_DEPTH_MAX: Final = 6
_DEBUGFS: Final = "sys/kernel/debug"
_HEAPS: Final = "dev/dma_heap"
_BTF: Final = "/sys/kernel/btf/vmlinux"
_BPF_LIST: Final = "bpf/dmabuf_iter"
_WAY: Final = "heaptop/way"
"""How processes were looked at, and why not by a quicker way."""
_PINS: Final = "sys/fs/bpf"
_PINS_DEPTH_MAX: Final = 2


class KernelBackend:
    """Looks at a kernel through proc, sysfs, debugfs and /dev. Reading changes nothing."""

    def __init__(
        self,
        root: str = "/",
        *,
        clock: Callable[[], float] = time.time,
        timeout_s: float = TIMEOUT_S,
        off: frozenset[str] = frozenset(),
        holders: Holders | None = None,
        **places: str,
    ) -> None:
        """`holders` is how processes are looked at, where it is not for this backend to choose. `places` are folders
        that stand for `proc`, `sys` or `dev` below the root. A read is given up after `timeout_s` without progress (or
        up to twice as long). Files of the sources that are `off` are never opened.
        """
        self._root = root
        self._clock = clock
        self._places = places
        self._off = off
        self._scan = ProcScan(self._path("proc"), off=off)
        self._hiding = HidingScan(self._path("proc"))
        self._slow = Paced(self._read, timeout_s)
        self._holders = holders or find_holders(self._scan, timeout_s)
        self._whole = PlainHolders(self._scan, timeout_s)
        self._is_this_kernel = is_this_kernel = root == "/" and not places
        self._lasting: dict[str, Raw] = {}
        if is_this_kernel:
            self._lasting = {path: raw for path in _LASTING_FILES if isinstance(raw := self._read(path), bytes)}
        self._files = [path for path in self._wanted(_FILES) if path not in self._lasting]
        self._slow_files = self._wanted(_SLOW_FILES)
        self._trees = self._wanted(_TREES)
        self._buffers = buffer_folders.BufferFolders(
            self._path(buffer_folders.FOLDER), lambda folder, links: self._tree(folder, links, [])
        )
        self._has_stacks = is_this_kernel and "stacks" not in off
        self._bpf = _bpf_sources() if is_this_kernel and "bpf" not in off else ()
        self._programs: Patience[BpfSource, dict[str, Raw]] = Patience(lambda bpf: bpf.read(), timeout_s)

    @property
    def source(self) -> str:
        """As `-b` takes it."""
        return "kernel"

    @property
    def off(self) -> frozenset[str]:
        """The sources that are switched off."""
        return self._off

    def attend(self, pids: Iterable[int] | None = None) -> None:
        """Look closely at these processes (at all, where None is given), from the next capture on."""
        self._holders.attend(pids)

    def search(self, *, wanted: bool) -> None:
        """Whether to look where references can hide, from the next capture on."""
        self._hiding.wanted = wanted and not self._off & {"fd", "fdinfo"}

    def capture(self) -> Capture:
        """Take one look: system files first, then every process."""
        return self._capture(self._holders)

    def capture_whole(self) -> Capture:
        """As `capture`, with every file of every holder in full."""
        return self._capture(self._whole)

    def _capture(self, holders: Holders) -> Capture:
        captured_at = self._clock()
        files = dict(self._lasting)
        links: dict[str, bytes] = {}
        slow = [path for path in self._slow_files if self._is_there(path)]
        for path in self._files:
            _put(files, path, self._read(path))
        for path in _LINKS:
            with contextlib.suppress(OSError):
                links[path] = os.readlink(os.fsencode(self._path(path)))
        for tree in self._trees:
            if tree == buffer_folders.FOLDER:
                files |= self._buffers.files(links)
                continue
            for path, raw in self._tree(tree, links, slow):
                _put(files, path, raw)
        _put(files, _DEBUGFS, self._trouble_of(_DEBUGFS))
        _put(files, "dev.ls", self._devices())
        files |= self._locked_heaps()
        files |= self._bpf_files()
        if self._has_stacks:
            files |= shelf.read_all(shelf.KERNEL)
        if not isinstance(files.get(_BPF_LIST), bytes):
            slow += self._wanted(self._pins(_PINS))
        texts, older = self._slow.each(slow)
        files |= texts
        seen = None if self._off >= PROCESSES else _look(holders, files)
        if seen is not None and self._is_this_kernel:
            files[_WAY] = "".join(f"{line}\n" for line in holders.way if line).encode()
        files |= self._hiding.files()
        return Capture(
            source=self.source,
            captured_at=captured_at,
            files=MappingProxyType(files),
            links=MappingProxyType(links),
            processes=seen.processes if seen else (),
            processes_seen=seen.processes_seen if seen else None,
            off=self._off,
            older=MappingProxyType(older),
            infos=seen.infos if seen else MappingProxyType({}),
        )

    def close(self) -> None:
        """Take the BPF programs away; there is nothing else."""
        self._holders.close()
        for bpf in self._bpf:
            bpf.close()

    def _wanted(self, paths: Iterable[str]) -> list[str]:
        """Those whose source is not switched off."""
        return [path for path in paths if source_of(path) not in self._off]

    def _path(self, path: str) -> str:
        top, _, rest = path.partition("/")
        return os.path.join(self._places.get(top) or os.path.join(self._root, top), rest).rstrip("/")

    def _read(self, path: str) -> Raw | None:
        return read_file(self._path(path))

    def _trouble_of(self, folder: str) -> ReadError | None:
        """Why a folder cannot be opened; None where it can, or is not there."""
        try:
            os.close(os.open(self._path(folder), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
        except OSError as error:
            return read_error("open", error)
        return None

    def _is_there(self, path: str) -> bool:
        try:
            os.stat(self._path(path))
        except OSError as error:
            return read_error("open", error) is not None
        return True

    def _tree(
        self, folder: str, links: dict[str, bytes], slow: list[str], depth: int = _DEPTH_MAX
    ) -> Iterator[tuple[str, Raw | None]]:
        """Files below a folder. Links go to `links`, not followed; files that can be slow go to `slow`, unread."""
        wanted = next(names for tree, names in _TREES.items() if folder == tree or folder.startswith(tree + "/"))
        try:
            names = sorted(os.listdir(os.fsencode(self._path(folder))))
        except OSError as error:
            yield folder, read_error("open", error)
            return
        for name in names:
            path = f"{folder}/{text_of(name)}"
            with contextlib.suppress(OSError):  # gone meanwhile
                mode = os.lstat(self._path(path)).st_mode
                if stat.S_ISLNK(mode):
                    links[path] = os.readlink(os.fsencode(self._path(path)))
                elif stat.S_ISDIR(mode) and depth > 1:
                    yield from self._tree(path, links, slow, depth - 1)
                elif stat.S_ISREG(mode) and mode & 0o444 and (wanted is None or text_of(name) in wanted):
                    if name == b"bitmap":
                        slow.append(path)
                    else:
                        yield path, self._read(path)

    def _bpf_files(self) -> Iterator[tuple[str, Raw]]:
        """What BPF tells. An iterator waits for the lock that bufinfo holds, even while that waits for a driver."""
        found, hanging = self._programs.each(self._bpf)
        for told in found.values():
            yield from told.items()
        if hanging:
            yield _BPF_LIST, ReadError("read", errno.ETIMEDOUT)

    def _pins(self, folder: str, depth: int = _PINS_DEPTH_MAX) -> Iterator[str]:
        """BPF objects that the system has pinned, and which are iterators over dma-bufs by their names."""
        with contextlib.suppress(OSError):  # not mounted, or not ours to read
            for entry in sorted(os.scandir(self._path(folder)), key=lambda entry: entry.name):
                path = f"{folder}/{entry.name}"
                if entry.is_dir(follow_symlinks=False) and depth > 1:
                    yield from self._pins(path, depth - 1)
                elif entry.is_file(follow_symlinks=False) and "dmabuf" in entry.name.lower().replace("_", ""):
                    yield path

    def _locked_heaps(self) -> Iterator[tuple[str, Raw]]:
        """Nodes that this user may not open, which is needed to allocate alone."""
        with contextlib.suppress(OSError):
            for name in sorted(os.listdir(self._path(_HEAPS))):
                if not os.access(self._path(f"{_HEAPS}/{name}"), os.R_OK, effective_ids=True):
                    yield f"{_HEAPS}/{name}", ReadError("open", errno.EACCES)

    def _devices(self) -> Raw | None:
        """The nodes of heaps and of udmabuf, as `ls -ln` prints them."""
        folder = self._path(_HEAPS)
        lines = [line for line in (_listing(self._path("dev/udmabuf"), "/dev/udmabuf"),) if line]
        try:
            names = sorted(os.listdir(folder))
        except OSError as error:
            failure = read_error("open", error)
            return failure or (_lines(lines) if lines else None)
        listed = (_listing(os.path.join(folder, name), name) for name in names)
        return _lines([*lines, *([""] if lines else []), "/dev/dma_heap:", "total 0", *filter(None, listed)])


class KernelAllocator(KernelBackend):
    """This kernel, whose heaps can also be asked for test buffers, and whose buffers can be looked into."""

    def open_content(self, inode: int, ways: Sequence[Way]) -> Content:
        """Open a buffer for reading; see backend/content.py.

        Raises:
            SourceError: nobody holds it, it may not be looked into, or it cannot be mapped.
        """
        from heaptop.backend.content import open_content  # noqa: PLC0415  (most never look into one)

        return open_content(inode, ways, is_dmabuf)

    def heaps(self) -> Sequence[str]:
        """Names of the heaps that can be asked: the nodes in /dev/dma_heap."""
        try:
            return sorted(os.listdir(self._path(_HEAPS)))
        except OSError:
            return ()

    def allocate(self, heap: str, size_bytes: int, name: bytes | None = None) -> Allocation:
        """Allocate one buffer; the caller frees it by closing its fd.

        Raises:
            UsageError: the name is too long.
            AllocationError: with the heap's errno; ENOENT for an unknown heap.
        """
        if name is not None:
            uapi.check_name(name)
        try:
            buffer, latency_s = self._allocate(heap, size_bytes)
        except OSError as error:
            raise uapi.refused(printable(heap), size_bytes, error) from error
        try:
            if name is not None:
                uapi.set_name(buffer, name)
            given_bytes = os.lseek(buffer, 0, os.SEEK_END)  # up to 5.2, stat has no size
            return Allocation(buffer, heap, os.fstat(buffer).st_ino, given_bytes, name, latency_s)
        except OSError as error:
            os.close(buffer)
            what = f"cannot name a buffer of {printable(heap)}"
            raise AllocationError(what, error.errno or errno.EIO, "leave the name out") from error

    def _allocate(self, heap: str, size_bytes: int) -> tuple[int, float]:
        if heap not in self.heaps():
            raise OSError(errno.ENOENT, os.strerror(errno.ENOENT))
        node = os.open(os.path.join(self._path(_HEAPS), heap), os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            began = time.perf_counter()
            buffer = uapi.allocate(node, size_bytes)
            return buffer, time.perf_counter() - began
        finally:
            os.close(node)


def _bpf_sources() -> "tuple[BpfSource, ...]":
    """The one of this kernel; none without BTF, which it needs."""
    if not os.path.exists(_BTF):
        return ()
    from heaptop.scan.bpf import BpfSource  # noqa: PLC0415  (it loads much, and few kernels have the iterator)

    return (BpfSource(),)


def _look(holders: Holders, files: dict[str, Raw]) -> Seen:
    """All processes; why proc cannot be listed goes to `files`."""
    try:
        return holders.look()
    except OSError as error:
        files["proc"] = ReadError("open", error.errno or errno.EIO)
        return Seen((), MappingProxyType({}), 0)


def _put(files: dict[str, Raw], path: str, raw: Raw | None) -> None:
    if raw is not None:
        files[path] = raw


def _lines(lines: Sequence[str]) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode("utf-8", "surrogateescape")


def _listing(path: str, name: str) -> str:
    """One line of busybox's `ls -ln`; empty where there is nothing."""
    try:
        found = os.lstat(path)
    except OSError:
        return ""
    if stat.S_ISCHR(found.st_mode) or stat.S_ISBLK(found.st_mode):
        size = f"{os.major(found.st_rdev):4},{os.minor(found.st_rdev):4}"
    else:
        size = f"{found.st_size:9}"
    date = time.strftime("%b %d %H:%M", time.gmtime(found.st_mtime))
    mode = stat.filemode(found.st_mode)
    return (
        f"{mode:10} {found.st_nlink:4} {found.st_uid:<8} {found.st_gid:<8} {size} {date} {name.replace(chr(10), '?')}"
    )
