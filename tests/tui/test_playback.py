"""Playing a recording: time goes on by the clock, holes are passed over, jumps go where something is."""

from pathlib import Path

import pytest

from heaptop.backend.replay import ReplayBackend
from heaptop.errors import UsageError
from heaptop.tui.playback import Playback
from heaptop.tui.renderables.timeline import place_text, timeline, track
from tests.tui.recorded import HOLE, LOOKS, MARK, REBOOT, make


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("playback") / "r"
    make(path)
    return path


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def playback(folder: Path, clock: Clock) -> Playback:
    return Playback(ReplayBackend(str(folder)), clock)


def after(playback: Playback, clock: Clock, seconds: float) -> int:
    """The moment so many seconds later, looked at ten times a second."""
    end = clock.now + seconds
    while clock.now < end - 0.05:
        clock.now += 0.1
        playback.tick()
    return playback.index


def test_it_begins_at_the_end_and_plays_from_the_start(playback: Playback, clock: Clock) -> None:
    assert playback.index == LOOKS - 1
    assert after(playback, clock, 5) == LOOKS - 1
    playback.toggle()
    assert (playback.index, playback.is_playing) == (0, True)
    assert after(playback, clock, 3) == 3
    playback.toggle()
    assert after(playback, clock, 3) == 3


@pytest.mark.parametrize(("steps", "moment"), [(0, 4), (1, 8), (2, 20), (-1, 2), (-9, 1)])
def test_speeds(playback: Playback, clock: Clock, steps: int, moment: int) -> None:
    playback.toggle()
    playback.change_speed(steps)
    assert after(playback, clock, 4) == moment


def test_a_change_of_speed_goes_on_from_here(playback: Playback, clock: Clock) -> None:
    playback.toggle()
    after(playback, clock, 4)
    playback.change_speed(1)
    assert after(playback, clock, 2) == 8


def test_a_hole_is_passed_over(playback: Playback, clock: Clock) -> None:
    playback.go(HOLE - 2)
    playback.toggle()
    assert after(playback, clock, 3) in (HOLE, HOLE + 1)


def test_it_stands_at_the_end(playback: Playback, clock: Clock) -> None:
    playback.go(LOOKS - 3)
    playback.toggle()
    assert after(playback, clock, 10) == LOOKS - 1
    assert not playback.is_playing


def test_a_jump_while_playing_plays_on_from_there(playback: Playback, clock: Clock) -> None:
    playback.toggle()
    after(playback, clock, 2)
    playback.go(50)
    assert after(playback, clock, 2) == 52


def test_changes_and_stops(playback: Playback) -> None:
    playback.go(0)
    found = []
    while (index := playback.next_change(1)) is not None:
        found.append(index)
        playback.go(index)
    assert 20 < len(found) < LOOKS
    back = []
    while (index := playback.next_change(-1)) is not None:
        back.append(index)
        playback.go(index)
    assert back == found[-2::-1]
    playback.go(0)
    stops = []
    while (stop := playback.next_stop(1)) is not None:
        stops.append((stop.moment, stop.text))
        playback.go(stop.moment)
    assert stops == [(HOLE, "nothing was recorded for 2:01"), (MARK, "mark 1"), (REBOOT, "reboot")]
    stop = playback.next_stop(-1)
    assert stop is not None
    assert stop.moment == MARK


def test_words(playback: Playback) -> None:
    playback.go(50)
    playback.go_to("-10s")
    assert playback.index == 40
    playback.go_to("mark 1")
    assert playback.index == MARK
    playback.add_mark("A")
    playback.go_to("first")
    playback.go_to("A")
    assert playback.index == MARK
    with pytest.raises(UsageError):
        playback.go_to("soon")
    assert playback.index == MARK


@pytest.mark.parametrize("width", [20, 30, 40, 60, 80, 200])
def test_the_line_fits_and_the_cursor_is_where_a_click_would_be(playback: Playback, width: int) -> None:
    first, length = track(playback, width)
    for index in range(0, LOOKS, 7):
        playback.go(index)
        text = "".join(piece.text for piece in timeline(playback, width))
        assert len(text) == width
        cell = text.index("┃") - first
        assert 0 <= cell < length
        playback.go_to_share((cell + 0.999) / length)
        again = "".join(piece.text for piece in timeline(playback, width))
        assert abs(again.index("┃") - first - cell) <= 1


def test_what_the_line_shows(playback: Playback, monkeypatch: pytest.MonkeyPatch) -> None:
    playback.go(0)
    text = "".join(piece.text for piece in timeline(playback, 80))
    assert text.startswith(" ‖ ")
    assert (text.count("╎"), text.count("◆")) == (2, 1)
    assert "    ╎" in text  # nothing was recorded there
    assert text.endswith(" -3:59 ")
    playback.toggle()
    assert "".join(piece.text for piece in timeline(playback, 80)).startswith(" ▶ ")
    playback.go(REBOOT)
    assert place_text(playback) == f"moment {REBOOT + 1} of {LOOKS} · ╎ reboot"
