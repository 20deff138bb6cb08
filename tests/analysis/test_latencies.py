"""Percentiles are times that were measured."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heaptop.analysis.latencies import distribution


def test_of_a_hundred() -> None:
    found = distribution([number / 1000 for number in range(100, 0, -1)])
    assert found is not None
    assert (found.p50_s, found.p90_s, found.p99_s, found.max_s) == (0.05, 0.09, 0.099, 0.1)
    assert found.per_second == pytest.approx(100 / 5.05)


def test_of_none_and_of_no_time() -> None:
    assert distribution([]) is None
    found = distribution([0.0, 0.0])
    assert found is not None
    assert (found.count, found.per_second) == (2, None)


@given(st.lists(st.floats(min_value=0, max_value=1e3), min_size=1, max_size=300))
def test_they_rise_and_were_measured(times: list[float]) -> None:
    found = distribution(times)
    assert found is not None
    assert found.p50_s <= found.p90_s <= found.p99_s <= found.max_s == max(times)
    assert {found.p50_s, found.p90_s, found.p99_s} <= set(times)
    for share, value in ((0.5, found.p50_s), (0.9, found.p90_s), (0.99, found.p99_s)):
        assert sum(time <= value for time in times) >= share * len(times)
        assert sum(time < value for time in times) < share * len(times)
