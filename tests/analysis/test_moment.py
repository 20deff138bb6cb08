"""Moments in words."""

import contextlib
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heaptop.analysis.moment import find_moment
from heaptop.errors import UsageError

NOON = time.mktime((2026, 3, 4, 12, 0, 0, 0, 0, -1))
AT = [NOON + second for second in range(600)]


@pytest.mark.parametrize(
    ("text", "index"),
    [
        ("-3m", 120),
        ("+10s", 310),
        ("- 1.5 min", 210),
        ("+10", 310),
        ("-1h", 0),
        ("+1d", 599),
        ("+100ms", 301),
        ("-0.1", 299),
        ("3 minutes ago", 419),
        ("90 s ago", 509),
        ("1h ago", 0),
        ("2 Hours Ago", 0),
        ("0s ago", 599),
        ("12:02", 120),
        ("12:02:11", 131),
        ("12:02:11.7", 131),
        ("11:59:30", 0),
        ("12:10:30", 599),
        ("2026-03-04 12:05", 300),
        ("2026-03-04T12:05:01.5", 301),
        ("50%", 299),
        ("100 %", 599),
        ("0%", 0),
        ("first", 0),
        ("LAST", 599),
        ("mark 1", 77),
        (" mark 1 ", 77),
    ],
)
def test_what_is_meant(text: str, index: int) -> None:
    assert find_moment(text, AT, 300, [(77, "mark 1"), (78, "first")]) == index


def test_a_time_between_two_moments_is_the_earlier() -> None:
    assert find_moment("12:00:05", [NOON, NOON + 4, NOON + 8], 0) == 1
    assert find_moment("+1s", [NOON, NOON + 4, NOON + 8], 0) == 1
    assert find_moment("-1s", [NOON, NOON + 4, NOON + 8], 2) == 1


def test_a_clock_time_is_of_the_nearest_day() -> None:
    day = 86_400
    at = [NOON + hours * 3600 for hours in range(-48, 49)]
    assert at[find_moment("13:00", at, 48)] == NOON + 3600
    assert at[find_moment("13:00", at, 24)] == NOON - day + 3600
    assert at[find_moment("23:00", at, 48)] == NOON + 11 * 3600
    assert at[find_moment("01:00", at, 48)] == NOON - 11 * 3600
    assert at[find_moment("11:00", at, 96)] == NOON + 2 * day - 3600


@pytest.mark.parametrize(
    "text", ["", "x", "-", "25:00", "12:60", "3 minutes", "12:00:00:00", "-3 fortnights", "%", "٣m"]
)
def test_what_is_no_moment(text: str) -> None:
    with pytest.raises(UsageError, match=r"is no moment; write one like -3m|is no time of a day"):
        find_moment(text, AT, 0)


@pytest.mark.parametrize("text", ["14:02", "2020-01-01", "2030-01-01 10:00"])
def test_what_is_not_in_the_recording(text: str) -> None:
    with pytest.raises(UsageError, match="is not in the recording: it goes from 2026-03-04 12:00:00 to"):
        find_moment(text, AT, 0)


def test_times_that_no_calendar_has() -> None:
    with pytest.raises(UsageError, match="out of range"):
        find_moment("12:00", [1e15, 1e15 + 1], 0)


@given(st.text(max_size=30), st.lists(st.floats(0, 4e9), min_size=1, max_size=9).map(sorted), st.data())
def test_any_text(text: str, at: list[float], data: st.DataObject) -> None:
    here = data.draw(st.integers(0, len(at) - 1))
    with contextlib.suppress(UsageError):
        assert 0 <= find_moment(text, at, here) < len(at)
