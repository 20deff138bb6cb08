"""Live events of the running kernel: what its tracepoints tell, and probes at its functions where they do not."""

import contextlib
import mmap
import os
import platform
import resource
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Final

from heaptop.capture import Capture
from heaptop.errors import ParseError, SourceError, errno_text
from heaptop.model import Event, EventKind, Gap
from heaptop.parse import event_record
from heaptop.parse.event_record import Step, What
from heaptop.scan.bpf_call import SharedMemory, is_known_machine
from heaptop.trace.attach import enable_statistics
from heaptop.trace.base import Look
from heaptop.trace.cma_files import CmaFiles
from heaptop.trace.join import PATIENCE_NS, Joiner, Known
from heaptop.trace.programs import MACHINES, Programs
from heaptop.trace.ring import Ring
from heaptop.trace.watch import Watch
from heaptop.units import text_of

RING_BYTES: Final = 8 << 20
"""Room for some twenty thousand buffers that are allocated and freed while nobody reads."""
PART_RECORDS: Final = 128
_WHAT: Final = "live events"
_ROOT: Final = "run heaptop as root, or with CAP_BPF and CAP_PERFMON"
_NEWER: Final = "Linux 5.8 or newer with CONFIG_BPF_EVENTS and CONFIG_KPROBE_EVENTS has them"


class KernelEvents:
    """An EventSource. Nothing is opened before `start`."""

    def __init__(self, known: Callable[[], Mapping[int, Known]]) -> None:
        """`known` tells the buffers alive, by inode, for when they are freed. It is asked once all is watched, so that
        none is missed in between.
        """
        self._find_known = known
        self._held = contextlib.ExitStack()
        self._running: _Running | None = None
        self._heard: deque[tuple[Step, Look | None]] = deque()
        self._looks: dict[Event, Look] = {}
        self._cma_files = CmaFiles()
        self._garbled = 0

    @property
    def watched(self) -> tuple[str, ...]:
        """The tracepoints and functions."""
        return tuple(self._started().watch.watched)

    @property
    def gaps(self) -> tuple[Gap, ...]:
        """What this kernel does not let be told."""
        return tuple(self._started().watch.gaps)

    @property
    def lost(self) -> int:
        """Records that found no room in the ring, or cannot be understood."""
        return self._garbled + int.from_bytes(self._started().lost.memory[:8], "little")

    def start(self) -> None:
        """Watch all that there is.

        Raises:
            SourceError: nothing can be watched here, or not by this process.
        """
        machine = platform.machine()
        if not is_known_machine() or machine not in MACHINES:
            raise SourceError(_WHAT, f"not known how to watch a kernel of {machine}", f"known: {', '.join(MACHINES)}")
        with contextlib.suppress(OSError, ValueError):  # up to 5.10 maps count as locked memory
            resource.setrlimit(resource.RLIMIT_MEMLOCK, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        with contextlib.ExitStack() as held:
            try:
                running = _Running(held)
            except PermissionError as error:
                raise SourceError(_WHAT, "watching the kernel is not permitted", _ROOT) from error
            except OSError as error:
                raise SourceError(_WHAT, f"the kernel cannot do it, {errno_text(error.errno or 0)}", _NEWER) from error
            if not running.watch.probes:
                raise SourceError(_WHAT, "this kernel offers nothing to watch", _NEWER)
            offset_s = time.time() - time.monotonic()
            self._joiner = Joiner(offset_s, mmap.PAGESIZE, self._find_known())
            self._running = running
            self._held = held.pop_all()

    def read(self, timeout_s: float) -> tuple[Event, ...]:
        """What happened since the last call, oldest first; waits up to `timeout_s` where nothing did.

        After a rush it tells a part at a time, so that it hears of a CMA failure while the area is still as it was.
        """
        self._looks.clear()
        self._hear(0 if self._heard else timeout_s)
        count = min(len(self._heard), PART_RECORDS)
        return tuple(self._told(count)) + tuple(self._joiner.settle(time.monotonic_ns()))

    def look(self, event: Event) -> Look | None:
        """The map of the area that failed."""
        return self._looks.get(event)

    def finish(self) -> tuple[Event, ...]:
        """Take the probes away, and tell all that is left."""
        running = self._started()
        running.kernel_s = self.kernel_s()
        for probe in running.watch.probes:
            probe.close()
        self._looks.clear()
        self._hear(0)
        return tuple(self._told(len(self._heard))) + tuple(self._joiner.settle(time.monotonic_ns() + 2 * PATIENCE_NS))

    def kernel_s(self) -> float | None:
        """Time that the programs took, in whoever was watched; None where the kernel does not count it."""
        running = self._started()
        if running.kernel_s is not None or not running.is_counted:
            return running.kernel_s
        return sum(probe.run_ns() for probe in running.watch.probes) / 1e9

    def stop(self) -> None:
        """Take all away. May be called twice."""
        self._running = None
        self._held.close()

    def _hear(self, timeout_s: float) -> None:
        """Take all records from the ring, and look at the areas that failed before anything else is done."""
        running = self._started()
        for record in running.ring.read(timeout_s):
            try:
                step = event_record.parse(record, running.watch.formats)
            except ParseError:
                self._garbled += 1
                continue
            look = None
            if step.what == What.TRACE_CMA_DONE and step.result != 0 and step.area is not None:
                files = self._cma_files.read(text_of(step.area))
                after_s = (time.monotonic_ns() - step.time_ns) / 1e9
                look = Look(Capture("kernel", None, files, MappingProxyType({}), ()), after_s)
            self._heard.append((step, look))

    def _told(self, count: int) -> Iterator[Event]:
        for _ in range(count):
            step, look = self._heard.popleft()
            for event in self._joiner.feed(step):
                if look is not None and event.kind == EventKind.CMA_FAIL:
                    self._looks[event] = look
                yield event

    def _started(self) -> "_Running":
        if self._running is None:
            raise RuntimeError("not started")
        return self._running


class _Running:
    """All that is open while events are on."""

    def __init__(self, held: contextlib.ExitStack) -> None:
        self.ring = Ring(RING_BYTES)
        held.callback(self.ring.close)
        self.lost = SharedMemory(mmap.PAGESIZE)
        held.callback(self.lost.close)
        self.is_counted = False
        self.kernel_s: float | None = None
        with contextlib.suppress(OSError):  # 5.8 on
            held.callback(os.close, enable_statistics())
            self.is_counted = True
        self.watch = Watch(self.ring, Programs(self.ring.fd, self.lost.fd), held)
