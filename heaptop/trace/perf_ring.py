"""Samples of tracepoints through perf_event_open(2), without BPF: one ring buffer for each processor.

All of it hangs on file descriptors, closed on exec: it is gone when this process is, even after SIGKILL.
"""

import contextlib
import fcntl
import mmap
import os
import select
import struct
import time
from typing import Final

from heaptop.parse import perf_sample
from heaptop.parse.perf_sample import Sample
from heaptop.trace.attach import PERF_TYPE_TRACEPOINT, perf_event_open

_ATTRIBUTE: Final = struct.Struct("<IIQQQQQIIQQQQIi")
"""perf_event_attr (PERF_ATTR_SIZE_VER3): type, size, config, sample_period, sample_type, read_format, flags,
wakeup_events, bp_type, config1, config2, branch_sample_type, sample_regs_user, sample_stack_user, clockid.
"""
_SAMPLE_TYPE: Final = 1 << 1 | 1 << 2 | 1 << 10
"""TID, TIME, RAW."""
_DISABLED, _USE_CLOCKID = 1 << 0, 1 << 25
_ENABLE, _DISABLE, _SET_OUTPUT = 0x2400, 0x2401, 0x2405
_HEAD_AT, _TAIL_AT = 1024, 1032
"""data_head and data_tail in struct perf_event_mmap_page."""
_POSITION: Final = struct.Struct("<Q")
_PAGE_BYTES: Final = mmap.PAGESIZE
RING_BYTES: Final = 1 << 19
"""For each processor; a power of two of pages."""
SETTLE_S: Final = 0.01
"""Other processors' records of a moment are all there so much later."""


class Rings:
    """Watches tracepoints, by their numbers, on every processor."""

    def __init__(self) -> None:
        self._held = contextlib.ExitStack()
        self._rings = [_Ring(cpu) for cpu in online()]
        for ring in self._rings:
            self._held.callback(ring.close)
        self._poll = select.poll()
        self._early: list[Sample] = []
        self._is_over = False
        self.lost = 0

    def watch(self, number: int) -> None:
        """Also this tracepoint. Raises OSError with the kernel's errno where it may not be."""
        for ring in self._rings:
            fd = ring.watch(number)
            self._poll.register(fd, select.POLLIN)

    def read(self, timeout_s: float) -> list[Sample]:
        """What happened, in the order of time; waits up to `timeout_s` where nothing did."""
        if not self._early:
            self._poll.poll(1000 * timeout_s)
        settled_ns = time.monotonic_ns() - (0 if self._is_over else int(SETTLE_S * 1e9))
        for ring in self._rings:
            samples, lost = perf_sample.parse(ring.take())
            self._early += samples
            self.lost += lost
        self._early.sort(key=lambda sample: sample.time_ns)
        count = next((n for n, one in enumerate(self._early) if one.time_ns > settled_ns), len(self._early))
        found, self._early = self._early[:count], self._early[count:]
        if not found and self._early:
            time.sleep(SETTLE_S)  # the next call has them
        return found

    def end(self) -> None:
        """Watch no more: what came until then can still be read."""
        self._is_over = True
        for ring in self._rings:
            for fd in ring.fds:
                with contextlib.suppress(KeyError):
                    self._poll.unregister(fd)
            ring.end()

    def close(self) -> None:
        """Give all back. May be called twice."""
        self._held.close()


class _Ring:
    """The events of one processor write into the ring of the first of them."""

    def __init__(self, cpu: int) -> None:
        self._cpu = cpu
        self._pages: mmap.mmap | None = None
        self.fds: list[int] = []

    def watch(self, number: int) -> int:
        head = (PERF_TYPE_TRACEPOINT, _ATTRIBUTE.size, number, 1, _SAMPLE_TYPE, 0, _DISABLED | _USE_CLOCKID, 1)
        fd = perf_event_open(_ATTRIBUTE.pack(*head, 0, 0, 0, 0, 0, 0, time.CLOCK_MONOTONIC), self._cpu)
        self.fds.append(fd)
        if self._pages is None:
            self._pages = mmap.mmap(fd, _PAGE_BYTES + RING_BYTES, mmap.MAP_SHARED)
        else:
            fcntl.ioctl(fd, _SET_OUTPUT, self.fds[0])
        fcntl.ioctl(fd, _ENABLE)
        return fd

    def take(self) -> bytes:
        """All whole records there are, and room for more."""
        if self._pages is None:
            return b""
        (end,) = _POSITION.unpack_from(self._pages, _HEAD_AT)
        (at,) = _POSITION.unpack_from(self._pages, _TAIL_AT)
        first, length = at % RING_BYTES, end - at
        data = self._pages[_PAGE_BYTES + first : _PAGE_BYTES + min(first + length, RING_BYTES)]
        data += self._pages[_PAGE_BYTES : _PAGE_BYTES + length - len(data)]
        _POSITION.pack_into(self._pages, _TAIL_AT, end)
        return data

    def end(self) -> None:
        """Close the events. The mapping keeps the ring, and with it the first of them, which is silenced."""
        for fd in self.fds:
            with contextlib.suppress(OSError):
                fcntl.ioctl(fd, _DISABLE)
            os.close(fd)
        self.fds = []

    def close(self) -> None:
        self.end()
        if self._pages is not None:
            self._pages.close()
            self._pages = None


def online() -> list[int]:
    """The processors that are there, from `0-3,6`."""
    with open("/sys/devices/system/cpu/online", encoding="ascii") as file:
        parts = [part.partition("-") for part in file.read().strip().split(",")]
    return [cpu for first, _, last in parts for cpu in range(int(first), int(last or first) + 1)]
