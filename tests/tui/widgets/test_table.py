"""The table: cursor and scroll hold still over refreshes, whatever comes, goes or is sorted."""

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from textual.app import App, ComposeResult
from textual.widget import Widget

from heaptop.tui.renderables.table import Cell, Column
from heaptop.tui.widgets.table import Table
from tests.tui.feed import HOSTILE

Row = tuple[int, str]


def name(row: Row, _width: int) -> Cell:
    return row[1] if row[1] != "?" else (("~", "unknown"),)


COLUMNS: tuple[Column[Row], ...] = (
    Column("id", "Id", 6, lambda row, _: str(row[0]), align="right"),
    Column("name", "Name", 10, name, flex=1, worth=100),
    Column("fixed", "Fixed", 6, lambda row, _: "▸" if row[0] == 3 else "", sortable=False),
)


class Stage(App[None]):
    """One table, and what it told."""

    def __init__(self, rows: Sequence[Row]) -> None:
        super().__init__()
        self.table: Table[Row] = Table(COLUMNS, lambda row: row[0])
        self.first = rows
        self.told: list[str] = []

    def compose(self) -> ComposeResult:
        yield self.table

    def on_mount(self) -> None:
        self.table.set_rows(self.first)
        self.table.focus()

    def on_table_highlighted(self) -> None:
        self.told.append(f"at {self.table.cursor_key}")

    def on_table_chosen(self) -> None:
        self.told.append(f"chosen {self.table.cursor_key}")

    def on_table_header_clicked(self, message: Table.HeaderClicked) -> None:
        self.told.append(f"sort {message.key}")

    def on_table_toggled(self, message: Table.Toggled) -> None:
        self.told.append(f"toggle {self.table.cursor_key} {message.expand}")


def rows(*ids: int) -> list[Row]:
    return [(id_, f"row {id_}") for id_ in ids]


def at(table: Table[Row]) -> object:
    assert (table.cursor_row is None) is (table.cursor_key is None)
    return table.cursor_key


def lines(table: Widget) -> list[str]:
    return [table.render_line(y).text.rstrip() for y in range(table.size.height)]


async def test_titles_rows_and_the_end() -> None:
    async with Stage(rows(1, 2)).run_test(size=(40, 6)) as pilot:
        table: Table[Row] = pilot.app.query_one(Table)
        assert [line.split() for line in lines(table)] == [
            ["Id", "Name", "Fixed"], ["1", "row", "1"], ["2", "row", "2"], [], [], []
        ]  # fmt: skip


async def test_the_keys_move_the_cursor_and_the_list_with_it() -> None:
    app = Stage(rows(*range(100)))
    async with app.run_test(size=(40, 11)) as pilot:
        table = app.table
        for keys, key, top in (
            (["down", "j"], 2, 0),
            (["k"], 1, 0),
            (["pagedown"], 11, 2),
            (["end"], 99, 90),
            (["down"], 99, 90),
            (["up"] * 10, 89, 89),
            (["pageup"], 79, 79),
            (["home", "up"], 0, 0),
        ):
            await pilot.press(*keys)
            assert (table.cursor_key, table.scroll_offset.y) == (key, top)


async def test_new_rows_above_do_not_push_the_row_under_the_cursor_away() -> None:
    app = Stage(rows(*range(50)))
    async with app.run_test(size=(40, 11)) as pilot:
        await pilot.press(*["down"] * 4)
        before = lines(app.table)[5]
        app.table.set_rows(rows(*range(100, 120), *range(50)))
        await pilot.pause()
        assert app.table.cursor_key == 4
        assert lines(app.table)[5] == before
        app.table.set_rows(rows(*range(50)))
        await pilot.pause()
        assert lines(app.table)[5] == before
        assert app.table.scroll_offset.y == 0


async def test_where_the_row_is_gone_the_one_that_takes_its_line_has_the_cursor() -> None:
    app = Stage(rows(*range(9)))
    async with app.run_test(size=(40, 11)) as pilot:
        await pilot.press(*["down"] * 8)
        app.table.set_rows(rows(*range(8)))
        assert at(app.table) == 7
        app.table.set_rows([])
        assert at(app.table) is None
        await pilot.press("down", "end", "pagedown", "enter", "left")
        app.table.set_rows(rows(5))
        assert at(app.table) == 5


@settings(max_examples=12, deadline=None)
@given(st.lists(st.lists(st.integers(0, 60), unique=True, max_size=60), min_size=1, max_size=6), st.integers(0, 30))
async def test_the_cursors_row_stays_on_its_line_as_long_as_it_lives(ticks: list[list[int]], downs: int) -> None:
    app = Stage(rows(*range(30)))
    async with app.run_test(size=(40, 11)):
        table = app.table
        for _ in range(downs):
            table.action_move(1)
        for tick in ticks:
            key, line = table.cursor_key, table.cursor_index - table.scroll_offset.y
            table.set_rows(rows(*tick))
            now = table.cursor_index - table.scroll_offset.y
            assert 0 <= now < 10
            if key in tick:
                assert table.cursor_key == key
                room_above, room_below = tick.index(key), len(tick) - tick.index(key)
                if room_above >= line and room_below >= 10 - line:
                    assert now == line


async def test_a_click_selects_a_double_click_chooses_a_title_sorts() -> None:
    app = Stage(rows(*range(30)))
    async with app.run_test(size=(40, 11)) as pilot:
        await pilot.click(Table, offset=(10, 4))
        await pilot.click(Table, offset=(10, 4), times=2)
        await pilot.click(Table, offset=(3, 0))
        await pilot.click(Table, offset=(38, 0))
        await pilot.click(Table, offset=(lines(app.table)[4].index("▸"), 4))
        await pilot.press("right", "left")
        await pilot.pause()
        assert app.told == [
            "at 0", "at 3", "chosen 3", "sort id", "toggle 3 None", "toggle 3 True", "toggle 3 False"
        ]  # fmt: skip
        await pilot.click(Table, offset=(10, 4))


async def test_a_click_below_the_rows_does_nothing() -> None:
    app = Stage(rows(1))
    async with app.run_test(size=(40, 11)) as pilot:
        await pilot.click(Table, offset=(10, 8))
        assert app.told == ["at 1"]


async def test_the_wheel_moves_the_list_and_not_the_cursor() -> None:
    app = Stage(rows(*range(30)))
    async with app.run_test(size=(40, 11)) as pilot:
        for _ in range(20):
            await pilot._post_mouse_events([_wheel("Down")], widget=app.table)
        assert (app.table.scroll_offset.y, app.table.cursor_key) == (20, 0)
        await pilot._post_mouse_events([_wheel("Up")], widget=app.table)
        assert (app.table.scroll_offset.y, app.table.cursor_key) == (17, 0)


def _wheel(way: str) -> Any:
    from textual import events

    return getattr(events, f"MouseScroll{way}")


async def test_an_empty_table_says_why() -> None:
    app = Stage([])
    async with app.run_test(size=(30, 8)) as pilot:
        app.table.set_rows([], empty=f"nothing is here; {HOSTILE}")
        await pilot.pause()
        text = " ".join(lines(app.table)[2:])
        assert " ".join(text.split()) == "nothing is here; [/x]evil\\nname\\x1b[31m\\u202e"


async def test_selecting_by_key() -> None:
    app = Stage(rows(*range(90)))
    async with app.run_test(size=(40, 11)):
        assert app.table.select(77)
        assert app.table.cursor_row == (77, "row 77")
        assert not app.table.select(1000)
        assert app.table.cursor_key == 77


async def test_the_mouse_over_a_tilde_says_why() -> None:
    app = Stage([(1, "?"), (2, "known")])
    app.table.explain = lambda row, column: f"{row[0]} {column} {HOSTILE}"
    async with app.run_test(size=(40, 8)) as pilot:
        await pilot.hover(Table, offset=(8, 1))
        assert str(app.table.tooltip) == "1 name [/x]evil\\nname\\x1b[31m\\u202e"
        await pilot.hover(Table, offset=(8, 2))
        assert app.table.tooltip is None
        await pilot.hover(Table, offset=(8, 0))
        assert app.table.tooltip is None


@pytest.mark.parametrize("width", [1, 2, 5, 20, 300])
async def test_any_width(width: int) -> None:
    app = Stage(rows(1, 2, 3))
    async with app.run_test(size=(width, 5)):
        assert all(app.table.render_line(y).cell_length == app.table.size.width for y in range(5))
