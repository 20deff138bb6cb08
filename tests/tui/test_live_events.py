"""Live events in the app: `e` and `E`."""

import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from heaptop.errors import SourceError
from heaptop.model import PageRun
from heaptop.tui import live
from heaptop.tui.app import HeaptopApp
from heaptop.tui.event_screen import EventScreen
from heaptop.tui.views.buffers import BuffersView
from heaptop.tui.widgets.event_panel import EventLines, EventPanel
from heaptop.tui.widgets.line import Line
from tests.happenings import ALLOC, CMA_FAIL, FREE, PLACED, REFUSED, FakeSource
from tests.tui.feed import FB, PHONE, SHARED, look, playing
from tests.tui.stage import notices, ready, until

NARROW, WIDE = (80, 24), (120, 40)
Put = Callable[[FakeSource], FakeSource]


@pytest.fixture
def put(monkeypatch: pytest.MonkeyPatch) -> Put:
    """Puts a source of events behind the app."""

    def put(source: FakeSource) -> FakeSource:
        monkeypatch.setattr(live, "event_source", lambda _backend, ask: source)
        return source

    return put


def has_height(panel: EventPanel, height: int) -> bool:
    return panel.size.height == height


def head(app: HeaptopApp) -> str:
    found = app.screen_stack[0].query("#events-head")
    return found.first(Line).text if found else ""


def panel(app: HeaptopApp) -> list[str]:
    drawn = app.screen_stack[0].query_one(EventLines)
    return [drawn.render_line(y).text.rstrip() for y in range(drawn.size.height)]


async def test_e_turns_them_on_and_off(put: Put) -> None:
    source = put(FakeSource([ALLOC, FREE]))
    async with playing().run_test(size=NARROW) as pilot:
        on = await ready(pilot, "2")
        assert not on.query(EventPanel), "off by default"
        assert source.started == 0
        await pilot.press("e")
        await until(pilot, lambda: "1 alloc  1 free" in head(on))
        assert "% CPU + " in head(on)
        assert panel(on)[:2] == [
            r" 22:13:20.250 + alloc   cam[/x]\x1b[1m 812…  8.00 MiB ino 39 system, 41.2 us",
            " 22:13:22.500 - free    init 1               4.00 KiB ino 3 drm",
        ]
        assert isinstance(on.view, BuffersView)
        assert on.view.table.size.height >= 10
        await pilot.press("e")
        await until(pilot, lambda: source.stopped == 1)
        await until(pilot, lambda: not on.query_one(EventPanel).display)
        source.batches.put([REFUSED])
        await pilot.press("e")
        await until(pilot, lambda: "1 refused" in head(on))
        assert source.started == 2
    assert source.stopped == 2, "the end of the app is the end of events"
    assert "heaptop-watcher" not in {thread.name for thread in threading.enumerate()}


async def test_the_list_and_the_map_of_a_failure(put: Put) -> None:
    put(FakeSource([ALLOC, CMA_FAIL]))
    async with playing().run_test(size=WIDE) as pilot:
        on = await ready(pilot, "E")
        assert notices(on)[-1] == "events are off: press e"
        await pilot.press("e")
        await until(pilot, lambda: "1 CMA" in head(on))
        await pilot.press("E")
        await until(pilot, lambda: isinstance(on.screen, EventScreen) and on.screen.table.rows)
        screen = on.screen
        assert isinstance(screen, EventScreen)
        assert [seen.event for seen in screen.table.rows] == [CMA_FAIL, ALLOC], "the newest first"
        await until(pilot, lambda: screen.map.display and screen.map.size.height > 0)
        assert screen.query_one("#event-map", Line).text.startswith(
            " reserved then (1.00 MiB free, the largest hole has 1.00 MiB), 2.1 ms after it failed"
        )
        assert "█" in "".join(screen.map.render_line(y).text for y in range(screen.map.size.height))
        await pilot.press("down")
        await until(pilot, lambda: not screen.map.display)
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(on.view, BuffersView))
        assert isinstance(on.view, BuffersView)
        assert on.view.table.cursor_key == ALLOC.inode


@pytest.mark.parametrize("key", ["escape", "q", "E"])
async def test_the_list_is_left(put: Put, key: str) -> None:
    source = put(FakeSource([ALLOC]))
    async with playing().run_test(size=NARROW) as pilot:
        on = await ready(pilot, "e", "E")
        await until(pilot, lambda: isinstance(on.screen, EventScreen) and on.screen.table.rows)
        source.batches.put(SourceError("the emulator", "gone"))
        await until(pilot, lambda: notices(on))
        await pilot.press(key)
        await until(pilot, lambda: not isinstance(on.screen, EventScreen))


async def test_it_fits_any_screen(put: Put) -> None:
    put(FakeSource([ALLOC, FREE]))
    async with playing().run_test(size=WIDE) as pilot:
        on = await ready(pilot, "e")
        await until(pilot, lambda: "1 alloc" in head(on))
        shown = on.query_one(EventPanel)
        for size, height in (((120, 40), 10), ((80, 24), 6), ((60, 14), 3), ((40, 10), 2)):
            await pilot.resize_terminal(*size)
            await until(pilot, partial(has_height, shown, height))
        await pilot.resize_terminal(39, 9)
        await until(pilot, lambda: not shown.display)


async def test_paused_stands_still_and_counts(put: Put) -> None:
    source = put(FakeSource([ALLOC]))
    async with playing().run_test(size=NARROW) as pilot:
        on = await ready(pilot, "e")
        await until(pilot, lambda: "1 alloc" in head(on))
        await pilot.press("space")
        source.batches.put([FREE, FREE])
        await until(pilot, lambda: "2 since the pause" in head(on))
        assert panel(on)[1:] == ["", "", "", ""]
        await pilot.press("space")
        assert "free" in panel(on)[2]


async def test_the_filter_is_theirs_too(put: Put) -> None:
    put(FakeSource([ALLOC, PLACED]))
    async with playing(filter_text="holder:codec").run_test(size=NARROW) as pilot:
        on = await ready(pilot, "e")
        await until(pilot, lambda: "2 alloc" in head(on))
        assert [line[24:29] for line in panel(on) if line] == ["codec"]


async def test_the_session_learns_where_buffers_lie(put: Put) -> None:
    put(FakeSource([PLACED]))
    async with playing(look(FB, SHARED)).run_test(size=NARROW) as pilot:
        on = await ready(pilot, "e")
        await until(pilot, lambda: "1 alloc" in head(on))
        await pilot.press("f5")
        await until(pilot, lambda: on.buffers[62].runs == (PageRun(0x5BE00, 256),))
        assert on.buffers[78].runs is None


async def test_why_there_are_none(put: Put) -> None:
    source = put(FakeSource(SourceError("live events", "the emulator has ended", "start heaptop again")))
    async with playing().run_test(size=NARROW) as pilot:
        on = await ready(pilot, "e")
        await until(pilot, lambda: notices(on))
        assert notices(on) == ["live events: the emulator has ended; start heaptop again"]
        await until(pilot, lambda: not on.query_one(EventPanel).display)
        assert source.stopped == 1
        await pilot.press("E")
        await until(pilot, lambda: isinstance(on.screen, EventScreen))


async def test_a_source_without_events_says_so() -> None:
    async with playing().run_test(size=NARROW) as pilot:
        on = await ready(pilot, "e")
        await until(pilot, lambda: notices(on))
        assert notices(on) == ["events: fake has none; only the running kernel and the emulator have"]


def test_events_at_80x24(put: Put, snap_compare: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    source = put(FakeSource([ALLOC, PLACED, FREE, CMA_FAIL, REFUSED]))
    source.own_share = None
    monkeypatch.setattr(time, "thread_time", lambda: 0.0)

    async def before(pilot: Any) -> None:
        on = await ready(pilot, "2", "e")
        await until(pilot, lambda: "1 CMA" in head(on))

    assert snap_compare(playing(look(*PHONE)), terminal_size=NARROW, run_before=before)
