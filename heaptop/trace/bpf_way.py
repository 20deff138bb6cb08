"""Watching by BPF programs on tracepoints and functions: nothing but their answers leaves the kernel (5.8 on)."""

import contextlib
import mmap
import os
import resource
from collections.abc import Iterable, Sequence

from heaptop.errors import ParseError
from heaptop.model import Gap
from heaptop.parse import event_record
from heaptop.parse.event_record import Step
from heaptop.scan.bpf_call import SharedMemory
from heaptop.trace.attach import enable_statistics
from heaptop.trace.programs import Programs
from heaptop.trace.ring import Ring
from heaptop.trace.watch import Watch

RING_BYTES = 8 << 20
"""Room for some twenty thousand buffers that are allocated and freed while nobody reads."""


class BpfWay:
    """A Way. Everything is open, or nothing is."""

    def __init__(self, held: contextlib.ExitStack) -> None:
        """Raises OSError where there is no BPF, or not for this process."""
        with contextlib.suppress(OSError, ValueError):  # up to 5.10 maps count as locked memory
            resource.setrlimit(resource.RLIMIT_MEMLOCK, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        self._ring = Ring(RING_BYTES)
        held.callback(self._ring.close)
        self._lost = SharedMemory(mmap.PAGESIZE)
        held.callback(self._lost.close)
        self._garbled = 0
        self._is_counted = False
        self._kernel_s: float | None = None
        with contextlib.suppress(OSError):  # 5.8 on
            held.callback(os.close, enable_statistics())
            self._is_counted = True
        self._watch = Watch(self._ring, Programs(self._ring.fd, self._lost.fd), held)

    @property
    def watched(self) -> Sequence[str]:
        """The tracepoints and functions."""
        return self._watch.watched

    @property
    def gaps(self) -> Sequence[Gap]:
        """What this kernel does not let be told."""
        return self._watch.gaps

    @property
    def lost(self) -> int:
        """Records that found no room in the ring, or cannot be understood."""
        return self._garbled + int.from_bytes(self._lost.memory[:8], "little")

    def steps(self, timeout_s: float) -> Iterable[Step]:
        """What happened, in the order in which room was taken for it."""
        for record in self._ring.read(timeout_s):
            try:
                yield event_record.parse(record, self._watch.formats)
            except ParseError:
                self._garbled += 1

    def end(self) -> None:
        """Take the probes away."""
        self._kernel_s = self.kernel_s()
        for probe in self._watch.probes:
            probe.close()

    def kernel_s(self) -> float | None:
        """Time that the programs took, in whoever was watched; None where the kernel does not count it."""
        if self._kernel_s is not None or not self._is_counted:
            return self._kernel_s
        return sum(probe.run_ns() for probe in self._watch.probes) / 1e9
