"""The shell: pause, mark, interval, filter, jumps, banner, palette, help."""

import threading
from pathlib import Path

import pytest
from textual.command import CommandPalette
from textual.widget import Widget
from textual.widgets import Input

from heaptop import recording
from heaptop.capture import Capture
from heaptop.errors import SourceError
from heaptop.model import Gap
from heaptop.tui.app import HeaptopApp
from heaptop.tui.frame import Framer
from heaptop.tui.messages import PollerBroke, SnapshotArrived, SourceLost
from heaptop.tui.poller import Poller
from heaptop.tui.shown import Shown
from heaptop.tui.widgets.banner import Banner
from heaptop.tui.widgets.detail import DetailPane
from heaptop.tui.widgets.dialogs import Ask, Sheet
from heaptop.tui.widgets.filter_bar import FilterBar
from tests.tui.feed import EVIL, FB, HOSTILE, PHONE, PREVIEW, SHARED, look, playing
from tests.tui.stage import (
    NOON,
    FakeAllocator,
    FakeBackend,
    line,
    notices,
    ready,
    said,
    snapshot,
    standing,
    until,
    update,
)

NARROW, WIDE = (80, 24), (120, 40)


def is_shown(widget: Widget) -> bool:
    return widget.display


async def test_what_stands_around_the_content() -> None:
    async with playing().run_test(size=NARROW) as pilot:
        app = await ready(pilot, "2")
        assert line(app, "header").startswith(" heaptop  fake 6.12.0 · root · 1 gap ")
        assert "6 buffers 74.5 MiB" in line(app, "header")
        assert line(app, "tabs") == " 1 Heaps  2 Buffers  3 Processes  4 CMA  5 Leaks "
        assert line(app, "state").startswith(" scan 0.0 ms · heaptop 0.0 % CPU ")
        assert line(app, "footer").startswith(" Enter details  s sort  o owner  u who else  g group ")
        assert line(app, "footer").rstrip().endswith("? help")
        assert app.query_one("#views").size.height == 20  # a line of titles and 19 rows


async def test_a_pause_holds_the_screen_and_tells_how_much_has_changed() -> None:
    async with playing(look(FB), look(FB, EVIL, PREVIEW, second=1), look(EVIL, second=2)).run_test(size=WIDE) as pilot:
        app = await ready(pilot, "2", "space")
        await pilot.press("f5")
        await until(pilot, lambda: "+2 buffers" in line(app, "header"))
        assert "PAUSED 22:13:20" in line(app, "header")
        assert app.update is not None
        assert app.update.snapshot.buffers == (FB,)
        await pilot.press("f5")
        await until(pilot, lambda: "+1 -1 buffers" in line(app, "header"))
        await pilot.press("space")
        assert app.update.snapshot.buffers == (EVIL,)
        assert "PAUSED" not in line(app, "header")


async def test_a_mark_and_what_changed_since() -> None:
    async with playing(look(*PHONE), look(*PHONE), look(FB, SHARED, second=5)).run_test(size=WIDE) as pilot:
        app = await ready(pilot, "2", "d")
        assert notices(app) == ["no mark is set: press m"]
        await pilot.press("m")
        await until(pilot, lambda: "mark A 22:13:20: nothing changed" in line(app, "state"))
        await pilot.press("f5")
        await until(pilot, lambda: "mark A 22:13:20: -4 buffers, -8.52 MiB" in line(app, "state"))
        await pilot.press("d")
        assert "since mark" in line(app, "state")
        await pilot.press("d")
        assert "since mark" not in line(app, "state")


async def test_a_mark_before_the_first_look_is_refused() -> None:
    class Nothing(FakeBackend):
        def capture(self) -> Capture:
            raise SourceError("nothing here")

    backend = Nothing()
    app = HeaptopApp(backend, interval_s=None, poller=Poller(backend, None, lambda: NOON))
    async with app.run_test() as pilot:
        await pilot.press("m")
        await until(pilot, lambda: notices(app))
        assert notices(app) == ["cannot set a mark: nothing has been captured yet; wait for the first capture"]


async def test_the_interval_goes_by_steps_to_by_hand_and_back() -> None:
    async with playing().run_test(size=NARROW) as pilot:
        app = await ready(pilot, "2")
        assert line(app, "header").endswith(" by hand ")
        await pilot.press("minus")
        assert line(app, "header").endswith(" 60 s ")
        app.poller.set_interval(0.5)
        await pilot.press("minus", "minus", "minus")
        assert app.poller.interval_s == 0.25
        assert line(app, "header").endswith(" 250 ms ")
        app.poller.set_interval(60)
        await pilot.press("plus", "plus")
        assert app.poller.interval_s is None


def test_a_lost_capability_stands_in_the_banner_while_the_app_goes_on() -> None:
    gap = Gap("bufinfo", "permission denied", "run as root")
    shown = Shown(newest=Framer().frame(update(snapshot())._replace(lost=(gap,))))
    assert shown.banner == "no longer readable: bufinfo; run as root"
    assert Shown().banner == ""


async def test_a_lost_source_stands_in_a_banner_with_its_remedy_and_goes_when_it_is_back() -> None:
    class Vanishing(FakeBackend):
        lost = False

        def capture(self) -> Capture:
            if self.lost:
                raise SourceError(f"{HOSTILE} is gone", "open: ENOENT", "mount debugfs")
            return super().capture()

    backend = Vanishing()
    async with playing(backend=backend).run_test(size=NARROW) as pilot:
        app = await ready(pilot, "2")
        backend.lost = True
        await pilot.press("f5")
        await until(pilot, lambda: app.query_one(Banner).display)
        assert said(app, "#banner") == "[/x]evil\\nname\\x1b[31m\\u202e is gone: open: ENOENT; mount debugfs"
        assert "no source" in line(app, "header")
        assert app.update is not None
        await pilot.press("down", "3", "2")
        backend.lost = False
        await pilot.press("f5")
        await until(pilot, lambda: not app.query_one(Banner).display)


async def test_a_scan_that_does_not_end_blocks_nothing() -> None:
    class Stuck(FakeBackend):
        def __init__(self) -> None:
            self.let_go = threading.Event()

        def capture(self) -> Capture:
            self.let_go.wait()
            return super().capture()

    backend = Stuck()
    app = HeaptopApp(backend, interval_s=None, poller=Poller(backend, None, lambda: NOON))
    async with app.run_test(size=NARROW) as pilot:
        await standing(pilot)
        await pilot.press("2", "3", "2", "question_mark", "escape", "f5")
        await until(pilot, lambda: "looking…" in line(app, "header"))
        assert app.view is not None
        assert app.view.title == "Buffers"
        backend.let_go.set()
        await until(pilot, lambda: app.update is not None)


async def test_a_bug_in_the_poller_is_not_hidden() -> None:
    app = playing()

    async def break_it() -> None:
        async with app.run_test() as pilot:
            app.post_message(PollerBroke(ZeroDivisionError()))
            await pilot.pause()

    with pytest.raises(ZeroDivisionError):
        await break_it()


def test_a_slow_screen_gets_only_the_newest() -> None:
    lost = SourceLost(SourceError("x"))
    assert lost.can_replace(SourceLost(SourceError("y")))
    assert not lost.can_replace(PollerBroke(ValueError()))
    arrived = SnapshotArrived(Framer().frame(update(look(FB))))
    assert arrived.can_replace(SnapshotArrived(arrived.frame))
    assert not arrived.can_replace(lost)


async def test_the_filter_is_live_and_a_wrong_one_says_where_and_keeps_the_last_good_result() -> None:
    async with playing().run_test(size=NARROW) as pilot:
        app = await ready(pilot, "2", "slash")
        await pilot.press(*"cam")
        assert line(app, "state").rstrip().endswith("2 of 6 buffers")
        for char in " size>":
            await pilot.press({" ": "space", ">": "greater_than_sign"}.get(char, char))
        assert said(app, "#filter-error").startswith("col ")
        assert app.filter is not None
        await pilot.press("1", "M", "enter")
        assert line(app, "state").rstrip().endswith("2 of 6 buffers")
        assert is_shown(app.query_one(FilterBar))
        await pilot.press("escape")
        assert app.shown.filter_text == ""
        assert not is_shown(app.query_one(FilterBar))
        assert line(app, "state").rstrip().endswith(" 6 buffers")


async def test_escape_in_the_filter_clears_it_and_an_empty_one_closes() -> None:
    async with playing().run_test(size=NARROW) as pilot:
        app = await ready(pilot, "2", "slash", "x", "escape")
        assert app.filter is None
        await pilot.press("slash", "enter")
        assert not app.query_one(FilterBar).display
        assert not isinstance(app.focused, Input)


async def test_a_filter_of_the_command_line_is_on_from_the_start() -> None:
    async with playing(filter_text="orphan").run_test(size=NARROW) as pilot:
        app = await ready(pilot, "2")
        assert line(app, "state").rstrip().endswith("1 of 6 buffers")


async def test_help_is_made_from_the_bindings() -> None:
    async with playing().run_test(size=(100, 60)) as pilot:
        app = await ready(pilot, "2", "question_mark")
        assert isinstance(app.screen, Sheet)
        text = str(app.screen.query_one("Static").render())
        for active in app.screen_stack[0].active_bindings.values():
            if active.binding.description:
                assert app.get_key_display(active.binding) in text
        await pilot.press("escape")
        assert app.screen is app.screen_stack[0]


async def test_every_action_is_in_the_palette() -> None:
    async with playing().run_test(size=WIDE) as pilot:
        app = await ready(pilot, "2")
        titles = [command.title for command in app.get_system_commands(app.screen)]
        assert {"Filter", "Pause", "Mark", "Since mark", "Write a capture", "Group", "Sort", "Theme", "Quit"} <= set(
            titles
        )
        assert "Allocate" not in titles
        await pilot.press("ctrl+p")
        assert isinstance(app.screen, CommandPalette)
        await pilot.press(*"look less")
        await pilot.press("enter", "escape")


async def test_the_palettes_commands_work() -> None:
    async with playing().run_test(size=WIDE) as pilot:
        app = await ready(pilot, "2")
        commands = {command.title: command.callback for command in app.get_system_commands(app.screen)}
        await commands["Processes"]()
        assert app.view is not None
        assert app.view.title == "Processes"


async def test_gaps_are_told_with_their_remedies() -> None:
    async with playing().run_test(size=NARROW) as pilot:
        app = await ready(pilot, "2")
        await pilot.click("#header", offset=(line(app, "header").index("gap"), 0))
        assert isinstance(app.screen, Sheet)
        assert "run as root to read debugfs" in str(app.screen.query_one("Static").render())


async def test_tabs_by_mouse_and_by_tab() -> None:
    async with playing().run_test(size=NARROW) as pilot:
        app = await ready(pilot)
        await pilot.click("#tabs", offset=(line(app, "tabs").index("Processes"), 0))
        await until(pilot, lambda: app.view is not None and app.view.title == "Processes")
        await pilot.press("tab", "tab", "shift+tab")
        assert app.view is not None
        assert app.view.title == "CMA"


async def test_no_lab_and_no_allocation_where_nothing_can_be_allocated() -> None:
    for app in (playing(), playing(backend=FakeAllocator(), readonly=True)):
        async with app.run_test(size=WIDE) as pilot:
            await ready(pilot, "6", "a")
            assert "Lab" not in line(app, "tabs")
            assert "allocate" not in line(app, "footer")
            assert app.view is not None
            assert app.view.title == "Heaps"


async def test_a_capture_is_written_where_the_user_says(tmp_path: Path) -> None:
    class Seeing(FakeBackend):
        def capture(self) -> Capture:
            return super().capture()._replace(files={"sys/kernel/debug/dma_buf/bufinfo": b"seen"})

    async with playing(backend=Seeing()).run_test(size=NARROW) as pilot:
        app = await ready(pilot, "2", "w")
        assert isinstance(app.screen, Ask)
        field = app.screen.query_one(Input)
        assert field.value == "heaptop-20231114-221320.tar.gz"
        field.value = str(tmp_path / "seen")
        await pilot.press("enter")
        await until(pilot, lambda: notices(app))
        assert notices(app) == [f"capture written to {tmp_path / 'seen'}"]
        assert recording.read(str(tmp_path / "seen")).files["sys/kernel/debug/dma_buf/bufinfo"] == b"seen"


async def test_a_capture_that_cannot_be_written_says_why(tmp_path: Path) -> None:
    async with playing().run_test(size=NARROW) as pilot:
        app = await ready(pilot, "2", "w")
        app.screen.query_one(Input).value = str(tmp_path / "absent" / "seen")
        await pilot.press("enter")
        await until(pilot, lambda: notices(app))
        assert "ENOENT" in notices(app)[0] or "No such" in notices(app)[0]
        await pilot.press("w", "escape")
        assert app.screen is app.screen_stack[0]


async def test_a_picture_says_where_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    async with playing().run_test(size=NARROW) as pilot:
        app = await ready(pilot, "2", "f12")
        (picture,) = tmp_path.glob("*.svg")
        assert notices(app) == [f"picture written to {picture}"]
        monkeypatch.setattr(app, "save_screenshot", Raises(PermissionError(13, "Permission denied", "/x")))
        await pilot.press("f12")
        assert "no picture: Permission denied: /x" in notices(app)


class Raises:
    def __init__(self, error: Exception) -> None:
        self.error = error

    def __call__(self) -> str:
        raise self.error


async def test_details_below_the_list_open_on_enter_and_close_on_escape() -> None:
    async with playing().run_test(size=NARROW) as pilot:
        app = await ready(pilot, "2")
        assert app.view is not None
        pane = app.view.query_one(DetailPane)
        assert not is_shown(pane)
        await pilot.press("enter")
        assert is_shown(pane)
        assert pane.has_focus
        assert "fb0  inode 78" in pane.text
        await pilot.press("escape")
        assert not is_shown(pane)
        await pilot.resize_terminal(*WIDE)
        assert is_shown(pane)
