"""The icicle's rows: shares of the whole in cells, none given twice, whatever the tree."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from heaptop.analysis.sites import By, Sample, tree
from heaptop.call_stack import Location
from heaptop.tui.renderables.icicle import at, find, label, rows, style
from tests.report.test_sites import SAMPLES

MAIN, ONE, TWO = (Location(name, "a.cc", 1, "/x") for name in ("main", "one", "two"))
TREE = tree([Sample((MAIN, ONE), 3000, 1), Sample((MAIN, TWO), 1000, 3), Sample((MAIN,), 0, 0)])


def drawn(width: int, by: By = By.BYTES, zoom: tuple[Location, ...] = ()) -> list[str]:
    return ["".join(label(box) for box in row) for row in rows(TREE, zoom, width, by)]


def test_widths_are_shares() -> None:
    assert drawn(40) == [
        "│all                                    ",
        "│main (a.cc:1)                          ",
        "│one (a.cc:1)                 │two (a.c…",
    ]
    assert [box.width for box in rows(TREE, (), 40, By.COUNT)[2]] == [10, 30]


def test_zoom_takes_the_whole_width() -> None:
    found = rows(TREE, (MAIN, TWO), 40, By.BYTES)
    assert [[(box.width, box.is_above) for box in row] for row in found] == [[(40, True)], [(40, True)], [(40, False)]]
    assert [style(row[0], 0) for row in found] == ["above", "above", "even"]
    assert find(TREE, (MAIN, Location("gone", None, None, ""))) == ((MAIN,), TREE.children[0])


def test_the_box_under_a_cell() -> None:
    row = rows(TREE, (), 40, By.BYTES)[2]
    assert [box.node.place if (box := at(row, x)) else None for x in (0, 29, 30, 39, 40)] == [ONE, ONE, TWO, TWO, None]


@given(SAMPLES, st.integers(1, 120), st.sampled_from(By))
def test_no_cell_is_given_twice(samples: list[Sample], width: int, by: By) -> None:
    for row in rows(tree(samples, by), (), width, by):
        assert all(box.width > 0 for box in row)
        assert sum(len(label(box)) for box in row) <= width or any(not label(box).isascii() for box in row)
        ends = [(box.left, box.left + box.width) for box in row]
        assert ends == sorted(ends)
        assert all(end <= begin for (_, end), (begin, _) in itertools.pairwise(ends))
        assert not ends or ends[-1][1] <= width
