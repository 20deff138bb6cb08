"""Where heaptop's own time goes: `--profile-self`.

The kernel signals each few milliseconds of CPU time that the program takes (ITIMER_PROF); what every thread that does
not wait is doing then is counted, by part of heaptop. Nothing is slowed down: the shares are those of an ordinary run.
"""

import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

EVERY_S: Final = 0.005
_WAITING: Final = frozenset({"threading", "selectors", "queue", "concurrent.futures.thread"})
_DEPTH_MAX: Final = 60


class SelfProfile:
    """Counts samples while it is on. For the main thread, where signals are handled."""

    def __init__(self) -> None:
        self._parts: Counter[str] = Counter()
        self._began = time.process_time()

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
                self._parts[part_of(each)] += 1

    def report(self) -> str:
        """CPU seconds in all, and the share of each part, the largest first."""
        total = sum(self._parts.values())
        lines = [f"heaptop: {time.process_time() - self._began:.2f} s of CPU time since the command line was read"]
        lines += [f"  {count / total:6.1%}  {part}" for part, count in self._parts.most_common() if count]
        return "\n".join(lines) + "\n"


def module_of(frame: FrameType) -> str:
    """The module that a frame is in."""
    return str(frame.f_globals.get("__name__", ""))


def part_of(frame: FrameType) -> str:
    """The part of heaptop that is at work: the innermost one on the stack, with what it calls beside it."""
    innermost = module_of(frame).partition(".")[0] or "?"
    at: FrameType | None = frame
    for _ in range(_DEPTH_MAX):
        if at is None:
            break
        name = module_of(at)
        if name.startswith("heaptop"):
            part = ".".join(name.split(".")[:2])
            return part if innermost.startswith("heaptop") else f"{part}, in {innermost}"
        at = at.f_back
    return innermost
