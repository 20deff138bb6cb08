"""Measures a heap: how long a buffer takes to be allocated, mapped, touched, synced and freed."""

import errno
import fcntl
import mmap
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from heaptop.backend.base import Allocator
from heaptop.backend.uapi import DMA_BUF_IOCTL_SYNC, SYNC_READ, SYNC_WRITE
from heaptop.errors import AllocationError

STEPS: Final = ("allocate", "map", "touch", "sync", "free")
_SYNC_END: Final = 4


@dataclass(slots=True)
class Times:
    """What was measured of one heap and size, in seconds by step. `refusal` says why there is no more of it.

    A step that cannot be done here has no times: SYNC of the emulator's memfds, mapping what cannot be mapped.
    """

    heap: str
    size_bytes: int
    times_s: dict[str, list[float]] = field(default_factory=lambda: {step: [] for step in STEPS})
    refusal: AllocationError | None = None


def measure(
    allocator: Allocator,
    heaps: tuple[str, ...],
    size_bytes: int,
    count: int,
    *,
    limit_s: float,
    timer: Callable[[], float] = time.perf_counter,
) -> list[Times]:
    """Allocate and free `count` buffers of each heap, one at a time and in turn, so that what disturbs one disturbs the
    others alike. After `limit_s` it ends early. A first round is not counted.
    """
    measured = [Times(heap, size_bytes) for heap in heaps]
    began = timer()
    for number in range(count + 1):
        for times in measured:
            if times.refusal is None:
                try:
                    _once(allocator, times if number else Times(times.heap, size_bytes), timer)
                except AllocationError as error:
                    times.refusal = error
        if number and timer() - began > limit_s:
            break
    return measured


def _once(allocator: Allocator, times: Times, timer: Callable[[], float]) -> None:
    """One buffer's life. It is freed whatever happens."""
    allocation = allocator.allocate(times.heap, times.size_bytes)
    taken = times.times_s
    taken["allocate"].append(allocation.latency_s)
    try:
        _use(allocation.fd, allocation.size_bytes, taken, timer)
    finally:
        began = timer()
        os.close(allocation.fd)
        taken["free"].append(timer() - began)


def _use(fd: int, size_bytes: int, taken: dict[str, list[float]], timer: Callable[[], float]) -> None:
    """Map it, touch each page, sync it, unmap it: then only the descriptor holds it."""
    began = timer()
    try:
        mapping = mmap.mmap(fd, size_bytes, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
    except OSError:
        return
    with mapping:
        mapped = timer()
        taken["map"].append(mapped - began)
        pages = b"\x5a" * (size_bytes // mmap.PAGESIZE)
        began = timer()
        mapping[:: mmap.PAGESIZE] = pages
        taken["touch"].append(timer() - began)
        began = timer()
        if _sync(fd):
            taken["sync"].append(timer() - began)


def _sync(fd: int) -> bool:
    """SYNC for reading and writing, start and end; False where this file knows none."""
    try:
        for flags in (SYNC_READ | SYNC_WRITE, SYNC_READ | SYNC_WRITE | _SYNC_END):
            fcntl.ioctl(fd, DMA_BUF_IOCTL_SYNC, flags.to_bytes(8, sys.byteorder))
    except OSError as error:
        if error.errno != errno.ENOTTY:
            raise
        return False
    return True
