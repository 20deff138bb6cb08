"""How many call stacks may be taken: all of a program that allocates at a usual pace, some of one that storms. Pure."""

from typing import Final

PER_S: Final = 500.0
"""Lasting pace. A stack costs the program 50 to 100 us, so this is at most a twentieth of its time."""
AT_ONCE: Final = 4000.0
"""As many may be taken in a row, after which they come back at the lasting pace."""


class Allowance:
    """A bucket that fills with time. `refused` counts what found it empty."""

    def __init__(self) -> None:
        self._left = AT_ONCE
        self._at: float | None = None
        self.refused = 0

    def take(self, now_s: float) -> bool:
        """Whether one more may be taken at this moment of a clock that never goes back."""
        passed_s = 0.0 if self._at is None else now_s - self._at
        self._at = now_s
        self._left = min(AT_ONCE, self._left + passed_s * PER_S)
        if self._left < 1:
            self.refused += 1
            return False
        self._left -= 1
        return True
