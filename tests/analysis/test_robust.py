"""`analysis.robust`."""

import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heaptop.analysis import robust


@given(st.lists(st.floats(-1e9, 1e9), min_size=1))
def test_the_median_is_that_of_the_library(values: list[float]) -> None:
    assert robust.median(values) == statistics.median(values)


@given(st.floats(-100, 100), st.floats(-100, 100), st.integers(2, 200))
def test_a_line_is_found(per_x: float, base: float, count: int) -> None:
    points = [(float(x), base + per_x * x) for x in range(count)]
    assert robust.slope(points) == pytest.approx(per_x, abs=1e-6)
    assert robust.spread(points, per_x) == pytest.approx(0, abs=1e-6)


def test_odd_values_upset_nothing() -> None:
    points = [(float(x), 2.0 * x if x % 5 else 1e9) for x in range(1, 50)]
    assert robust.slope(points) == pytest.approx(2, rel=0.3)


def test_too_few_points_have_no_slope() -> None:
    assert robust.slope([]) == robust.slope([(1, 2)]) == robust.slope([(1, 2), (1, 5)]) == 0
    assert robust.spread([], 0) == 0


def test_a_quantile_of_few_is_the_largest() -> None:
    assert robust.quantile([3, 1, 2], 0.98) == 3
    assert robust.quantile(list(range(100)), 0.5) == 50


def test_unevenness() -> None:
    even = [float(at) for at in range(1, 100)]
    assert robust.unevenness(even, 0, 100) == pytest.approx(0, abs=0.01)
    assert robust.unevenness(even, 0, 1000) > 0.8
    assert robust.unevenness([5.0] * 50, 0, 100) > 0.9
    assert robust.unevenness([], 0, 1) == robust.unevenness([1], 5, 5) == 1


@given(st.lists(st.floats(0, 1), min_size=1), st.floats(0, 1), st.floats(0, 1))
def test_unevenness_is_a_share(times: list[float], start: float, end: float) -> None:
    assert 0 <= robust.unevenness(sorted(times), start, end) <= 1
