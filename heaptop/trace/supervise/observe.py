"""Lets the kernel answer a command's ALLOCs and tells what it did; or refuses one on demand, in the kernel's place."""

import os
import stat
import struct
import time
from collections.abc import Mapping
from typing import Final

from heaptop.trace.supervise import memory
from heaptop.trace.supervise.base import Allocation, Outcome
from heaptop.trace.supervise.faults import Injector
from heaptop.trace.supervise.libc import LIBC, checked
from heaptop.trace.supervise.live import LiveBytes
from heaptop.trace.supervise.seccomp import Call
from heaptop.trace.supervise.stops import Stopped

HEAPS: Final = "/dev/dma_heap"
_DATA: Final = struct.Struct("=QI")
_IOC_WRITE, _IOC_READ = 1 << 30, 2 << 30
_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")
_PIDFD_GETFD: Final = 438
_PASS: Final = Outcome(passes=True)


def heaps_here() -> dict[int, str]:
    """The kernel's heaps by device number of their nodes; empty where there are none."""
    try:
        names = os.listdir(HEAPS)
    except OSError:
        return {}
    found = ((name, os.stat(f"{HEAPS}/{name}")) for name in names)
    return {node.st_rdev: name for name, node in found if stat.S_ISCHR(node.st_mode)}


class Observation:
    """The kernel's heaps, by the device number of their nodes. `live` where the bytes alive matter."""

    def __init__(self, heaps: Mapping[int, str], injector: Injector, live: LiveBytes | None) -> None:
        self._heaps = heaps
        self._injector = injector
        self._live = live

    def handle(self, call: Call) -> Outcome:
        """Pass it on; an ALLOC is told of, and perhaps refused."""
        try:
            node = os.stat(f"/proc/{call.tid}/fd/{call.fd}")
        except OSError:  # no such fd: the kernel says EBADF
            return _PASS
        heap = self._heaps.get(node.st_rdev) if stat.S_ISCHR(node.st_mode) else None
        if heap is None:
            return _PASS
        allocation = Allocation(call.tid, heap, time.time(), size_bytes=_size_asked(call))
        live_bytes = None if self._live is None else self._live.settled
        allocation.number = self._injector.refuses(heap, allocation.size_bytes or 0, live_bytes) or None
        return Outcome(allocation.number or 0, passes=allocation.number is None, allocation=allocation)

    def close(self) -> None:
        """Nothing is to be given back."""

    def tend(self) -> float | None:
        """Nothing is ever due."""
        return None

    def returned(self, call: Call, allocation: Allocation, stopped: Stopped) -> bool:
        """Note what the kernel answered; False where the call is about to be made again."""
        try:
            result = stopped.result()
        except OSError:
            return True
        if result is None:
            return False
        allocation.took_s = time.time() - allocation.began
        allocation.number = max(0, -result)
        if not allocation.number and call.command & _IOC_READ and call.command >> 16 & 0x3FFF >= _DATA.size:
            self._look_at(call, allocation)
        return True

    def _look_at(self, call: Call, allocation: Allocation) -> None:
        """The buffer that the kernel made, by the fd that it wrote back."""
        try:
            _, allocation.fd = _DATA.unpack(memory.read(call.tid, call.argument, _DATA.size))
            buffer = os.stat(f"/proc/{call.tid}/fd/{allocation.fd}")
        except OSError:  # another thread was quicker to change it
            return
        allocation.inode, allocation.size_bytes = buffer.st_ino, buffer.st_size
        if self._live is not None:
            self._count(call.tid, allocation.fd)

    def _count(self, tid: int, fd: int) -> None:
        """Count a buffer as long as it lives. Where its descriptor may not be had, it is not counted."""
        try:
            pidfd = os.pidfd_open(memory.process_of(tid))
        except OSError:
            return
        try:
            copy = checked(int(LIBC.syscall(_PIDFD_GETFD, pidfd, fd, 0)), "pidfd_getfd")
            try:
                if self._live is not None:
                    self._live.add(copy)
            finally:
                os.close(copy)
        except OSError:
            return
        finally:
            os.close(pidfd)


def _size_asked(call: Call) -> int | None:
    """Whole pages; None where that cannot be read."""
    if not call.command & _IOC_WRITE:
        return None
    try:
        length = int.from_bytes(memory.read(call.tid, call.argument, 8), "little")
    except OSError:
        return None
    return -(-length // _PAGE_BYTES) * _PAGE_BYTES
