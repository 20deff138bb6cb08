"""The dma-heap framework: what the ALLOC and SET_NAME ioctls check, and buffers as real files.

A buffer is a sealed memfd. The emulator keeps no reference to it: who gets the fd holds it, and a watch on the inode
tells when the last holder has gone.
"""

import errno
import fcntl
import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from heaptop_emulator import linux
from heaptop_emulator.heap import Heap, Pages, Run
from heaptop_emulator.inotify import ReleaseWatcher
from heaptop_emulator.layout import PAGE_BYTES, PAGE_SHIFT
from heaptop_emulator.text import FILE_PREFIX

NAME_BYTES_MAX: Final = 31
_VALID_FD_FLAGS: Final = os.O_CLOEXEC | os.O_ACCMODE
_VALID_HEAP_FLAGS: Final = 0
_LEN_MASK: Final = (1 << 64) - 1
_SEALS: Final = fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_SEAL


@dataclass(slots=True)
class Buffer:
    """A live buffer. `serial` counts all buffers of this boot; `access` is O_RDONLY, O_WRONLY or O_RDWR."""

    inode: int
    heap: str
    exporter: str
    size_bytes: int
    access: int
    serial: int
    pages: Pages
    name: bytes | None = None
    dmabuf: int | None = None
    """Inode of the real dma-buf over its pages (udmabuf) that the programs hold in its place."""

    @property
    def shown_inode(self) -> int:
        """What it is known by to those that look."""
        return self.inode if self.dmabuf is None else self.dmabuf


@dataclass(frozen=True, slots=True)
class Record:
    """A buffer as it is written down for a restart; `pid` asked for it."""

    inode: int
    heap: str
    size_bytes: int
    access: int
    serial: int
    name: bytes | None
    pid: int
    runs: tuple[Run, ...]
    dmabuf: int | None = None


class Framework:
    """All heaps and live buffers of one machine."""

    def __init__(self, heaps: Iterable[Heap], releases: ReleaseWatcher | None = None) -> None:
        self.heaps = {heap.name: heap for heap in heaps}
        self.buffers: dict[int, Buffer] = {}
        self.releases = releases or ReleaseWatcher()
        self._inode_by_watch: dict[int, int] = {}
        self._inode_by_dmabuf: dict[int, int] = {}
        self._serial = 0

    def allocate(
        self, heap_name: str, length: int, *, fd: int = 0, fd_flags: int = os.O_RDWR, heap_flags: int = 0
    ) -> tuple[Buffer, int]:
        """Open the heap's node and ALLOC: checks and errno in the kernel's order (dma-heap.c, 5.6 to 7.3).

        Returns the buffer and the only reference to it, an fd that is closed on exec.

        Raises:
            OSError: ENOENT no such heap, EINVAL, or the heap's own.
        """
        heap = self.heaps.get(heap_name)
        if heap is None:
            raise _error(errno.ENOENT)
        if fd != 0 or fd_flags & ~_VALID_FD_FLAGS or heap_flags & ~_VALID_HEAP_FLAGS:
            raise _error(errno.EINVAL)
        size_bytes = (length + PAGE_BYTES - 1) & _LEN_MASK & -PAGE_BYTES
        if size_bytes == 0:
            raise _error(errno.EINVAL)
        pages = heap.allocate(size_bytes >> PAGE_SHIFT)
        access = fd_flags & os.O_ACCMODE
        try:
            buffer_fd, watch = self._open_buffer(heap, size_bytes, access)
        except OSError:
            pages.release()
            raise
        self._serial += 1
        inode = os.fstat(buffer_fd).st_ino
        buffer = Buffer(inode, heap.name, heap.exporter, size_bytes, access, self._serial, pages)
        self.buffers[buffer.inode] = buffer
        self._inode_by_watch[watch] = buffer.inode
        return buffer, buffer_fd

    def _open_buffer(self, heap: Heap, size_bytes: int, access: int) -> tuple[int, int]:
        """A new buffer's file, opened as asked for, and its watch.

        One that may not be mapped is opened neither for reading nor for writing, so that every mmap fails (EACCES,
        where a dma-buf without mmap says EINVAL), is sealed against writing, and may be opened anew by nobody but
        root, who would find zeros.
        """
        name = f"{FILE_PREFIX}{heap.name}:{self._serial + 1}"
        created = linux.nameless_file(name)
        try:
            os.ftruncate(created, size_bytes)
            fcntl.fcntl(created, fcntl.F_ADD_SEALS, _SEALS if heap.can_map else _SEALS | fcntl.F_SEAL_WRITE)
            watch = self.releases.watch(created)
            # Else a second open file of the same inode, since memfd_create's own is always O_RDWR.
            mode = access if heap.can_map else os.O_ACCMODE
            if mode == os.O_RDWR:
                opened, created = created, -1
                return opened, watch
            opened = os.open(f"/proc/self/fd/{created}", mode | os.O_CLOEXEC)
            if not heap.can_map:
                os.fchmod(created, 0)
            return opened, watch
        finally:
            if created >= 0:
                os.close(created)

    def go_on_from(self, serial: int) -> None:
        """Let the next buffer be the one after this serial."""
        self._serial = max(self._serial, serial)

    def adopt(self, watch: int, record: Record) -> Buffer:
        """Take in a buffer that lived before a restart, with its pages.

        Raises:
            ValueError: these pages are not free, or there is no such heap.
        """
        heap = self.heaps.get(record.heap)
        if heap is None:
            raise ValueError(f"no heap {record.heap}")
        buffer = Buffer(
            inode=record.inode,
            heap=heap.name,
            exporter=heap.exporter,
            size_bytes=record.size_bytes,
            access=record.access,
            serial=record.serial,
            pages=heap.claim(record.runs),
            name=record.name,
            dmabuf=record.dmabuf,
        )
        self.buffers[buffer.inode] = buffer
        if buffer.dmabuf is not None:
            self._inode_by_dmabuf[buffer.dmabuf] = buffer.inode
        self._inode_by_watch[watch] = buffer.inode
        self.releases.adopt(watch)
        return buffer

    def set_name(self, inode: int, name: bytes) -> Buffer:
        """DMA_BUF_SET_NAME (dma_buf_set_name): at most 31 bytes, cut at the first NUL as a C string is. The buffer.

        Raises:
            OSError: EINVAL too long; ENOTTY where the inode is no buffer's.
        """
        name = check_name(name)
        buffer = self.buffers.get(self._inode_by_dmabuf.get(inode, inode))
        if buffer is None:
            raise _error(errno.ENOTTY)
        buffer.name = name
        return buffer

    def replace(self, inode: int, dmabuf: int) -> Buffer:
        """A real dma-buf of this inode stands for the buffer from now on.

        Raises:
            OSError: ENOTTY where the inode is no buffer's; EEXIST where a buffer has that number already.
        """
        buffer = self.buffers.get(inode)
        if buffer is None:
            raise _error(errno.ENOTTY)
        if dmabuf in self.buffers or dmabuf in self._inode_by_dmabuf:
            raise _error(errno.EEXIST)
        buffer.dmabuf = dmabuf
        self._inode_by_dmabuf[dmabuf] = inode
        return buffer

    def collect(self) -> list[Buffer]:
        """Give back the pages of every buffer that nobody holds any more; these buffers."""
        gone = [self._inode_by_watch.pop(watch) for watch in self.releases.released() if watch in self._inode_by_watch]
        buffers = [self.buffers.pop(inode) for inode in gone]
        for buffer in buffers:
            buffer.pages.release()
            if buffer.dmabuf is not None:
                del self._inode_by_dmabuf[buffer.dmabuf]
        return buffers

    def close(self) -> None:
        """Stop watching."""
        self.releases.close()


def check_name(name: bytes) -> bytes:
    """The name as the kernel takes it. OSError (EINVAL) where strndup_user(…, 32) finds no end within 31 bytes."""
    name = name.partition(b"\0")[0]
    if len(name) > NAME_BYTES_MAX:
        raise _error(errno.EINVAL)
    return name


def _error(number: int) -> OSError:
    return OSError(number, os.strerror(number))
