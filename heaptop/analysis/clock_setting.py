"""Whether a clock was set, as against the time that passed while the machine slept."""

from collections.abc import Callable
from typing import Final

SET_S: Final = 30.0
"""By less than this a clock and the time since boot part between two looks without being set: a capture takes time."""


class ClockSetting:
    """Asked once at each look."""

    def __init__(self, uptime: Callable[[], float]) -> None:
        """`uptime` tells the seconds since boot, time asleep included."""
        self._uptime = uptime
        self._booted_at: float | None = None

    def since_last(self, told: float) -> float:
        """By how many seconds the clock, which tells `told`, was set since this was asked last; 0 where it was not."""
        before, self._booted_at = self._booted_at, told - self._uptime()
        step_s = 0.0 if before is None else self._booted_at - before
        if abs(step_s) < SET_S:
            return 0.0
        return step_s
