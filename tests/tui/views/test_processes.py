from typing import Any

from textual.widgets import OptionList

from heaptop.model import Gap
from heaptop.tui.app import HeaptopApp
from heaptop.tui.views.processes import ProcessesView
from heaptop.tui.widgets.line import Line
from tests.tui.feed import CAMERA, EVIL, FB, FLINGER, IN_FLIGHT, MEDIA, PHONE, PREVIEW, SHARED, look, playing
from tests.tui.stage import ready, until

NARROW, WIDE = (80, 24), (120, 40)


async def until_number(pilot: Any, app: HeaptopApp, number: int) -> None:
    await until(pilot, lambda: app.update is not None and app.update.number == number)


def view_of(app: HeaptopApp) -> ProcessesView:
    view = app.view
    assert isinstance(view, ProcessesView)
    return view


def lines(app: HeaptopApp) -> list[str]:
    table = view_of(app).table
    return [table.render_line(y).text.rstrip() for y in range(1 + len(table.rows))]


async def test_processes_by_rss_with_totals_as_dmabuf_dump() -> None:
    async with playing().run_test(size=NARROW) as pilot:
        app = await ready(pilot, "3")
        shown = [line.split() for line in lines(app)]
        assert shown[0] == ["PID", "Process", "▼RSS", "PSS", "Buffers", "Since", "start", "Last", "60", "s"]
        assert shown[1][:8] == ["▸", "500", "surfaceflinger", "66.0", "MiB", "64.7", "MiB", "2"]
        assert shown[2][:8] == ["▸", "812", "cameraserver", "10.0", "MiB", "8.67", "MiB", "2"]
        assert [line[1] for line in shown[3:]] == ["900", "700"]
        assert app.query_one("#totals", Line).text.strip() == (
            "total 74.5 MiB · processes RSS 78.0 MiB PSS 74.0 MiB · kernel only 512 KiB in 1"
        )


async def test_a_process_opens_to_its_buffers_and_closes_from_them() -> None:
    async with playing().run_test(size=NARROW) as pilot:
        app = await ready(pilot, "3", "down", "right")
        assert lines(app)[3].split() == ["39", "8.00", "MiB", "cam-preview", *["fd", "14", "17", "·", "map", "rw"]]
        assert "shared-frame" in lines(app)[4]
        assert lines(app)[4].endswith("also surfaceflinger,…")
        await pilot.press("right", "down", "down")
        assert view_of(app).table.cursor_key == (CAMERA, SHARED.inode)
        await pilot.press("right", "left")
        assert view_of(app).table.cursor_key == CAMERA
        assert len(lines(app)) == 5


async def test_a_click_on_the_arrow_opens() -> None:
    async with playing().run_test(size=NARROW) as pilot:
        app = await ready(pilot, "3")
        await pilot.click("ProcessesView Table", offset=(0, 1))
        await pilot.pause()
        assert lines(app)[1].startswith("▾")


async def test_growth_since_start_is_marked_while_it_lasts() -> None:
    grown = [look(PREVIEW, SHARED, second=second) for second in range(1, 7)]
    async with playing(look(PREVIEW), *grown).run_test(size=NARROW) as pilot:
        app = await ready(pilot, "3")
        for number in range(2, 8):
            await pilot.press("f5")
            await until_number(pilot, app, number)
            line = next(line for line in lines(app) if "cameraserver" in line)
            assert ("▲ +2.00 MiB" in line) is (number <= 4)
            assert "+2.00 MiB" in line


async def test_jumping_from_a_process_to_its_largest_buffer_and_from_a_buffer_to_itself() -> None:
    async with playing().run_test(size=WIDE) as pilot:
        app = await ready(pilot, "3", "o")
        await until(pilot, lambda: app.view and app.view.title == "Buffers")
        assert app.view is not None
        assert app.view.query_one("Table").cursor_key == FB.inode  # type: ignore[attr-defined]
        await pilot.press("3", "right", "down", "down", "o")
        await until(pilot, lambda: app.view and app.view.title == "Buffers")
        assert app.view.query_one("Table").cursor_key == SHARED.inode  # type: ignore[attr-defined]


async def test_who_else_shares_with_a_process_and_holds_a_buffer() -> None:
    async with playing().run_test(size=WIDE) as pilot:
        app = await ready(pilot, "3", "down", "u")
        assert app.screen.query_one(OptionList).option_count == 2
        await pilot.press("enter")
        await until(pilot, lambda: view_of(app).table.cursor_key == FLINGER)
        await pilot.press("down", "u")
        await until(pilot, lambda: app.screen is not app.screen_stack[0])
        await pilot.press("escape", "end", "u")
        assert [notice.message for notice in app._notifications] == [
            "Who shares buffers with [/x]evil\\nname\\x1b[31m\\u202e: nobody is seen"
        ]


async def test_details_of_a_process_and_of_its_buffer() -> None:
    async with playing().run_test(size=WIDE) as pilot:
        app = await ready(pilot, "3")
        pane = view_of(app).pane
        assert "surfaceflinger  pid 500" in pane.text
        assert "oom adjust  -900" in pane.text
        await pilot.press("right", "down")
        assert "fb0  inode 78" in pane.text
        assert "first seen 22:13:20" in pane.text


async def test_filter_since_mark_and_sorting() -> None:
    async with playing(look(*PHONE), look(*PHONE), look(FB, SHARED, IN_FLIGHT)).run_test(size=NARROW) as pilot:
        app = await ready(pilot, "3")
        app.set_filter("cam-preview")
        assert [line.split()[1] for line in lines(app)[1:]] == ["812"]
        assert view_of(app).status_text() == "1 of 4"
        app.set_filter("nosuch")
        assert "no process matches" in view_of(app).table.empty_text
        app.set_filter("")
        view_of(app).sort_by("pid", descending=False)
        assert [line.split()[1] for line in lines(app)[1:]] == ["500", "700", "812", "900"]
        view_of(app).sort_by("growth", descending=True)
        assert len(lines(app)) == 5
        await pilot.press("m")
        await until(pilot, lambda: app.update and app.update.since_mark)
        await pilot.press("d")
        assert len(lines(app)) == 1


async def test_hostile_names_are_plain_text() -> None:
    async with playing(look(EVIL)).run_test(size=WIDE) as pilot:
        app = await ready(pilot, "3", "right", "down", "y")
        assert all(line.isprintable() for line in lines(app))
        assert "[/x]evil\\nnam…" in lines(app)[1]
        assert view_of(app).table.cursor_key == (MEDIA, EVIL.inode)
        await pilot.press("up", "Y")
        assert '"pid": 700' in app.clipboard


async def test_empty_and_denied_are_explained() -> None:
    denied = Gap("412 of 430 processes", "they are not yours", "run as root or with CAP_SYS_PTRACE")
    for gaps, says in (((), "no process holds a buffer"), ((denied,), "run as root or with CAP_SYS_PTRACE")):
        async with playing(look(IN_FLIGHT, gaps=gaps)).run_test(size=NARROW) as pilot:
            assert says in view_of(await ready(pilot, "3")).table.empty_text


def test_processes_at_80x24(snap_compare: Any) -> None:
    assert snap_compare(grown(), terminal_size=NARROW, run_before=opened)


def test_processes_at_120x40(snap_compare: Any) -> None:
    assert snap_compare(grown(), terminal_size=WIDE, run_before=opened)


def grown() -> HeaptopApp:
    return playing(look(*PHONE[2:]), look(*PHONE, second=60))


async def opened(pilot: Any) -> None:
    app = await ready(pilot, "3", "f5")
    await until(pilot, lambda: app.update and app.update.number == 2)
    await pilot.press("home", "down", "right")
    await pilot.pause()


async def test_growth_since_the_mark() -> None:
    async with playing(look(*PHONE[2:]), look(*PHONE, second=60)).run_test(size=WIDE) as pilot:
        app = await ready(pilot, "3", "m")
        await until(pilot, lambda: app.shown.mark)
        await pilot.press("f5", "d")
        await until(pilot, lambda: app.update and app.update.since_mark and app.update.since_mark.new)
        table = view_of(app).table
        assert "Since mark" in table.render_line(0).text
        assert any("surfaceflinger" in row and "+64.0 MiB" in row for row in lines(app))
        assert any("cameraserver" in row and "+8.00 MiB" in row for row in lines(app))
        await pilot.press("d")
        assert "Since start" in table.render_line(0).text
