"""Where a recording is played: the moment, whether time goes on, and how fast. No Textual here."""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from heaptop.analysis.moment import find_moment
from heaptop.backend.base import Recorded

SPEEDS: Final = (0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0, 1000.0)
IDLE_S_MAX: Final = 5.0
"""A longer time without a moment is passed over while playing, at any speed."""


@dataclass(frozen=True, slots=True)
class Stop:
    """A moment worth a jump: a mark that was set there, or a break before it."""

    moment: int
    text: str
    is_break: bool = False


class Playback:
    """A position in a recording. `index` is the moment that is to be shown."""

    def __init__(self, recording: Recorded, clock: Callable[[], float], index: int | None = None) -> None:
        """`clock` only rises, in seconds. `index` is where to begin: not where the recording stands, which the poller
        may be moving already.
        """
        self.at: Sequence[float] = recording.moments()
        self.index = recording.index if index is None else index
        self.speed = 1.0
        told = recording.told()
        self.sizes: tuple[int | None, ...] = tuple(moment.size_bytes for moment in told)
        self._changes = tuple(moment.changes for moment in told)
        breaks = [Stop(one.moment, one.why, is_break=True) for one in recording.breaks()]
        marks = [Stop(index, moment.mark) for index, moment in enumerate(told) if moment.mark]
        self.stops: tuple[Stop, ...] = tuple(sorted([*breaks, *marks], key=lambda stop: stop.moment))
        self._breaks = frozenset(one.moment for one in breaks)
        self._clock = clock
        self._since: tuple[float, float] | None = None

    @property
    def is_playing(self) -> bool:
        """Whether time goes on."""
        return self._since is not None

    def toggle(self) -> None:
        """Play on or stand; from the last moment on, from the first one."""
        if self._since is not None:
            self._since = None
            return
        if self.index == len(self.at) - 1:
            self.index = 0
        self._play_from_here()

    def tick(self) -> bool:
        """Go to the moment that has come; whether that is another one. At the end it stands."""
        if self._since is None:
            return False
        began, position = self._since
        position += (self._clock() - began) * self.speed
        index = max(self.index, bisect_right(self.at, position) - 1)
        is_another = index != self.index
        following = self.index + 1
        if not is_another and following < len(self.at) and self._is_passed_over(following):
            index, is_another = following, True
        self.index = index
        if index == len(self.at) - 1:
            self._since = None
        elif is_another and self.at[index] > position:
            self._play_from_here()
        return is_another

    def go(self, index: int) -> None:
        """Stand or play on at this moment, or the nearest there is."""
        self.index = max(0, min(len(self.at) - 1, index))
        if self.is_playing:
            self._play_from_here()

    def go_to(self, text: str) -> None:
        """The moment that these words mean.

        Raises:
            UsageError: none.
        """
        marks = [(stop.moment, stop.text) for stop in self.stops if not stop.is_break]
        self.go(find_moment(text, self.at, self.index, marks))

    def go_to_share(self, share: float) -> None:
        """The moment at this part of the time from first to last (0 to 1)."""
        self.go(bisect_right(self.at, self.at[0] + share * (self.at[-1] - self.at[0])) - 1)

    def change_speed(self, steps: int) -> None:
        """So many steps faster, or slower."""
        place = bisect_left(SPEEDS, self.speed) + steps
        self.speed = SPEEDS[max(0, min(len(SPEEDS) - 1, place))]
        if self.is_playing:
            self._play_from_here()

    def next_change(self, step: int) -> int | None:
        """The next moment (+1) or the last one before (-1) at which a buffer came, went or changed; None: no other.

        Where the recorder did not tell, any moment may be one.
        """
        index = self.index + step
        while 0 <= index < len(self.at):
            changes = self._changes[index] if index < len(self._changes) else None
            if changes is None or changes > 0 or index in self._breaks:
                return index
            index += step
        return None

    def next_stop(self, step: int) -> Stop | None:
        """The next mark or break (+1), or the last one before (-1)."""
        later = [stop for stop in self.stops if (stop.moment - self.index) * step > 0]
        return min(later, key=lambda stop: abs(stop.moment - self.index)) if later else None

    def stop_here(self) -> Stop | None:
        """The mark or break at the moment that is shown; a mark goes first."""
        here = [stop for stop in self.stops if stop.moment == self.index]
        return min(here, key=lambda stop: stop.is_break) if here else None

    def add_mark(self, label: str) -> None:
        """A mark that the user has set at the moment that is shown."""
        self.stops = tuple(sorted([*self.stops, Stop(self.index, label)], key=lambda stop: stop.moment))

    def _is_passed_over(self, following: int) -> bool:
        return following in self._breaks or self.at[following] - self.at[self.index] > IDLE_S_MAX * max(1.0, self.speed)

    def _play_from_here(self) -> None:
        self._since = self._clock(), self.at[self.index]
