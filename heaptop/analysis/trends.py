"""Sizes over the last looks, by name. What does not change costs nothing."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Final, Generic, TypeVar

from heaptop.changes import Kept

TREND_POINTS: Final = 60
"""How many looks a trend goes back."""

Name = TypeVar("Name")
_Runs = tuple[tuple[int, int], ...]
"""Sizes by the number of the look from which on they held. The first is that with which the trend begins."""


class Trends(Generic[Name]):
    """The last `TREND_POINTS` sizes of each name. One that is absent has 0, and is forgotten once all are."""

    def __init__(self) -> None:
        self._look = 0
        self._runs: Kept[Name, _Runs] = Kept()
        self._absent: dict[Name, int] = {}

    def follow(self, changed: Iterable[tuple[Name, int | None]]) -> list[Name]:
        """One more look, and the sizes that are other than before it; None: absent. Returns whom it forgot."""
        self._look += 1
        for name, size in changed:
            runs = self._noted(name, size or 0)
            self._absent.pop(name, None)
            if size is None:
                # Then all points are 0: the last run has become as long as a trend can be, or is the only one.
                self._absent[name] = runs[-1][0] + TREND_POINTS - 1 if len(runs) > 1 else self._look
        forgotten = [name for name, due in self._absent.items() if due <= self._look]
        for name in forgotten:
            del self._absent[name]
            self._runs.put(name, None)
        return forgotten

    def _noted(self, name: Name, size: int) -> _Runs:
        runs = self._runs.get(name) or ()
        if not runs or runs[-1][1] != size:
            runs = (*runs, (self._look, size))
            start = self._look - TREND_POINTS + 1
            while len(runs) > 1 and runs[1][0] <= start:
                runs = runs[1:]
            self._runs.put(name, runs)
        return runs

    def __contains__(self, name: Name) -> bool:
        return self._runs.get(name) is not None

    def all(self) -> Mapping[Name, tuple[int, ...]]:
        """All trends as they are now, oldest first."""
        return _Shown(self._runs.all(), self._look)


class _Shown(Mapping[Name, tuple[int, ...]]):
    """Trends as they were at one look; each is made when it is asked for."""

    def __init__(self, runs: Mapping[Name, _Runs], look: int) -> None:
        self._runs = runs
        self._look = look

    def __getitem__(self, name: Name) -> tuple[int, ...]:
        runs = self._runs[name]
        first = max(runs[0][0], self._look - TREND_POINTS + 1)
        points: list[int] = []
        for (start, size), (end, _) in zip(runs, (*runs[1:], (self._look + 1, 0)), strict=True):
            points += [size] * (end - max(start, first))
        return tuple(points)

    def __iter__(self) -> Iterator[Name]:
        return iter(self._runs)

    def __len__(self) -> int:
        return len(self._runs)

    def __repr__(self) -> str:
        return repr(dict(self))


def differences(before: Mapping[Name, int], now: Mapping[Name, int]) -> list[tuple[Name, int | None]]:
    """What `Trends.follow` is told, for a few names of which all sizes are known."""
    return [(name, now.get(name)) for name in {**before, **now} if before.get(name) != now.get(name)]
