"""Where heaptop's own time goes: `--profile-self`.

The kernel signals each few milliseconds of CPU time that the program takes (ITIMER_PROF); what every thread that does
not wait is doing then is counted, by step: the pass over /proc, assembly, drawing and so on. Nothing is slowed down:
the shares are those of an ordinary run.
"""

import resource
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

from heaptop.units import format_size

EVERY_S: Final = 0.005
ROWS_MAX: Final = 16
_WAITING: Final = frozenset({"threading", "selectors", "queue", "concurrent.futures.thread"})
_DEPTH_MAX: Final = 80
START: Final = "start: the interpreter and the command line"
LOADING: Final = "start: loading modules"
_OTHER: Final = "the rest"

_STEPS: Final = {
    "heaptop.scan.incremental": "scan: what has changed",
    "heaptop.scan.sharing": "scan: who shares what",
    "heaptop.scan.alike": "scan: who shares what",
    "heaptop.scan": "scan",
    "heaptop.backend": "capture: the other files",
    "heaptop.parse": "assembly: parsing",
    "heaptop.assemble": "assembly",
    "heaptop.analysis": "session: analysis",
    "heaptop.session": "session",
    "heaptop.recording": "recording",
    "heaptop.report": "output",
    "heaptop.tui.poller": "session",
    "heaptop.tui": "drawing",
    "heaptop.trace": "events",
    "heaptop.stacks": "call sites",
    "heaptop.symbols": "call sites",
    "heaptop.cli": "the command",
    "heaptop_emulator": "the emulator",
    "textual": "drawing",
    "rich": "drawing",
}
"""What modules do, by the longest beginning of their names."""

_PASSES: Final = {
    "_Looking": "scan: the pass over /proc",
    "Details": "scan: details of processes",
    "Infos": "scan: fdinfo of buffers",
}
"""What a thread of the scan's is at, by the work that it was given: compiled code has no frames."""


class SelfProfile:
    """Counts samples while it is on. For the main thread, where signals are handled."""

    def __init__(self) -> None:
        self._steps: Counter[str] = Counter()
        self._began_s = time.process_time()
        self._began_at = time.monotonic()

    @contextmanager
    def running(self) -> Iterator[None]:
        """Count until the end of the block, then tell on stderr."""
        before = signal.signal(signal.SIGPROF, self._sample)
        signal.setitimer(signal.ITIMER_PROF, EVERY_S, EVERY_S)
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
            signal.signal(signal.SIGPROF, before)
            sys.stderr.write(self.report())

    def _sample(self, _number: int, frame: FrameType | None) -> None:
        own = sys._getframe()  # noqa: SLF001
        for top in sys._current_frames().values():  # noqa: SLF001
            each = frame if top is own else top
            if each is not None and module_of(each) not in _WAITING:
                self._steps[step_of(each)] += 1

    def report(self) -> str:
        """CPU seconds in all, memory, and the time and share of each step, the largest first."""
        used = resource.getrusage(resource.RUSAGE_SELF)
        total_s = time.process_time()
        sampled_s = total_s - self._began_s
        wall_s = time.monotonic() - self._began_at
        samples = sum(self._steps.values())
        steps = [(count / samples * sampled_s, step) for step, count in self._steps.items()]
        steps.append((self._began_s, START))
        steps.sort(reverse=True)
        if len(steps) > ROWS_MAX:
            steps[ROWS_MAX - 1 :] = [(sum(seconds for seconds, _ in steps[ROWS_MAX - 1 :]), _OTHER)]
        share = f", {sampled_s / wall_s:.1%} of a core" if wall_s >= 1 else ""
        parts = f"{used.ru_utime:.2f} s its own, {used.ru_stime:.2f} s the kernel's"
        memory = f"{format_size(used.ru_maxrss * 1024)} of memory at most"
        lines = [f"heaptop: {total_s:.2f} s of CPU time in {wall_s:.1f} s{share}: {parts}; {memory}"]
        lines += [f"{seconds * 1000:8.0f} ms {seconds / total_s:6.1%}  {step}" for seconds, step in steps]
        return "\n".join(lines) + "\n"


def module_of(frame: FrameType) -> str:
    """The module that a frame is in."""
    return str(frame.f_globals.get("__name__", ""))


def step_of(frame: FrameType) -> str:
    """What is at work: by the innermost module on the stack of which that is known."""
    at: FrameType | None = frame
    for _ in range(_DEPTH_MAX):
        if at is None:
            break
        name = module_of(at)
        if name.startswith("importlib") or name == "_frozen_importlib":
            return LOADING
        if name == "heaptop.scan.chunks" and (work := _PASSES.get(type(at.f_locals.get("work")).__name__)):
            return work
        while name:
            if name in _STEPS:
                return _STEPS[name]
            name = name.rpartition(".")[0]
        at = at.f_back
    return _OTHER
