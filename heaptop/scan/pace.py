"""Reading files that hold locks of the whole system: apart, with a time-out, and seldom enough."""

import errno
import time
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from heaptop.capture import Raw, ReadError, Reading
from heaptop.scan.patience import TIMEOUT_S, Patience

SHARE: Final = 0.02
"""How much of the time reading one file may take."""
CHEAP_S: Final = 0.05
"""A reading that takes no longer is made whenever it is asked for."""


class _Kept(NamedTuple):
    raw: Raw | None
    began: float
    cost_s: float

    def is_due(self, now: float) -> bool:
        return self.cost_s <= CHEAP_S or now - self.began >= self.cost_s / SHARE


class Paced:
    """Reads slow files when they are asked for; one that took long rests for fifty times as long, and meanwhile its
    last text stands. Calls must not overlap.
    """

    def __init__(
        self,
        read: Callable[[str], Raw | None],
        timeout_s: float = TIMEOUT_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """A file is given up as `Patience` does."""
        self._read = read
        self._clock = clock
        self._patience = Patience(self._timed, timeout_s)
        self._kept: dict[str, _Kept] = {}

    def each(self, paths: Sequence[str]) -> tuple[dict[str, Raw], dict[str, Reading]]:
        """Texts by path (a file that hangs has ETIMEDOUT), and when those were read that are of an earlier call."""
        now = self._clock()
        before = self._kept
        found, hanging = self._patience.each([path for path in paths if path not in before or before[path].is_due(now)])
        self._kept = {path: kept for path in paths if (kept := found.get(path) or before.get(path)) is not None}
        for path in hanging:
            self._kept.pop(path, None)
        texts = {path: kept.raw for path, kept in self._kept.items() if kept.raw is not None}
        older = {
            path: Reading(now - kept.began, kept.cost_s)
            for path, kept in self._kept.items()
            if path not in found and kept.raw is not None
        }
        return texts | dict.fromkeys(hanging, ReadError("read", errno.ETIMEDOUT)), older

    def _timed(self, path: str) -> _Kept:
        began = self._clock()
        raw = self._read(path)
        return _Kept(raw, began, self._clock() - began)
