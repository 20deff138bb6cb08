"""Lines and texts are drawn again where they look different, and nowhere else."""

from typing import Any

import pytest
from textual.app import App, ComposeResult
from textual.content import Content
from textual.geometry import Region
from textual.pilot import Pilot

from heaptop.tui.renderables.chrome import Piece
from heaptop.tui.widgets.drawn import Drawn
from heaptop.tui.widgets.line import Line
from heaptop.tui.widgets.said import Said
from heaptop.tui.widgets.table import Table
from tests.tui.widgets.test_table import COLUMNS, Row, Stage, lines, rows

Refreshed = list[tuple[Region, ...]]


@pytest.fixture
def refreshed(monkeypatch: pytest.MonkeyPatch) -> Refreshed:
    """The regions of each refresh."""
    made: Refreshed = []
    refresh = Drawn.refresh

    def note(widget: Drawn, *regions: Region, **more: Any) -> Any:
        made.append(regions)
        return refresh(widget, *regions, **more)

    monkeypatch.setattr(Drawn, "refresh", note)
    return made


async def table_of(pilot: Pilot[Any], refreshed: Refreshed) -> Table[Row]:
    await pilot.pause()
    table: Table[Row] = pilot.app.query_one(Table)
    lines(table)
    await pilot.pause()
    refreshed.clear()
    return table


async def test_rows_that_look_the_same_are_not_drawn_again(refreshed: Refreshed) -> None:
    async with Stage(rows(1, 2, 3)).run_test(size=(40, 8)) as pilot:
        table = await table_of(pilot, refreshed)
        table.set_rows(rows(1, 2, 3))
        assert refreshed == []


async def test_only_the_line_of_a_changed_row_is_drawn(refreshed: Refreshed) -> None:
    async with Stage(rows(1, 2, 3)).run_test(size=(40, 8)) as pilot:
        table = await table_of(pilot, refreshed)
        table.set_rows([(1, "row 1"), (2, "changed"), (3, "row 3")])
        assert refreshed == [(Region(0, 2, 40, 1),)]
        await pilot.pause()
        assert "changed" in lines(table)[2]


async def test_rows_out_of_sight_are_not_drawn(refreshed: Refreshed) -> None:
    async with Stage(rows(*range(100))).run_test(size=(40, 8)) as pilot:
        table = await table_of(pilot, refreshed)
        table.set_rows([*rows(*range(50)), *((number, "changed") for number in range(50, 100))])
        assert refreshed == []
        await pilot.press("end")
        assert "changed" in lines(table)[-1]


async def test_another_cursor_column_or_theme_draws_all(refreshed: Refreshed) -> None:
    async with Stage(rows(1, 2, 3)).run_test(size=(40, 8)) as pilot:
        table = await table_of(pilot, refreshed)
        await pilot.press("down")
        assert () in refreshed
        table = await table_of(pilot, refreshed)
        table.set_columns(COLUMNS[:1])
        assert () in refreshed
        before = table.render_line(0)
        pilot.app.theme = "textual-light"
        await pilot.pause()
        assert table.render_line(0) != before


async def test_a_line_that_says_the_same_is_not_drawn(refreshed: Refreshed) -> None:
    class Lines(App[None]):
        def compose(self) -> ComposeResult:
            yield Line("one")

    async with Lines().run_test(size=(40, 8)) as pilot:
        line = pilot.app.query_one(Line)
        line.tell(lambda _: (Piece("here"),))
        await pilot.pause()
        assert line.render_line(0).text.startswith("here")
        refreshed.clear()
        line.tell(lambda _: (Piece("here"),))
        assert refreshed == []
        line.tell(lambda _: (Piece("there"),))
        assert line.text == "there"
        assert len(refreshed) == 1


async def test_a_text_is_told_from_another_by_its_styles_too(monkeypatch: pytest.MonkeyPatch) -> None:
    said = Said("a")
    updates: list[object] = []
    monkeypatch.setattr("textual.widgets.Static.update", lambda _, content, **_more: updates.append(content))
    for text in ("a", Content("a"), Content("a"), Content.styled("a", "bold"), Content.styled("a", "bold"), "a"):
        said.update(text)
    assert len(updates) == 3
