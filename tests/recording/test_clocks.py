"""Clocks that are set and machines that boot again while something is recorded."""

from pathlib import Path

import pytest

from heaptop.recorder import Recorder
from heaptop.session import Session
from tests.recording.phone import BOOT, NOON, Phone, opened


def run_of(path: Path, phone: Phone, looks: int = 3) -> None:
    recorder = Recorder(str(path), tell=print, clock=lambda: phone.at, uptime=lambda: phone.up)
    session = Session(phone, lambda: phone.at)
    session.observer = recorder.observe
    for _ in range(looks):
        session.refresh()
        phone.tick()
    recorder.close()


def test_a_reboot_in_it_is_a_break(tmp_path: Path) -> None:
    phone = Phone()
    run_of(tmp_path / "r", phone)
    phone.boot, phone.at, phone.up = BOOT.replace("1", "9"), NOON + 100, 5.0
    run_of(tmp_path / "r", phone)
    series = opened(tmp_path / "r")
    assert [(one.moment, one.why) for one in series.line.breaks] == [(3, "reboot")]
    assert [at - NOON for at in series.line.at] == [0, 1, 2, 100, 101, 102]


def test_a_reboot_of_a_machine_without_a_clock(tmp_path: Path) -> None:
    """It begins again in 1970; its moments follow those before."""
    phone = Phone()
    run_of(tmp_path / "r", phone)
    phone.boot, phone.at, phone.up = BOOT.replace("1", "9"), 10.0, 5.0
    run_of(tmp_path / "r", phone)
    series = opened(tmp_path / "r")
    assert [(one.moment, one.why) for one in series.line.breaks] == [(3, "reboot")]
    assert [at - NOON for at in series.line.at] == [0, 1, 2, 2, 3, 4]
    assert series.capture(5).captured_at == NOON + 4


@pytest.mark.parametrize(("step_s", "why"), [(-3600.0, "1:00:00 back"), (86400.0 * 365, "365d 00h on")])
def test_the_clock_is_set_while_recording(tmp_path: Path, step_s: float, why: str) -> None:
    """All is told by the clock as it was set last, and time goes on by the clock that nobody sets."""
    phone = Phone()
    recorder = Recorder(str(tmp_path / "r"), tell=print, clock=lambda: phone.at, uptime=lambda: phone.up)
    session = Session(phone, lambda: phone.at)
    session.observer = recorder.observe
    for look in range(6):
        session.refresh()
        phone.tick()
        phone.at += step_s if look == 2 else 0
    recorder.close()
    series = opened(tmp_path / "r")
    assert [(one.moment, one.why) for one in series.line.breaks] == [(3, f"the clock was set {why}")]
    assert [at - NOON - step_s for at in series.line.at] == [0, 1, 2, 3, 4, 5]
    assert series.capture(1).captured_at == series.line.at[1]
    assert series.first_seen(5)[10] == series.line.at[0]


def test_a_recorder_that_was_away(tmp_path: Path) -> None:
    phone = Phone()
    run_of(tmp_path / "r", phone)
    phone.tick(7200)
    run_of(tmp_path / "r", phone)
    assert [(one.moment, one.why) for one in opened(tmp_path / "r").line.breaks] == [
        (3, "nothing was recorded for 2:00:01")
    ]
