"""Terminals of any size and ability, themes, and names that would like to be more than text."""

import pytest
from textual.widgets import OptionList

from heaptop.tui.widgets.dialogs import Choose
from tests.tui.feed import EVIL, HOSTILE, PREVIEW, look, playing
from tests.tui.stage import FakeAllocator, line, notices, ready

NARROW, WIDE = (80, 24), (120, 40)


@pytest.mark.parametrize("size", [(20, 5), (39, 30), (90, 9), (1, 1)])
async def test_a_tiny_terminal_gets_one_line_with_totals(size: tuple[int, int]) -> None:
    async with playing().run_test(size=size) as pilot:
        app = await ready(pilot, "2", "3", "enter", "question_mark", "escape", "slash", "x", "escape")
        assert "6 buffers 74.5 MiB".startswith(line(app, "tiny")[:18].rstrip("…"))
        assert not app.query_one("#views").display


async def test_every_view_stands_any_size() -> None:
    async with playing(backend=FakeAllocator()).run_test(size=WIDE) as pilot:
        await ready(pilot)
        for number in "12346":
            await pilot.press(number)
            for size in ((40, 10), (41, 60), (20, 20), (200, 60), (119, 24), (120, 24)):
                await pilot.resize_terminal(*size)


async def test_hostile_names_in_notices_and_lists() -> None:
    evil_twice = (EVIL, PREVIEW)
    async with playing(look(*evil_twice)).run_test(size=NARROW) as pilot:
        app = await ready(pilot, "2")
        app.say(HOSTILE)
        app.copy(HOSTILE)
        app.choose_holder(EVIL)
        await pilot.pause()
        assert isinstance(app.screen, Choose)
        assert app.screen.query_one(OptionList).option_count == 1
        assert all(notice.isprintable() for notice in notices(app))


async def test_ascii_terminals_get_ascii(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LC_ALL", "C")
    async with playing().run_test(size=WIDE) as pilot:
        app = await ready(pilot, "2", "question_mark")
        assert app.ascii
        filters = app.get_line_filters()
        strips = app.screen._compositor.render_strips()
        drawn = [filters[-1].apply(list(strip), app.screen.background_colors[1]) for strip in strips]
        assert all(segment.text.isascii() for segments in drawn for segment in segments)


async def test_an_unknown_theme_is_told() -> None:
    async with playing(theme="no [/x] such").run_test(size=WIDE) as pilot:
        app = await ready(pilot)
        assert notices(app)[0].startswith("no theme 'no [/x] such': take one of ")
        assert app.theme == "heaptop-dark"


async def test_a_theme_by_name_and_another_by_hand() -> None:
    async with playing(theme="heaptop-light").run_test(size=WIDE) as pilot:
        app = await ready(pilot, "2")
        assert app.theme == "heaptop-light"
        for theme in (name for name in app.available_themes if name.startswith("heaptop")):
            app.theme = theme
            await pilot.pause()
