"""A short history as one row of characters."""

from collections.abc import Sequence

LEVELS = "▁▂▃▄▅▆▇█"
SPAN_SHARE_MIN = 1 / 16
"""The full height stands for at least this share of the largest value, so that jitter does not look like a cliff."""


def sparkline(values: Sequence[float], width: int) -> str:
    """The last `width` values, oldest left, newest at the right edge; a shorter history leaves the left blank.

    The height runs from the smallest to the largest value shown. A flat history is a line in the middle, nothing but
    zeros a line at the bottom.

    >>> sparkline([0, 1, 2, 3], 6), sparkline([5, 5, 5], 3), sparkline([0, 0], 2)
    ('  ▁▃▆█', '▅▅▅', '▁▁')
    """
    shown = values[-width:] if width > 0 else ()
    if not shown:
        return " " * max(0, width)
    low, high = min(shown), max(shown)
    span = max(high - low, abs(high) * SPAN_SHARE_MIN)
    if span == 0:
        return (LEVELS[0] * len(shown)).rjust(width)
    base = (low + high - span) / 2
    top = len(LEVELS) - 1
    return "".join(LEVELS[_level((value - base) / span, top)] for value in shown).rjust(width)


def _level(share: float, top: int) -> int:
    return min(top, max(0, int(share * top + 0.5)))
