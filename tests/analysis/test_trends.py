"""`analysis.trends`, against the plain way: so many points for each name, all of them kept."""

from collections import deque
from collections.abc import Mapping

from hypothesis import given
from hypothesis import strategies as st

from heaptop.analysis.trends import TREND_POINTS, Trends, differences

NAMES = st.sampled_from("abc")
LOOKS = st.lists(st.tuples(st.dictionaries(NAMES, st.integers(0, 2)), st.integers(1, TREND_POINTS)), max_size=12)


class Plain:
    def __init__(self) -> None:
        self.points: dict[str, deque[int]] = {}

    def follow(self, sizes: Mapping[str, int]) -> None:
        for name in sizes.keys() - self.points.keys():
            self.points[name] = deque(maxlen=TREND_POINTS)
        for name, points in list(self.points.items()):
            points.append(sizes.get(name, 0))
            if name not in sizes and not any(points):
                del self.points[name]

    def all(self) -> dict[str, tuple[int, ...]]:
        return {name: tuple(points) for name, points in self.points.items()}


@given(LOOKS)
def test_trends(looks: list[tuple[dict[str, int], int]]) -> None:
    trends: Trends[str] = Trends()
    plain = Plain()
    before: dict[str, int] = {}
    shown = []
    for sizes, times in looks:
        for _ in range(times):
            known = set(plain.points) | set(sizes)
            plain.follow(sizes)
            forgotten = trends.follow(differences(before, sizes))
            before = sizes
            assert set(forgotten) == known - set(plain.points)
            assert trends.all() == plain.all()
            assert all((name in trends) == (name in plain.points) for name in "abc")
        shown.append((trends.all(), plain.all()))
    assert all(once == then for once, then in shown)  # what was handed over stays
