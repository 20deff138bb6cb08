"""The growth of all classes over a session's looks: fed with each, judged as often as that costs little."""

from collections.abc import Callable
from typing import Final

from heaptop.analysis.diff import Delta
from heaptop.analysis.growth import Clockwork, Tracker
from heaptop.analysis.suspects import NO_GROWTH, Growth, Judge
from heaptop.model import Buffer, Snapshot

JUDGED_SHARE: Final = 50
"""Growth is judged anew after so many times as long as that took: with many classes not at every look."""


class GrowthWatch:
    """The growth of one boot's classes. `now` costs what there are; `lately` is it at times that cost little."""

    def __init__(self, timer: Callable[[], float], *, is_timeline: bool) -> None:
        """`timer` only rises. In a time line moments are over: only they tell the time."""
        self._timer = timer
        self._is_timeline = is_timeline
        self._clockwork = Clockwork()
        self._first: tuple[tuple[Buffer, ...], float] | None = None
        self._tracker: Tracker | None = None
        self._judge: Judge | None = None
        self._judged = NO_GROWTH
        self._due_s = 0.0

    def begin(self, snapshot: Snapshot, now: float) -> None:
        """The first look at this boot: nothing grows yet, so no class is made before there is a second one."""
        self._clockwork = Clockwork()
        self._first = snapshot.buffers, self._clockwork.tick(now, self._passed_s())
        self._tracker = self._judge = None
        self._judged = NO_GROWTH
        self._due_s = 0.0

    def follow(self, snapshot: Snapshot, delta: Delta, now: float) -> None:
        """Every later look. In a time line that goes back it is a first one; the same moment again is none."""
        tracker = self._tracked()
        if tracker is None or (self._is_timeline and now < self._clockwork.told):
            self.begin(snapshot, now)
        elif not (self._is_timeline and now == self._clockwork.told):
            tracker.follow(delta, self._clockwork.tick(now, self._passed_s()))

    def _tracked(self) -> Tracker | None:
        if self._first is not None:
            self._tracker = Tracker(*self._first)
            self._judge = Judge(self._tracker)
            self._first = None
        return self._tracker

    def _passed_s(self) -> float | None:
        """What else can tell the time; in a recording nothing can."""
        return None if self._is_timeline else self._timer()

    def lately(self) -> Growth:
        """The newest judgement, made anew where the last one was long enough ago; of a moment that is over always."""
        if self._is_timeline or (self._tracker is not None and self._timer() >= self._due_s):
            self.now()
        return self._judged

    def now(self) -> Growth:
        """The judgement as of the newest look."""
        began = self._timer()
        self._tracked()
        self._judged = NO_GROWTH if self._judge is None else self._judge.growth()
        self._due_s = began + (self._timer() - began) * JUDGED_SHARE
        return self._judged
