"""The Leaks view: suspects first, their evidence, their buffers, since a mark; at 80x24 and 160x50."""

import json
from typing import Any

import pytest

from heaptop.analysis.diff import diff
from heaptop.analysis.suspects import Growth
from heaptop.model import Buffer, ProcessId
from heaptop.session import Mark, Update
from heaptop.tui.app import HeaptopApp
from heaptop.tui.views.buffers import BuffersView
from heaptop.tui.views.leaks import LeaksView, filter_of
from heaptop.tui.views.processes import ProcessesView
from tests.analysis.worlds import APP, CAMERA, World
from tests.tui.feed import HOSTILE, processes
from tests.tui.stage import NOON, line, ready, snapshot, staged, until, update

NARROW, WIDE = (80, 24), (160, 50)


def played() -> tuple[Growth, tuple[Buffer, ...]]:
    world = World()
    ring: list[int] = []
    for now in world.pass_(40):
        world.new(name="codec-out")
        if now % 2:
            world.new(1 << 20, HOSTILE, [CAMERA])
        if now <= 4:
            world.new(2 << 20, None, [APP])
        ring.append(world.new(3 << 19, "cam-preview", [CAMERA, APP]))
        if len(ring) > 3:
            del world.buffers[ring.pop(0)]
    return world.growth, tuple(world.buffers[inode] for inode in sorted(world.buffers))


GROWTH, BUFFERS = played()


def look(*, since: int | None = None) -> Update:
    seen = snapshot(buffers=BUFFERS, processes=processes(BUFFERS))._replace(captured_at=NOON)
    before = seen._replace(buffers=tuple(one for one in BUFFERS if one.inode < (since or 0)))
    return update(seen)._replace(growth=GROWTH, since_mark=None if since is None else diff(before, seen))


def app(one: Update | None = None) -> HeaptopApp:
    return staged(one or look())


def view_of(app: HeaptopApp) -> LeaksView:
    view = app.view
    assert isinstance(view, LeaksView)
    return view


def lines(app: HeaptopApp) -> list[str]:
    table = view_of(app).table
    return [table.render_line(y).text.rstrip() for y in range(1 + len(table.rows))]


async def test_suspects_first_then_the_rest() -> None:
    async with app().run_test(size=NARROW) as pilot:
        one = await ready(pilot, "5")
        shown = lines(one)
        assert shown[1].split()[:4] == ["!", "system", "1.00", "MiB"]
        assert "codec-out" in shown[2]
        assert "+60/min" in shown[2]
        assert any("plateau" in row and "4 for 36 s" in row for row in shown)
        assert "\x1b" not in "".join(shown)
        assert "2 suspects of 4 · watched for 40 s, 41 looks" in line(one, "state")
        assert "5 Leaks !2" in line(one, "tabs")


async def test_enter_shows_the_evidence() -> None:
    async with app().run_test(size=NARROW) as pilot:
        one = await ready(pilot, "5", "down", "enter")
        text = view_of(one).pane.text
        assert "! codec-out  16.0 KiB system" in text
        assert "first seen" in text
        assert "10 mediaserver  38" in text
        await pilot.press("escape")
        assert not view_of(one).pane.display


async def test_b_shows_its_buffers_and_o_its_holder() -> None:
    async with app().run_test(size=WIDE) as pilot:
        one = await ready(pilot, "5", "down", "b")
        await until(pilot, lambda: isinstance(one.view, BuffersView))
        assert one.filter is not None
        assert one.filter.text == 'exporter="system" size=16384 name="codec-out" holder="mediaserver"'
        table = one.query_one(BuffersView).table
        assert len(table.rows) == 40
        assert "!" in table.render_line(1).text
        await pilot.press("escape", "5")
        await until(pilot, lambda: isinstance(one.view, LeaksView))
        await pilot.press("home", "down", "o")
        await until(pilot, lambda: isinstance(one.view, ProcessesView))
        row = one.query_one(ProcessesView).table.cursor_row
        assert getattr(row, "id", None) == ProcessId(10, 1000)


async def test_nobody_holds_them() -> None:
    world = World()
    for _ in world.pass_(30):
        world.new(name="net-frame", holders=())
    buffers = tuple(world.buffers.values())
    one = update(snapshot(buffers=buffers))._replace(growth=world.growth)
    async with app(one).run_test(size=NARROW) as pilot:
        shown = await ready(pilot, "5", "o")
        assert "nobody is seen to hold them" in "".join(note.message for note in shown._notifications)
        await pilot.press("b")
        await until(pilot, lambda: isinstance(shown.view, BuffersView))
        assert shown.filter is not None
        assert shown.filter.text.endswith('name="net-frame" orphan')


async def test_the_filter_the_order_and_a_copied_row(monkeypatch: pytest.MonkeyPatch) -> None:
    async with app().run_test(size=WIDE) as pilot:
        one = await ready(pilot, "5")
        copied: list[str] = []
        monkeypatch.setattr(one, "copy", copied.append)
        one.set_filter("holder:mediaserver")
        await pilot.pause()
        assert len(view_of(one).table.rows) == 1
        await pilot.press("Y")
        assert json.loads(copied[0])["name"] == "codec-out"
        one.set_filter("nothing")
        await pilot.pause()
        assert "no class matches the filter" in view_of(one).table.empty_text
        one.set_filter("")
        view_of(one).sort_by("count", descending=True)
        assert "codec-out" in lines(one)[1]


async def test_since_the_mark() -> None:
    async with app(look(since=BUFFERS[-4].inode)).run_test(size=WIDE) as pilot:
        one = await ready(pilot, "5")
        one.shown.mark = Mark("A", snapshot(), NOON)
        await pilot.press("d")
        assert any("+2/mark" in row for row in lines(one))
        assert "mark A" in line(one, "state")


async def test_nothing_is_seen() -> None:
    async with app(update(snapshot())).run_test(size=NARROW) as pilot:
        one = await ready(pilot, "5")
        assert "there is nothing to follow" in view_of(one).table.empty_text
        assert "5 Leaks " in line(one, "tabs")


@pytest.mark.parametrize(("number", "parts"), [(0, ["name=", "size=1048576"]), (2, ['name=""', 'holder="app"'])])
def test_filters_show_the_buffers_of_a_class(number: int, parts: list[str]) -> None:
    text = filter_of(GROWTH.verdicts[number])
    assert all(part in text for part in parts)


def test_leaks_at_80x24(snap_compare: Any) -> None:
    assert snap_compare(app(), terminal_size=NARROW, run_before=lambda pilot: ready(pilot, "5", "down"))


def test_leaks_at_160x50(snap_compare: Any) -> None:
    assert snap_compare(app(), terminal_size=WIDE, run_before=lambda pilot: ready(pilot, "5", "down"))
