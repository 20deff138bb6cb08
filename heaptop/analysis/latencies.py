"""Many times of one thing, in a few figures."""

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Distribution:
    """Times in seconds: percentiles (each a time that was measured), the longest, and how many fit into a second."""

    count: int
    p50_s: float
    p90_s: float
    p99_s: float
    max_s: float
    per_second: float | None


def distribution(times_s: Sequence[float]) -> Distribution | None:
    """Of these times; None of none. `per_second` is by their mean, None where the clock saw no time pass."""
    if not times_s:
        return None
    ordered = sorted(times_s)
    total_s = math.fsum(ordered)
    return Distribution(
        count=len(ordered),
        p50_s=_percentile(ordered, 50),
        p90_s=_percentile(ordered, 90),
        p99_s=_percentile(ordered, 99),
        max_s=ordered[-1],
        per_second=len(ordered) / total_s if total_s > 0 else None,
    )


def _percentile(ordered: Sequence[float], percent: int) -> float:
    """The smallest time that so many of a hundred do not exceed (nearest rank)."""
    return ordered[max(0, -(-percent * len(ordered) // 100) - 1)]
