"""Rows and evidence of the Leaks view, without an app."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heaptop.analysis.diff import diff
from heaptop.analysis.suspects import Growth
from heaptop.tui.renderables.leaks import (
    CHART_HEIGHT,
    LeakRow,
    chart,
    confidence_cell,
    details,
    growth_cell,
    mark_cell,
    rows_of,
)
from tests.analysis.builders import snapshot
from tests.analysis.worlds import APP, CAMERA, World
from tests.tui.feed import HOSTILE


def plain(lines: object) -> str:
    assert isinstance(lines, list)
    return "\n".join("".join(text for text, _ in line) for line in lines)


@pytest.fixture(scope="module")
def world() -> World:
    world = World()
    for now in world.pass_(40):
        world.new(name="codec-out")
        if now == 3:
            world.new(1 << 20, None, [APP])
    return world


def first(growth: Growth) -> LeakRow:
    return rows_of(growth, None)[0]


def test_cells(world: World) -> None:
    suspect, pool = rows_of(world.growth, None)
    assert (mark_cell(suspect, 1), mark_cell(pool, 1)) == ((("!", "suspect"),), "")
    assert (growth_cell(suspect, 11), growth_cell(pool, 11)) == ((("+60/min", "suspect"),), (("plateau", "dim"),))
    assert confidence_cell(suspect, 24) == (("●●●●●", "suspect"), ("  93 %  40 looks", ""))
    assert confidence_cell(pool, 20) == (("1 for 37 s", "dim"),)


def test_details(world: World) -> None:
    row = first(world.growth)
    shown = plain(details(row, list(world.buffers.values()), lambda at: f"at {at:.0f}", 40))
    assert "! codec-out  16.0 KiB system\nheld by mediaserver\n+60/min" in shown
    assert "first seen at 1, 39 s ago" in shown
    assert "10 mediaserver  38" in shown
    assert "and 28 more: b shows them" in shown
    assert "40 s ago" in shown


def test_since_a_mark(world: World) -> None:
    before = snapshot(*(buffer for inode, buffer in sorted(world.buffers.items()) if inode < 30))
    now = snapshot(*(buffer for _, buffer in sorted(world.buffers.items())))
    (row,) = rows_of(world.growth, diff(before, now))
    assert (row.verdict.name, row.since_mark) == ("codec-out", 12)
    assert growth_cell(row, 11) == (("+12/mark", "grown"),)
    assert rows_of(world.growth, diff(now, now)) == []
    assert [row.since_mark for row in rows_of(world.growth, diff(now, before))] == [-12]


def test_various_and_hostile_names() -> None:
    world = World()
    for now in world.pass_(30):
        world.new(4096 * int(now), HOSTILE, [CAMERA])
    row = first(world.growth)
    shown = plain(details(row, list(world.buffers.values()), str, 40))
    assert "various" in shown
    assert "Sizes\n 4.00 KiB, 8.00 KiB" in shown


@given(st.lists(st.integers(0, 10**6), max_size=80), st.integers(1, 100), st.integers(1, 10))
def test_a_chart_fits_and_has_its_extremes(values: list[int], width: int, height: int) -> None:
    lines = chart(values, "1:40 ago", width, height)
    if values:
        assert len(lines) == height + 1
        assert all(len(line[1][0]) <= max(1, width) for line in lines[:-1])


def test_a_chart() -> None:
    lines = plain(chart([0, 2, 4, 8], "9 s ago", 12, 4)).splitlines()
    assert lines == ["8       ██", "        ██", "      ████", "0   ██████", "  9 s ago now"]
    assert chart([], "", 10) == [((" one look so far", "dim"),)]
    assert len(chart([5, 5, 5], "3 s ago", 20)) == CHART_HEIGHT + 1
