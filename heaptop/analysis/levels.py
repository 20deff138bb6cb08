"""How many buffers a class had over time: exact while it is short, then coarser, always bounded."""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

ENTRIES_MAX: Final = 240
CELLS: Final = 120
"""When there are more entries than that, time is cut into so many cells, and each keeps its lowest."""


class Levels(NamedTuple):
    """Numbers by the time from which on they held. A cell of time keeps its lowest: of what comes and goes the floor is
    left, which only what stays can raise.
    """

    times: tuple[float, ...]
    numbers: tuple[int, ...]

    def noted(self, at: float, number: int) -> "Levels":
        """The same, and from `at` on (not before the last) there are so many."""
        if at <= self.since:
            return Levels(self.times, (*self.numbers[:-1], number))
        if number == self.newest:
            return self
        longer = Levels((*self.times, at), (*self.numbers, number))
        return longer._thinned() if len(longer.times) > ENTRIES_MAX else longer

    def _thinned(self) -> "Levels":
        start, length = self.times[0], self.since - self.times[0]
        times: list[float] = []
        numbers: list[int] = []
        last_cell = -1
        for at, number in zip(self.times[:-1], self.numbers[:-1], strict=True):
            cell = int((at - start) / length * CELLS)
            if cell == last_cell:
                numbers[-1] = min(numbers[-1], number)
            else:
                times.append(at)
                numbers.append(number)
                last_cell = cell
        return Levels((*times, self.since), (*numbers, self.newest))

    @property
    def newest(self) -> int:
        """How many there are."""
        return self.numbers[-1]

    @property
    def since(self) -> float:
        """Since when."""
        return self.times[-1]

    def at(self, time: float) -> int:
        """How many there were then; 0 before the first."""
        index = bisect_right(self.times, time) - 1
        return self.numbers[index] if index >= 0 else 0

    def floors(self, start: float, end: float, cells: int) -> list[int]:
        """The lowest in each of `cells` equal parts of the time from start to end."""
        if start >= self.since:
            return [self.newest] * cells
        width = (end - start) / cells
        result = []
        for number in range(cells):
            begin = start + number * width
            first = bisect_right(self.times, begin)
            last = bisect_right(self.times, begin + width)
            result.append(min([self.at(begin), *self.numbers[first:last]]))
        return result


def summed(levels: Iterable[Levels], start: float, end: float, cells: int) -> Sequence[int]:
    """The floors of several, added up."""
    rows = [one.floors(start, end, cells) for one in levels]
    return [sum(column) for column in zip(*rows, strict=True)] if rows else [0] * cells
