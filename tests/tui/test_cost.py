"""A tick costs what changed and what is on the screen, whatever the number of rows: counted, not timed."""

from collections import Counter
from typing import Any

import pytest

from heaptop.tui.ordering import Ordering
from heaptop.tui.renderables.table import Column
from heaptop.tui.views.buffers import BuffersView
from tests.tui.feed import buffer, look, playing
from tests.tui.stage import ready, until

COUNT = 50_000
CHANGED = COUNT // 20
LINES = 24


async def test_a_tick_over_50000_buffers_draws_the_screen_and_places_the_changed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = [buffer(inode, inode * 4096, f"b{inode}") for inode in range(1, COUNT + 1)]
    after = [one._replace(file_count=9) if one.inode <= CHANGED else one for one in before[:-10]]
    asked: Counter[str] = Counter()

    def counting(name: str, function: Any) -> Any:
        def counted(*args: Any, **more: Any) -> Any:
            asked[name] += 1
            return function(*args, **more)

        return counted

    first = look(*before)
    async with playing(first, look(*after)._replace(captured_at=first.captured_at)).run_test(size=(80, LINES)) as pilot:
        app = await ready(pilot, "2")
        view = app.view
        assert isinstance(view, BuffersView)
        assert len(view.table.rows) == COUNT
        view.table.set_columns([counted_column(column, counting) for column in view.table.columns])
        monkeypatch.setattr(Ordering, "rebuild", counting("rebuild", Ordering.rebuild))
        monkeypatch.setattr(view, "key", counting("key", view.key))
        await pilot.press("f5")
        await until(pilot, lambda: app.update is not None and app.update.number == 2)
        await pilot.pause()
        assert len(view.table.rows) == COUNT  # ten are gone, and still shown as that
        assert asked["rebuild"] == 0
        assert 0 < asked["cell"] <= 4 * LINES * len(view.table.columns)
        assert asked["key"] < LINES
        await pilot.press("end")
        assert view.table.cursor_index == COUNT - 1


def counted_column(column: Column[Any], counting: Any) -> Column[Any]:
    return column._replace(cell=counting("cell", column.cell))
