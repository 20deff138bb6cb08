"""Moments in words: `-3m`, `14:02:11`, `3 minutes ago`, and which capture of a recording is meant."""

import re
from bisect import bisect_right
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import Final

from heaptop.errors import UsageError
from heaptop.pattern import pattern
from heaptop.units import printable

EXAMPLES: Final = "-3m, +10s, 14:02, 14:02:11, 3 minutes ago, 50%, first, last"

_UNIT_S: Final = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86_400}
_UNIT: Final = r"(ms|s|secs?|seconds?|m|mins?|minutes?|h|hours?|d|days?|)"
_AMOUNT: Final = rf"([0-9]{{1,9}}(?:\.[0-9]{{1,6}})?)\s*{_UNIT}"
_FROM_HERE: Final = pattern(rf"([+-])\s*{_AMOUNT}")
_AGO: Final = pattern(rf"{_AMOUNT}\s+ago")
_CLOCK: Final = pattern(r"([0-9]{1,2}):([0-9]{2})(?::([0-9]{2}(?:\.[0-9]{1,6})?))?")
_SHARE: Final = pattern(r"([0-9]{1,3}(?:\.[0-9]{1,3})?)\s*%")
_NAMED: Final = {"first": 0, "start": 0, "begin": 0, "last": -1, "end": -1, "now": -1}


def find_moment(text: str, at: Sequence[float], here: int, marks: Sequence[tuple[int, str]] = ()) -> int:
    """The index that `text` means among the moments `at` (seconds since the epoch, rising, at least one).

    Signed durations count from `here`, `ago` from the last moment, clock times are local. A time between two moments
    means the earlier one; before the first moment, that. The label of one of `marks` (index, label) means its moment.

    Raises:
        UsageError: it is no moment, or none of this recording.
    """
    words = text.strip()
    word = words.lower()
    if word in _NAMED:
        return _NAMED[word] % len(at)
    for index, label in marks:
        if words == label:
            return index
    if match := _SHARE.fullmatch(word):
        return _before(at, at[0] + (at[-1] - at[0]) * min(100.0, float(match[1])) / 100)
    if match := _FROM_HERE.fullmatch(word):
        seconds = _seconds(match[2], match[3])
        return _step(at, here, seconds if match[1] == "+" else -seconds)
    if match := _AGO.fullmatch(word):
        return _before(at, at[-1] - _seconds(match[1], match[2]))
    if match := _CLOCK.fullmatch(word):
        return _by_clock(words, match, at, here)
    try:
        when = datetime.fromisoformat(words).timestamp()
    except (ValueError, OverflowError, OSError) as error:
        raise UsageError(f"{printable(text)!r} is no moment", "", f"write one like {EXAMPLES}") from error
    return _within(words, when, at)


def _seconds(number: str, unit: str) -> float:
    short = "ms" if unit == "ms" else unit[:1] or "s"
    return float(number) * _UNIT_S[short]


def _before(at: Sequence[float], when: float) -> int:
    """The last moment that is not after this; a hair of rounding is none."""
    return max(0, bisect_right(at, when + 1e-6) - 1)


def _step(at: Sequence[float], here: int, seconds: float) -> int:
    """So far from here, and at least one moment, as whoever types it wants to see another one."""
    index = _before(at, at[here] + seconds)
    if index == here and seconds:
        index += 1 if seconds > 0 else -1
    return max(0, min(len(at) - 1, index))


def _by_clock(text: str, match: re.Match[str], at: Sequence[float], here: int) -> int:
    """That time of the day on which it is nearest to here, among the days of the recording."""
    hours, minutes, seconds = int(match[1]), int(match[2]), float(match[3] or 0)
    if hours > 23 or minutes > 59 or seconds >= 60:
        raise UsageError(f"{printable(text)!r} is no time of a day", "", "write one like 14:02 or 14:02:11")
    try:
        first, last = (datetime.fromtimestamp(time).date() for time in (at[0], at[-1]))
        today = datetime.fromtimestamp(at[here]).date()
        days = [today + timedelta(days=days) for days in (-1, 0, 1)] + [first, last]
        times = [_at(day, hours, minutes, seconds) for day in days]
    except (ValueError, OverflowError, OSError) as error:
        raise UsageError(f"{printable(text)!r} cannot be found", "the recording's times are out of range") from error
    inside = [time for time in times if at[0] - 60 < time <= at[-1] + 60]
    if not inside:
        return _within(text, _at(today, hours, minutes, seconds), at)
    return _before(at, min(inside, key=lambda time: abs(time - at[here])))


def _at(day: date, hours: int, minutes: int, seconds: float) -> float:
    whole = int(seconds)
    moment = datetime(day.year, day.month, day.day, hours, minutes, whole)
    return moment.timestamp() + seconds - whole


def _within(text: str, when: float, at: Sequence[float]) -> int:
    if not at[0] - 60 < when <= at[-1] + 60:
        first, last = (f"{datetime.fromtimestamp(time):%Y-%m-%d %H:%M:%S}" for time in (at[0], at[-1]))
        raise UsageError(f"{printable(text)!r} is not in the recording", f"it goes from {first} to {last}")
    return _before(at, when)
