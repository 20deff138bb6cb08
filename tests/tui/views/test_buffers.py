from typing import Any

import pytest
from textual.widgets import OptionList

from heaptop.backend.replay import ReplayBackend
from heaptop.model import Gap
from heaptop.tui.app import HeaptopApp
from heaptop.tui.poller import Poller
from heaptop.tui.renderables.table import Column
from heaptop.tui.views.buffers import BuffersView, Row
from heaptop.tui.widgets.dialogs import Choose
from heaptop.tui.widgets.line import Line
from heaptop.tui.widgets.table import Table
from tests.support import CAPTURES_DIR
from tests.tui.feed import (
    CAMERA,
    DENIED,
    EVIL,
    FB,
    FLINGER,
    IN_FLIGHT,
    PHONE,
    PREVIEW,
    SHARED,
    SIGNALLED,
    buffer,
    holder,
    look,
    playing,
)
from tests.tui.stage import KIB, MIB, FakeAllocator, ready, until

NARROW, WIDE = (80, 24), (120, 40)


async def until_number(pilot: Any, app: HeaptopApp, number: int) -> None:
    await until(pilot, lambda: app.update is not None and app.update.number == number)


def view_of(app: HeaptopApp) -> BuffersView:
    view = app.view
    assert isinstance(view, BuffersView)
    return view


def lines(app: HeaptopApp) -> list[str]:
    table = view_of(app).table
    return [table.render_line(y).text.rstrip() for y in range(1 + len(table.rows))]


def inodes(app: HeaptopApp) -> list[int]:
    return [int(line[2:8].split("×")[0]) for line in lines(app)[1:]]


def column(app: HeaptopApp, key: str) -> Column[Row]:
    return next(one for one in view_of(app).table.columns if one.key == key)


async def test_columns_and_marks_on_80_columns() -> None:
    async with playing().run_test(size=NARROW) as pilot:
        shown = lines(await ready(pilot, "2"))
        assert shown[0].split() == ["Ino", "▼Size", "Name", "Exporter", "Held", "by", "fd", "map", "hid", "Age"]
        assert shown[1].split() == ["78", "64.0", "MiB", "fb0", "system", "surfaceflinger", *"100", "0", "s"]
        assert shown[2].split()[:5] == ["39", "8.00", "MiB", "cam-preview", "system"]
        assert shown[3].split()[5:] == ["cameraserv…", "+2", *"310", "0", "s"]
        assert shown[4].split() == ["?", "11", "512", "KiB", "in-flight", "system", "nobody", "seen", *"001", "0", "s"]
        assert "[/x]evil\\nname\\" in shown[5]
        assert shown[6].split()[:5] == ["105", "~", "~", "udmabuf", "[/x]evil\\nnam…"]


async def test_names_sizes_and_holders_stay_longest() -> None:
    async with playing().run_test(size=(40, 24)) as pilot:
        assert lines(await ready(pilot, "2"))[0].split() == ["Ino", "▼Size", "Name", "Held", "by"]


async def test_large_inodes_get_room() -> None:
    large = buffer(4_294_967_295, 4096, "large")
    async with playing(look(FB), look(FB, large)).run_test(size=NARROW) as pilot:
        app = await ready(pilot, "2", "f5")
        await until_number(pilot, app, 2)
        assert lines(app)[2].split()[:2] == ["+?", "4294967295"]


async def test_keys_typed_ahead_reach_the_view_that_was_asked_for() -> None:
    async with playing().run_test(size=NARROW) as pilot:
        app = await ready(pilot)
        for key in ("3", "2", "down", "down"):
            pilot.app.simulate_key(key)
        await until(pilot, lambda: app.view and app.view.title == "Buffers" and view_of(app).table.cursor_index == 2)


async def test_new_and_gone_rows_are_marked_for_three_looks_and_the_cursor_stays() -> None:
    later = [look(PREVIEW, SHARED, SIGNALLED, second=second) for second in range(1, 5)]
    async with playing(look(FB, PREVIEW, SHARED), *later).run_test(size=NARROW) as pilot:
        app = await ready(pilot, "2", "down")
        for number in range(2, 5):
            await pilot.press("f5")
            await until_number(pilot, app, number)
            shown = lines(app)
            assert [line[:1] for line in shown[1:]] == ["-", " ", " ", "+"]
            assert view_of(app).table.cursor_key == PREVIEW.inode
            assert view_of(app).status_text() == "3 buffers"
        await pilot.press("f5")
        await until(pilot, lambda: app.update and app.update.number == 5)
        assert [line[:1] for line in lines(app)[1:]] == [" ", " ", " "]
        assert view_of(app).table.cursor_key == PREVIEW.inode


@pytest.mark.parametrize(
    ("key", "up", "down"),
    [
        ("inode", [11, 39, 62, 78, 104, 105], [105, 104, 78, 62, 39, 11]),
        ("size", [104, 11, 62, 39, 78, 105], [78, 39, 62, 11, 104, 105]),
        ("name", [104, 39, 78, 11, 62, 105], [62, 11, 78, 39, 104, 105]),
        ("fds", [11, 78, 104, 105, 39, 62], [62, 39, 78, 104, 105, 11]),
        ("hidden", [39, 62, 78, 104, 11, 105], [11, 39, 62, 78, 104, 105]),
    ],
)
async def test_sorting_by_a_click_and_the_other_way_round(key: str, up: list[int], down: list[int]) -> None:
    async with playing().run_test(size=NARROW) as pilot:
        app = await ready(pilot, "2")
        view_of(app).sort_by(key, descending=False)
        assert inodes(app) == up
        x = lines(app)[0].index(column(app, key).title)
        await pilot.click(view_of(app).table, offset=(x, 0))
        assert inodes(app) == down
        assert "▼" in lines(app)[0]


async def test_sorting_by_the_menu_and_by_s() -> None:
    async with playing().run_test(size=NARROW) as pilot:
        app = await ready(pilot, "2", "s")
        assert isinstance(app.screen, Choose)
        await pilot.press("k", "enter")
        assert view_of(app).table.sorted_by == ("inode", False)
        await pilot.press("S")
        assert view_of(app).table.sorted_by == ("inode", True)
        await pilot.press("s", "j", "escape")
        assert view_of(app).table.sorted_by == ("inode", True)


async def test_grouping_by_class_exporter_holder_and_back() -> None:
    twins = (PREVIEW._replace(inode=40), PREVIEW, FB, IN_FLIGHT)
    async with playing(look(*twins)).run_test(size=WIDE) as pilot:
        app = await ready(pilot, "2", "g")
        assert view_of(app).status_text() == "4 buffers · by class"
        assert [line.split()[:6] for line in lines(app)[1:]] == [
            ["▸", "1×", "64.0", "MiB", "64.0", "MiB"],
            ["▸", "2×", "16.0", "MiB", "8.00", "MiB"],
            ["▸", "1×", "512", "KiB", "512", "KiB"],
        ]
        await pilot.press("down", "enter")
        assert [line.strip().split()[0] for line in lines(app)[1:]] == ["▸", "▾", "39", "40", "▸"]
        await pilot.press("left", "right", "right", "left")
        await pilot.pause()
        assert [line.strip()[0] for line in lines(app)[1:]] == ["▸", "▸", "▸"]
        await pilot.press("g")
        assert [line.split()[1] for line in lines(app)[1:]] == ["4×"]
        await pilot.press("g")
        assert [line.split()[1] for line in lines(app)[1:]] == ["1×", "2×", "1×"]
        await pilot.press("y", "Y", "o", "u", "g")
        assert view_of(app).group == "none"


async def test_since_mark_shows_only_what_changed_with_its_marks() -> None:
    fewer = SHARED._replace(holders=SHARED.holders[:1], file_count=2)
    async with playing(look(FB, SHARED), look(FB, SHARED), look(fewer, EVIL, second=9)).run_test(size=NARROW) as pilot:
        app = await ready(pilot, "2", "m")
        await until(pilot, lambda: app.update and app.update.since_mark)
        await pilot.press("d")
        assert "nothing is new, gone or changed since the mark" in view_of(app).table.empty_text
        await pilot.press("f5")
        await until(pilot, lambda: app.update and app.update.number == 3)
        assert [(line[0], int(line[2:8])) for line in lines(app)[1:]] == [("-", 78), ("▼", 62), ("+", 104)]


async def test_jumping_to_the_owner_and_back() -> None:
    async with playing().run_test(size=WIDE) as pilot:
        app = await ready(pilot, "2", "down", "o")
        await until(pilot, lambda: app.view and app.view.title == "Processes")
        await pilot.press("down", "o")
        await until(pilot, lambda: app.view and app.view.title == "Buffers")
        assert view_of(app).table.cursor_key == PREVIEW.inode


async def test_an_orphan_has_no_owner() -> None:
    async with playing(look(IN_FLIGHT)).run_test(size=WIDE) as pilot:
        app = await ready(pilot, "2", "o", "u")
        assert [notice.message for notice in app._notifications] == [
            "nobody is seen to hold it", "Who holds 11: nobody is seen"
        ]  # fmt: skip


async def test_a_jump_to_what_the_filter_hides_clears_the_filter() -> None:
    async with playing().run_test(size=WIDE) as pilot:
        app = await ready(pilot, "2")
        app.set_filter("cam")
        app.go_to_buffer(EVIL.inode)
        await until(pilot, lambda: view_of(app).table.cursor_key == EVIL.inode)
        assert app.filter is None
        app.go_to_buffer(4711)
        await until(pilot, lambda: app._notifications)
        assert [notice.message for notice in app._notifications] == ["it is not there any more"]


async def test_who_else_is_a_choice_that_leads_there() -> None:
    async with playing(look(SHARED)).run_test(size=WIDE) as pilot:
        app = await ready(pilot, "2", "u")
        assert app.screen.query_one(OptionList).option_count == 3
        await pilot.press("down", "enter")
        await until(pilot, lambda: app.view and app.view.title == "Processes")
        assert app.view is not None
        assert app.view.query_one(Table).cursor_key == FLINGER


async def test_copying_a_row() -> None:
    async with playing(look(FB)).run_test(size=WIDE) as pilot:
        app = await ready(pilot, "2", "y")
        assert app.clipboard.startswith("78\t67108864\tsystem\tfb0\t1\t0\t")
        await pilot.press("Y")
        assert '"holders": [{"pid": 500, "comm": "surfaceflinger", "fds": [9]}]' in app.clipboard


async def test_only_heaptops_own_buffers_can_be_freed() -> None:
    backend = FakeAllocator()
    mine = backend.allocate("system", 4096)
    own = buffer(mine.inode, 4096, "mine", holder(CAMERA, "heaptop", mine.fd))
    async with playing(look(own, FB), look(FB, second=1), backend=backend).run_test(size=WIDE) as pilot:
        app = await ready(pilot, "2", "f")
        assert len(app.held) == 0
        app.held.add(mine)
        view_of(app).action_follow()
        await pilot.press("end")
        assert view_of(app).table.cursor_key == mine.inode
        assert "*" in lines(app)[2][:2]
        assert "f free" in app.screen.query_one("#footer", Line).text
        await pilot.press("f")
        assert len(app.held) == 0
        await until(pilot, lambda: app.update and app.update.number >= 2)


async def test_follow_keeps_the_newest_selected() -> None:
    async with playing(look(FB), look(FB, EVIL, second=1)).run_test(size=WIDE) as pilot:
        app = await ready(pilot, "2", "F")
        assert view_of(app).status_text() == "1 buffer · follows"
        await pilot.press("f5")
        await until(pilot, lambda: view_of(app).table.cursor_key == EVIL.inode)


@pytest.mark.parametrize(
    ("gaps", "filter_", "says"),
    [
        ((), None, "no dma-buf is held by anyone"),
        ((DENIED,), None, "not all could be read: bufinfo: open: EACCES (Permission denied); run as root"),
        ((Gap("412 of 430 processes", "they are not yours", ""),), None, "412 of 430 processes: they are not yours"),
    ],
)
async def test_empty_and_denied_are_explained(gaps: tuple[Gap, ...], filter_: str | None, says: str) -> None:
    async with playing(look(gaps=gaps)).run_test(size=NARROW) as pilot:
        assert says in view_of(await ready(pilot, "2")).table.empty_text


async def test_an_empty_list_offers_allocation_where_there_is_one_and_the_filter_where_it_hides_all() -> None:
    async with playing(look(gaps=()), backend=FakeAllocator()).run_test(size=NARROW) as pilot:
        assert "press a to allocate one" in view_of(await ready(pilot, "2")).table.empty_text
    async with playing(filter_text="nosuchname").run_test(size=NARROW) as pilot:
        assert "press Esc to clear it" in view_of(await ready(pilot, "2")).table.empty_text


async def test_a_filter_that_tells_time_is_asked_again() -> None:
    looks = [look(FB, second=second) for second in (0, 3, 6)]
    async with playing(*looks, filter_text="age<5s").run_test(size=NARROW) as pilot:
        app = await ready(pilot, "2")
        assert inodes(app) == [78]
        for number in (2, 3):
            await pilot.press("f5")
            await until_number(pilot, app, number)
        assert inodes(app) == []


async def test_why_a_tilde() -> None:
    async with playing().run_test(size=WIDE) as pilot:
        app = await ready(pilot, "2", "end")
        view = view_of(app)
        row = view.table.cursor_row
        assert row is not None
        assert DENIED.remedy in view.explain(row, "hidden")
        assert "sizes" in view.explain(row, "size")
        assert view.explain(row, "age") == "it was there before heaptop looked first"
        assert "~ " in view.pane.text


@pytest.mark.parametrize("name", sorted(path.name for path in CAPTURES_DIR.glob("*.tar.gz")))
async def test_a_recording_of_a_real_kernel(name: str) -> None:
    backend = ReplayBackend(str(CAPTURES_DIR / name))
    app = HeaptopApp(backend, interval_s=None, poller=Poller(backend, None))
    async with app.run_test(size=WIDE) as pilot:
        await ready(pilot, "2")
        assert app.update is not None
        assert sorted(inodes(app)) == [one.inode for one in app.update.snapshot.buffers]
        for _ in app.update.snapshot.buffers:
            await pilot.press("down")
            assert all(line.isprintable() for line in view_of(app).pane.text.split("\n"))
        assert all(line.isprintable() for line in lines(app))


def test_buffers_at_80x24(snap_compare: Any) -> None:
    looks = (look(*PHONE), look(*PHONE[1:], SIGNALLED, second=131))
    assert snap_compare(playing(*looks), terminal_size=NARROW, run_before=second_look)


def test_buffers_at_120x40(snap_compare: Any) -> None:
    looks = (look(*PHONE), look(*PHONE[1:], SIGNALLED, second=131))
    assert snap_compare(playing(*looks), terminal_size=WIDE, run_before=second_look)


async def second_look(pilot: Any) -> None:
    app = await ready(pilot, "2", "down", "down", "f5")
    await until(pilot, lambda: app.update and app.update.number == 2)
    await pilot.pause()


def test_buffers_in_groups_with_details_below(snap_compare: Any) -> None:
    many = [PREVIEW._replace(inode=200 + n, size_bytes=MIB if n % 2 else 64 * KIB) for n in range(12)]
    keys = ("2", "g", "g", "g", "enter", "down", "enter")
    assert snap_compare(
        playing(look(*PHONE, *many)), terminal_size=NARROW, run_before=lambda pilot: ready(pilot, *keys)
    )
