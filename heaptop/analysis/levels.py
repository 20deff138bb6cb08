"""How many buffers a class had over time: exact while it is short, then coarser, always bounded."""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from typing import Final

ENTRIES_MAX: Final = 240
CELLS: Final = 120
"""When there are more entries than that, time is cut into so many cells, and each keeps its lowest."""


class Levels:
    """Numbers by the time from which on they held. A cell of time keeps its lowest: of what comes and goes the floor is
    left, which only what stays can raise.
    """

    __slots__ = ("_counts", "_times")

    def __init__(self, at: float, count: int) -> None:
        self._times = [at]
        self._counts = [count]

    def note(self, at: float, count: int) -> None:
        """From `at` on (not before the last) there are `count`."""
        if at <= self._times[-1]:
            self._counts[-1] = count
            return
        if count == self._counts[-1]:
            return
        self._times.append(at)
        self._counts.append(count)
        if len(self._times) > ENTRIES_MAX:
            self._thin()

    def _thin(self) -> None:
        start, length = self._times[0], self._times[-1] - self._times[0]
        times: list[float] = []
        counts: list[int] = []
        last_cell = -1
        for at, count in zip(self._times[:-1], self._counts[:-1], strict=True):
            cell = int((at - start) / length * CELLS)
            if cell == last_cell:
                counts[-1] = min(counts[-1], count)
            else:
                times.append(at)
                counts.append(count)
                last_cell = cell
        self._times = [*times, self._times[-1]]
        self._counts = [*counts, self._counts[-1]]

    @property
    def count(self) -> int:
        """The newest."""
        return self._counts[-1]

    @property
    def since(self) -> float:
        """Since when the newest holds."""
        return self._times[-1]

    def at(self, time: float) -> int:
        """How many there were then; 0 before the first."""
        index = bisect_right(self._times, time) - 1
        return self._counts[index] if index >= 0 else 0

    def floors(self, start: float, end: float, cells: int) -> list[int]:
        """The lowest in each of `cells` equal parts of the time from start to end."""
        width = (end - start) / cells
        result = []
        for number in range(cells):
            begin = start + number * width
            first = bisect_right(self._times, begin)
            last = bisect_right(self._times, begin + width)
            result.append(min([self.at(begin), *self._counts[first:last]]))
        return result


def summed(levels: Iterable[Levels], start: float, end: float, cells: int) -> Sequence[int]:
    """The floors of several, added up."""
    rows = [one.floors(start, end, cells) for one in levels]
    return [sum(column) for column in zip(*rows, strict=True)] if rows else [0] * cells
