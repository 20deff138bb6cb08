"""Real dma-bufs over the emulator's memfds (/dev/udmabuf, 4.20 on): drivers import them, and the kernel answers SYNC.

The emulator knows by its memfd whether a buffer lives, so that is kept open here as long as the dma-buf lives. Of a
dma-buf no event tells the end on every kernel (none from 6.14 on), but an open file that was put into an epoll instance
is listed there as long as it lives, though who put it there has closed it.
"""

import errno
import fcntl
import os
import re
import resource
import select
import struct
import time
from collections.abc import Callable
from typing import Final, NamedTuple

from heaptop.pattern import pattern
from heaptop.trace.supervise.base import Granted, Heaps, Wanted

DEVICE: Final = "/dev/udmabuf"
_CREATE: Final = 0x40187542
_CREATION: Final = struct.Struct("=IIQQ")
_FLAGS_CLOEXEC: Final = 1
_LISTED: Final = pattern(rb"^tfd:.* ino:([0-9a-f]+) ", re.MULTILINE)
LOOK_EVERY_S: Final = 0.02
"""How long after its end a buffer's pages are free again, at most. An allocation that finds none looks at once."""


class _Dmabuf(NamedTuple):
    fd: int
    inode: int


class Udmabufs:
    """Makes dma-bufs, and keeps the memfd of each open until it is gone."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """OSError where there is no /dev/udmabuf, or this user may not open it."""
        self._device = os.open(DEVICE, os.O_RDWR | os.O_CLOEXEC)
        self._clock = clock
        self._epoll = select.epoll()
        self._kept: dict[int, int] = {}
        self._look_at = 0.0

    def make(self, memfd: int, size_bytes: int) -> int:
        """A dma-buf over the whole file, which the caller closes.

        Raises:
            OSError: it is larger than this kernel lets one be (EINVAL: udmabuf's size_limit_mb, 64 by default).
        """
        request = bytearray(_CREATION.pack(memfd, _FLAGS_CLOEXEC, 0, size_bytes))
        fd: int = fcntl.ioctl(self._device, _CREATE, request)
        return fd

    def keep(self, dmabuf: int, memfd: int) -> None:
        """Keep memfd open as long as the dma-buf lives.

        Raises:
            OSError: too many open files.
        """
        self._epoll.register(dmabuf, 0)
        self._kept[os.fstat(dmabuf).st_ino] = fcntl.fcntl(memfd, fcntl.F_DUPFD_CLOEXEC, 0)
        if len(self._kept) == 1:
            self._look_at = self._clock() + LOOK_EVERY_S

    def look(self) -> None:
        """Close the memfds of those that are gone."""
        with open(f"/proc/self/fdinfo/{self._epoll.fileno()}", "rb") as file:
            living = {int(inode, 16) for inode in _LISTED.findall(file.read())}
        for inode in self._kept.keys() - living:
            os.close(self._kept.pop(inode))
        self._look_at = self._clock() + LOOK_EVERY_S

    def tend(self) -> float | None:
        """Look, if it is time; seconds until the next look, None where nothing is kept."""
        if not self._kept:
            return None
        if self._clock() >= self._look_at:
            self.look()
        return max(0.0, self._look_at - self._clock()) if self._kept else None


class RealBuffers:
    """Gives dma-bufs in place of the emulator's memfds. One that cannot be stays a memfd: read-only, or too large."""

    def __init__(self, heaps: Heaps, udmabufs: Udmabufs) -> None:
        self._heaps = heaps
        self._udmabufs = udmabufs

    def allocate(self, heap: str, wanted: Wanted, tid: int) -> Granted:
        """As the emulator. Where that has no pages, those of buffers that have just gone are given back first."""
        try:
            granted = self._heaps.allocate(heap, wanted, tid)
        except OSError as error:
            if error.errno != errno.ENOMEM or self._udmabufs.tend() is None:
                raise
            self._udmabufs.look()
            granted = self._heaps.allocate(heap, wanted, tid)
        if wanted.fd_flags & os.O_ACCMODE != os.O_RDWR:  # a udmabuf is always both
            return granted
        try:
            return self._real(granted, wanted.size_bytes)
        except OSError:
            return granted

    def set_name(self, inode: int, name: bytes) -> None:
        """As the emulator."""
        self._heaps.set_name(inode, name)

    def _real(self, granted: Granted, size_bytes: int) -> Granted:
        dmabuf = self._udmabufs.make(granted.fd, size_bytes)
        try:
            inode = os.fstat(dmabuf).st_ino
            self._heaps.replace(granted.inode, inode)
            self._udmabufs.keep(dmabuf, granted.fd)
        except OSError:
            os.close(dmabuf)
            raise
        os.close(granted.fd)
        return _Dmabuf(dmabuf, inode)


def raise_limit() -> None:
    """Let this process have as many open files as it may: one for each live buffer."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def why_not() -> str:
    """In words; empty where real dma-bufs can be made here."""
    try:
        os.close(os.open(DEVICE, os.O_RDWR | os.O_CLOEXEC))
    except FileNotFoundError:
        return f"no {DEVICE} here"
    except OSError as error:
        return f"{DEVICE}: {errno.errorcode.get(error.errno or 0, 'cannot be opened')}"
    return ""
