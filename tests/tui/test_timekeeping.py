"""The app over a recording of many moments, and the app that makes one."""

import os
from functools import partial
from pathlib import Path

import pytest
from textual.widgets import Input

from heaptop import recording
from heaptop.backend.replay import ReplayBackend
from heaptop.recording.series import Series
from heaptop.tui.app import HeaptopApp
from heaptop.tui.poller import Poller
from heaptop.tui.widgets.dialogs import Ask
from heaptop.tui.widgets.timeline import TimelineBar
from tests.recording.phone import Phone
from tests.tui.feed import playing
from tests.tui.recorded import LOOKS, MARK, REBOOT, make
from tests.tui.stage import line, notices, ready, until

SIZE = (80, 24)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("replay") / "r"
    make(path)
    return path


@pytest.fixture
def app(folder: Path) -> HeaptopApp:
    return HeaptopApp(ReplayBackend(str(folder)))


def shown_at(app: HeaptopApp) -> int:
    """The moment that the screen shows."""
    assert app.playback is not None
    assert app.update is not None
    return list(app.playback.at).index(app.update.snapshot.captured_at or 0)


def shows(app: HeaptopApp, moment: int) -> bool:
    return shown_at(app) == moment


async def test_every_screen_at_every_kind_of_moment(app: HeaptopApp) -> None:
    async with app.run_test(size=SIZE) as pilot:
        await ready(pilot)
        assert app.playback is not None
        assert shown_at(app) == LOOKS - 1
        assert line(app, "header").endswith(" standing ")
        for screen in ("1", "2", "3", "4"):
            await pilot.press(screen)
            for key, moment in (("(", REBOOT), ("(", MARK), (",", MARK - 1), (".", MARK), (")", REBOOT)):
                await pilot.press(key)
                await until(pilot, partial(shows, app, moment))
                assert line(app, "state").startswith(f" moment {moment + 1} of {LOOKS}")
            app.playback.go(LOOKS - 1)
            app._show_moment()
            await until(pilot, lambda: shown_at(app) == LOOKS - 1)
        assert app.query_one("#views").size.height == 19


async def test_the_first_look_may_be_under_way(folder: Path) -> None:
    """It begins before there is an app, and goes through the moments that a trend is made of."""
    backend = ReplayBackend(str(folder))
    poller = Poller(backend, 1.0)
    backend.seek(70)
    app = HeaptopApp(backend, poller=poller)
    async with app.run_test(size=SIZE) as pilot:
        await ready(pilot)
        assert app.playback is not None
        assert app.playback.index == shown_at(app) == LOOKS - 1


async def test_history_is_that_of_the_moment(app: HeaptopApp) -> None:
    async with app.run_test(size=SIZE) as pilot:
        await ready(pilot, "2", "(", "(")
        await until(pilot, lambda: shown_at(app) == MARK)
        assert app.update is not None
        history = app.update.history
        assert len(history.total_trend_bytes) == 60
        assert app.playback is not None
        backend = app.poller.backend
        assert isinstance(backend, ReplayBackend)
        assert history.first_seen == backend.first_seen(MARK)
        assert app.shown.frame is not None
        assert app.shown.frame.new == {
            buffer.inode
            for buffer in app.update.snapshot.buffers
            if history.first_seen[buffer.inode] >= app.playback.at[MARK - 2]
        }


async def test_a_prompt_takes_words(app: HeaptopApp) -> None:
    async with app.run_test(size=SIZE) as pilot:
        await ready(pilot, "t")
        assert isinstance(app.screen, Ask)
        app.screen.query_one(Input).value = "mark 1"
        await pilot.press("enter")
        await until(pilot, lambda: shown_at(app) == MARK)
        await pilot.press("t")
        app.screen.query_one(Input).value = "soon"
        await pilot.press("enter")
        await until(pilot, lambda: notices(app))
        assert notices(app)[0].startswith("'soon' is no moment; write one like -3m, ")
        assert shown_at(app) == MARK


async def test_play_and_stand(app: HeaptopApp) -> None:
    async with app.run_test(size=SIZE) as pilot:
        await ready(pilot)
        assert app.playback is not None
        app.playback._clock = lambda: clock[0]
        clock = [0.0]
        await pilot.press("space", "greater_than_sign")
        await until(pilot, lambda: shown_at(app) == 0)
        assert line(app, "header").endswith(" 2x ")
        clock[0] = 5.0
        await until(pilot, lambda: shown_at(app) == 10)
        await pilot.press("space")
        clock[0] = 50.0
        await pilot.press("}")
        await until(pilot, lambda: shown_at(app) > 10)
        assert shown_at(app) == app.playback.index < 20


async def test_the_mouse_seeks(app: HeaptopApp) -> None:
    async with app.run_test(size=SIZE) as pilot:
        await ready(pilot)
        bar = app.query_one(TimelineBar)
        await pilot.click(bar, offset=(19, 0))
        await until(pilot, lambda: shown_at(app) < 16)
        await pilot.mouse_down(bar, offset=(30, 0))
        await pilot.hover(bar, offset=(60, 0))
        await pilot.mouse_up(bar, offset=(60, 0))
        await until(pilot, lambda: shown_at(app) > MARK)
        await pilot.click(bar, offset=(2, 0))
        assert app.playback is not None
        assert app.playback.is_playing


async def test_a_mark_is_kept_and_shown(app: HeaptopApp) -> None:
    async with app.run_test(size=SIZE) as pilot:
        await ready(pilot, "(", "(")
        await until(pilot, lambda: shown_at(app) == MARK)
        await pilot.press("m")
        await until(pilot, lambda: app.shown.mark is not None)
        await pilot.press(".", ".")
        await until(pilot, lambda: shown_at(app) == MARK + 2)
        assert "mark A" in line(app, "state")
        assert app.playback is not None
        assert [stop.text for stop in app.playback.stops if not stop.is_break] == ["mark 1", "A"]


async def test_a_far_moment_is_quick_whatever_was_asked_before(app: HeaptopApp) -> None:
    async with app.run_test(size=SIZE) as pilot:
        await ready(pilot)
        assert app.playback is not None
        for index in (5, 100, 7, 90, 3):
            app.playback.go(index)
            app._show_moment()
        await until(pilot, lambda: shown_at(app) == 3)
        await until(pilot, lambda: not app.poller.is_seeking)
        assert shown_at(app) == 3


async def test_the_time_line_on_narrow_and_tiny_screens(app: HeaptopApp) -> None:
    async with app.run_test(size=(42, 12)) as pilot:
        await ready(pilot)
        assert len(line(app, "timeline")) == 42
        await pilot.resize_terminal(30, 8)
        await pilot.pause()
        await until(pilot, lambda: not app.query_one(TimelineBar).display)


async def test_there_is_none_where_nothing_is_played() -> None:
    async with playing().run_test(size=SIZE) as pilot:
        app = await ready(pilot, "t", "comma", "}")
        assert not app.query(TimelineBar)
        assert app.playback is None
        assert "go to time" not in line(app, "footer")


# Recording


async def test_r_records_until_r(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    phone = Phone()
    app = HeaptopApp(phone, interval_s=None)
    async with app.run_test(size=SIZE) as pilot:
        await ready(pilot, "r")
        assert isinstance(app.screen, Ask)
        app.screen.query_one(Input).value = "mine"
        await pilot.press("enter")
        await until(pilot, lambda: "● REC 1" in line(app, "header"))
        phone.tick()
        await pilot.press("f5")
        await until(pilot, lambda: app.recorder is not None and app.recorder.counts.moments == 2)
        phone.tick()
        await pilot.press("m")
        await until(pilot, lambda: app.recorder is not None and app.recorder.counts.moments == 3)
        await pilot.press("r")
        await until(pilot, lambda: app.recorder is None)
        assert "REC" not in line(app, "header")
        assert "recorded 3 moments to mine" in notices(app)[-1]
        await pilot.press("f5")
    series = recording.read_all("mine")
    assert isinstance(series, Series)
    assert [moment.mark for moment in series.moments] == ["", "", "A"]


async def test_the_app_ends_while_recording(tmp_path: Path) -> None:
    app = HeaptopApp(Phone(), interval_s=None)
    async with app.run_test(size=SIZE) as pilot:
        await ready(pilot)
        app._record(str(tmp_path / "r"))
        await until(pilot, lambda: app.recorder is not None and app.recorder.counts.moments == 1)
    assert (tmp_path / "r" / "000000.moments").read_text().endswith("# end\n")


async def test_what_cannot_be_recorded_to(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    app = HeaptopApp(Phone(), interval_s=None)
    async with app.run_test(size=SIZE) as pilot:
        await ready(pilot)
        app._record(str(tmp_path / "file"))
        await until(pilot, lambda: notices(app))
        assert "it exists and is no folder" in notices(app)[0]
        assert app.recorder is None


async def test_the_recording_is_gone_while_it_is_made(tmp_path: Path) -> None:
    phone = Phone()
    app = HeaptopApp(phone, interval_s=None)
    async with app.run_test(size=SIZE) as pilot:
        await ready(pilot)
        app._record(str(tmp_path / "r"))
        await until(pilot, lambda: app.recorder is not None and app.recorder.counts.moments == 1)
        for name in os.listdir(tmp_path / "r"):
            os.unlink(tmp_path / "r" / name)
        os.rmdir(tmp_path / "r")
        phone.tick()
        await pilot.press("f5")
        await until(pilot, lambda: app.recorder is None)
        assert "it is gone; record somewhere else" in notices(app)[-1]
        number = app.update.number if app.update else 0
        await pilot.press("f5")
        await until(pilot, lambda: app.update is not None and app.update.number > number)
        assert app.shown.error is None


async def test_a_recording_is_not_recorded(app: HeaptopApp) -> None:
    async with app.run_test(size=SIZE) as pilot:
        await ready(pilot, "r")
        assert not isinstance(app.screen, Ask)
