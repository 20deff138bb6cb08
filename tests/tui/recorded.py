"""A recording for the app: four minutes of a phone, with a mark, a hole and a reboot."""

from pathlib import Path

from heaptop.backend.replay import ReplayBackend
from heaptop.recorder import Recorder
from heaptop.session import Session
from tests.recording.phone import BOOT, lives

LOOKS, HOLE, MARK, REBOOT = 120, 30, 60, 90


def make(path: Path) -> ReplayBackend:
    """Record it, a moment a second, and open it."""
    phones = lives(1, LOOKS)
    phone = next(phones)
    recorder = Recorder(str(path), tell=print, clock=lambda: phone.at, uptime=lambda: phone.up)
    session = Session(phone, lambda: phone.at)
    session.observer = recorder.observe
    session.refresh()
    for look, _ in enumerate(phones, 1):
        if look == HOLE:
            phone.tick(120)
        if look == MARK:
            recorder.mark("mark 1")
        if look == REBOOT:
            phone.boot, phone.up = BOOT.replace("1", "9"), 3.0
        session.refresh()
    recorder.close()
    return ReplayBackend(str(path))
