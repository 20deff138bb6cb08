"""Live events of the running kernel: what its tracepoints tell, and probes at its functions where they do not."""

import contextlib
import errno
import mmap
import platform
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Final

from heaptop.capture import Capture
from heaptop.errors import SourceError, errno_text
from heaptop.model import Event, EventKind, Gap
from heaptop.parse.event_record import Step, What
from heaptop.scan.bpf_call import is_known_machine
from heaptop.trace.base import Look, Way
from heaptop.trace.bpf_way import BpfWay
from heaptop.trace.cma_files import CmaFiles
from heaptop.trace.join import PATIENCE_NS, Joiner, Known
from heaptop.trace.perf_way import PerfWay
from heaptop.trace.programs import MACHINES
from heaptop.units import text_of

PART_RECORDS: Final = 128
_WHAT: Final = "live events"
_ROOT: Final = "run heaptop as root, or with CAP_BPF and CAP_PERFMON"
_NEWER: Final = "a kernel with CONFIG_KPROBE_EVENTS, and with CONFIG_BPF_EVENTS (5.8 on) at best, has them"
_WAYS: Final[tuple[Callable[[contextlib.ExitStack], Way], ...]] = (BpfWay, PerfWay)
"""Best first: without BPF every record costs more, and definitions in tracefs are needed."""


class KernelEvents:
    """An EventSource. Nothing is opened before `start`."""

    def __init__(self, known: Callable[[], Mapping[int, Known]], *, by_bpf: bool = True) -> None:
        """`known` tells the buffers alive, by inode, for when they are freed. It is asked once all is watched, so that
        none is missed in between. `by_bpf` where that is to be had.
        """
        self._ways = _WAYS if by_bpf else tuple(way for way in _WAYS if way is not BpfWay)
        self._find_known = known
        self._held = contextlib.ExitStack()
        self._way: Way | None = None
        self._heard: deque[tuple[Step, Look | None]] = deque()
        self._looks: dict[Event, Look] = {}
        self._cma_files = CmaFiles()

    @property
    def watched(self) -> tuple[str, ...]:
        """The tracepoints and functions."""
        return tuple(self._started().watched)

    @property
    def gaps(self) -> tuple[Gap, ...]:
        """What this kernel does not let be told."""
        return tuple(self._started().gaps)

    @property
    def lost(self) -> int:
        """Records that found no room, or cannot be understood."""
        return self._started().lost

    def start(self) -> None:
        """Watch all that there is.

        Raises:
            SourceError: nothing can be watched here, or not by this process.
        """
        machine = platform.machine()
        if not is_known_machine() or machine not in MACHINES:
            raise SourceError(_WHAT, f"not known how to watch a kernel of {machine}", f"known: {', '.join(MACHINES)}")
        errors: list[OSError] = []
        for open_way in self._ways:
            with contextlib.ExitStack() as held:
                try:
                    way = open_way(held)
                except OSError as error:
                    errors.append(error)
                    continue
                if not way.watched:
                    continue
                self._joiner = Joiner(time.time() - time.monotonic(), mmap.PAGESIZE, self._find_known())
                self._way = way
                self._held = held.pop_all()
                return
        raise _refusal(errors)

    def read(self, timeout_s: float) -> tuple[Event, ...]:
        """What happened since the last call, oldest first; waits up to `timeout_s` where nothing did.

        After a rush it tells a part at a time, so that it hears of a CMA failure while the area is still as it was.
        """
        self._looks.clear()
        self._hear(0 if self._heard else timeout_s)
        count = min(len(self._heard), PART_RECORDS)
        told = tuple(self._told(count))
        # While there is more to be told, the end of a call may be in there, however long ago it was.
        return told if self._heard else told + tuple(self._joiner.settle(time.monotonic_ns()))

    def look(self, event: Event) -> Look | None:
        """The map of the area that failed."""
        return self._looks.get(event)

    def finish(self) -> tuple[Event, ...]:
        """Take the probes away, and tell all that is left."""
        self._started().end()
        self._looks.clear()
        self._hear(0)
        return tuple(self._told(len(self._heard))) + tuple(self._joiner.settle(time.monotonic_ns() + 2 * PATIENCE_NS))

    def kernel_s(self) -> float | None:
        """Processor time that watching took in whoever was watched; None where not told."""
        return self._started().kernel_s()

    def stop(self) -> None:
        """Take all away. May be called twice."""
        self._way = None
        self._held.close()

    def _hear(self, timeout_s: float) -> None:
        """Take all steps there are, and look at the areas that failed before anything else is done."""
        for step in self._started().steps(timeout_s):
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

    def _started(self) -> Way:
        if self._way is None:
            raise RuntimeError("not started")
        return self._way


def _refusal(errors: list[OSError]) -> SourceError:
    """Why no way can be taken: a want of permission comes first, as it can be helped."""
    denied = next((error for error in errors if error.errno in {errno.EPERM, errno.EACCES}), None)
    if denied is not None:
        refusal = SourceError(_WHAT, "watching the kernel is not permitted", _ROOT)
        refusal.__cause__ = denied
        return refusal
    if errors:
        return SourceError(_WHAT, f"the kernel cannot do it, {errno_text(errors[0].errno or 0)}", _NEWER)
    return SourceError(_WHAT, "this kernel offers nothing to watch", _NEWER)
