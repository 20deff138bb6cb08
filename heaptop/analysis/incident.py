"""When what is recorded is worth a capture of its own: a threshold is passed, an allocation failed, somebody asked."""

from collections import deque
from enum import StrEnum
from typing import Final, NamedTuple

from heaptop.model import Snapshot
from heaptop.units import format_delta, format_size

WINDOW_S: Final = 60.0
"""Growth is measured over this time."""
WINDOW_S_MIN: Final = 10.0
"""Over less than this nothing is said of growth: one large buffer is no trend."""
REARM_SHARE: Final = 0.95
"""A threshold that was passed is armed again once the value is below this part of it."""
PAUSE_S: Final = 60.0
"""After an incident nothing of its kind makes another for so long."""


class Kind(StrEnum):
    """Why a capture is written."""

    BYTES = "bytes"
    GROWTH = "growth"
    FAILURE = "failure"
    ASKED = "asked"


class Thresholds(NamedTuple):
    """What makes an incident. None: never."""

    size_bytes: int | None = None
    growth_bytes_per_min: float | None = None
    on_failure: bool = False


class Incident(NamedTuple):
    """What happened, in words, and how many of the same kind were passed over since the last one."""

    kind: Kind
    why: str
    passed_over: int = 0


class IncidentWatch:
    """Looks at snapshots one after the other. `now_s` is of a clock that only rises."""

    def __init__(self, thresholds: Thresholds) -> None:
        self._thresholds = thresholds
        self._sizes: deque[tuple[float, int]] = deque()
        self._armed = {Kind.BYTES: True, Kind.GROWTH: True}
        self._last_s: dict[Kind, float] = {}
        self._passed_over: dict[Kind, int] = {}
        self._failures: int | None = None

    def look(self, snapshot: Snapshot, now_s: float) -> tuple[Incident, ...]:
        """The incidents that this snapshot is."""
        found = (self._bytes(snapshot.size_bytes), self._growth(snapshot.size_bytes, now_s), self._failed(snapshot))
        told = (self._tell(kind, why, now_s) for kind, why in filter(None, found))
        return tuple(incident for incident in told if incident is not None)

    def failure(self, why: str, now_s: float) -> Incident | None:
        """An allocation failed, as an event told."""
        return self._tell(Kind.FAILURE, why, now_s) if self._thresholds.on_failure else None

    def _tell(self, kind: Kind, why: str, now_s: float) -> Incident | None:
        last_s = self._last_s.get(kind)
        if last_s is not None and now_s < last_s + PAUSE_S:
            self._passed_over[kind] = self._passed_over.get(kind, 0) + 1
            return None
        self._last_s[kind] = now_s
        return Incident(kind, why, self._passed_over.pop(kind, 0))

    def _passes(self, kind: Kind, value: float, limit: float) -> bool:
        """Whether the value has just gone above the limit."""
        if value > limit:
            passes, self._armed[kind] = self._armed[kind], False
            return passes
        if value < limit * REARM_SHARE or limit <= 0:
            self._armed[kind] = True
        return False

    def _bytes(self, size_bytes: int) -> tuple[Kind, str] | None:
        limit = self._thresholds.size_bytes
        if limit is None or not self._passes(Kind.BYTES, size_bytes, limit):
            return None
        return Kind.BYTES, f"{format_size(size_bytes)} in buffers, above {format_size(limit)}"

    def _growth(self, size_bytes: int, now_s: float) -> tuple[Kind, str] | None:
        limit = self._thresholds.growth_bytes_per_min
        if limit is None:
            return None
        self._sizes.append((now_s, size_bytes))
        while len(self._sizes) > 2 and self._sizes[1][0] <= now_s - WINDOW_S:
            self._sizes.popleft()
        then_s, then_bytes = self._sizes[0]
        if now_s - then_s < WINDOW_S_MIN:
            return None
        per_min = (size_bytes - then_bytes) / (now_s - then_s) * 60
        if not self._passes(Kind.GROWTH, per_min, limit):
            return None
        return Kind.GROWTH, f"{format_delta(per_min)}/min, above {format_size(limit)}/min"

    def _failed(self, snapshot: Snapshot) -> tuple[Kind, str] | None:
        """CMA's own counters tell of failures, also of those by others than heaps."""
        if not self._thresholds.on_failure:
            return None
        counts = [area.alloc_pages_fail for area in snapshot.cma if area.alloc_pages_fail is not None]
        failures = sum(counts) if counts else snapshot.memory.cma_alloc_fail
        before, self._failures = self._failures, failures
        if failures is None or before is None or failures <= before:
            return None
        return Kind.FAILURE, "CMA allocations have failed"
