"""Robust statistics of few numbers: what a single odd value cannot upset. Everything is bounded."""

from collections.abc import Iterable, Sequence
from itertools import combinations, pairwise
from typing import Final

POINTS_MAX: Final = 48
"""So many points at most are compared with each other."""
MAD_TO_DEVIATION: Final = 1.4826
"""A median absolute deviation of normal noise times this is its standard deviation."""

Point = tuple[float, float]


def median(values: Iterable[float]) -> float:
    """The middle one, or half way between the middle two; there is at least one. The library's module of statistics
    loads fractions and decimals, which takes longer than all of heaptop's analysis.
    """
    ordered = sorted(values)
    half = len(ordered) // 2
    return ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2


def slope(points: Sequence[Point]) -> float:
    """Theil and Sen's: the median of the slopes between all pairs; 0 for less than two different x."""
    few = thinned(points)
    slopes = [(y2 - y1) / (x2 - x1) for (x1, y1), (x2, y2) in combinations(few, 2) if x2 > x1]
    return median(slopes) if slopes else 0.0


def spread(points: Sequence[Point], per_x: float) -> float:
    """How far points lie from the line of this slope that runs through their middle: as a standard deviation."""
    if not points:
        return 0.0
    rests = [y - per_x * x for x, y in points]
    middle = median(rests)
    return MAD_TO_DEVIATION * median(abs(rest - middle) for rest in rests)


def thinned(points: Sequence[Point]) -> Sequence[Point]:
    """At most `POINTS_MAX` of them, evenly chosen, the first and the last among them."""
    if len(points) <= POINTS_MAX:
        return points
    last = len(points) - 1
    return [points[index * last // (POINTS_MAX - 1)] for index in range(POINTS_MAX)]


def quantile(values: Sequence[float], share: float) -> float:
    """The value that `share` of them do not exceed; the largest where they are too few to tell."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def unevenness(times: Sequence[float], start: float, end: float) -> float:
    """How far rising times are from being spread evenly between start and end, 0 to 1 (Kolmogorov and Smirnov's D).

    What as many times must miss anyway is taken off.
    """
    if end <= start or not times:
        return 1.0
    count, length = len(times), end - start
    shares = [min(1.0, max(0.0, (time - start) / length)) for time in times]
    apart = max(max((index + 1) / count - share, share - index / count) for index, share in enumerate(shares))
    return max(0.0, apart - 1 / count)


def gaps(times: Sequence[float]) -> list[float]:
    """The distances between rising times."""
    return [later - earlier for earlier, later in pairwise(times)]
