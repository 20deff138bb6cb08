"""Stacks of a usual program are all taken, and those of a storm at a bounded pace."""

from hypothesis import given
from hypothesis import strategies as st

from heaptop.trace.supervise.allowance import AT_ONCE, PER_S, Allowance


def taken(allowance: Allowance, times: list[float]) -> int:
    return sum(allowance.take(time) for time in times)


def test_a_usual_program() -> None:
    allowance = Allowance()
    assert taken(allowance, [number / 400 for number in range(20_000)]) == 20_000
    assert allowance.refused == 0


def test_a_storm() -> None:
    allowance = Allowance()
    count, seconds = 100_000, 10.0
    got = taken(allowance, [number * seconds / count for number in range(count)])
    assert abs(got - (AT_ONCE + seconds * PER_S)) <= 2
    assert allowance.refused == count - got


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=50))
def test_never_more(gaps: list[float]) -> None:
    allowance, now = Allowance(), 0.0
    count = 0
    for gap in gaps:
        now += gap
        count += taken(allowance, [now] * 1000)
        assert count <= AT_ONCE + now * PER_S + 1
