"""A session over a recording: at each moment it knows what a live session would have known."""

import random
from pathlib import Path

import pytest

from heaptop.backend.replay import ReplayBackend
from heaptop.recorder import Recorder
from heaptop.recording import journal
from heaptop.replay import ReplaySession
from heaptop.session import Session, Update
from tests.recording.phone import NOON, lives

LOOKS = 200


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Update]]:
    """A recording, and each update of the session that made it."""
    path = tmp_path_factory.mktemp("replay") / "r"
    phones = lives(3, LOOKS)
    phone = next(phones)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(journal, "MOMENTS_MAX", 45)
        recorder = Recorder(str(path), tell=print, clock=lambda: NOON, uptime=lambda: phone.up)
        session = Session(phone, lambda: NOON)
        session.observer = recorder.observe
        updates = [session.refresh()]
        updates += [session.refresh() for _ in phones]
        recorder.close()
    return path, updates


def replayed(path: Path) -> ReplaySession:
    return ReplaySession(ReplayBackend(str(path)))


def same(seen: Update, live: Update) -> None:
    assert seen.snapshot.buffers == live.snapshot.buffers
    assert seen.snapshot.captured_at == live.snapshot.captured_at
    assert seen.delta.new == live.delta.new
    assert {buffer.inode for buffer in seen.delta.gone} == {buffer.inode for buffer in live.delta.gone}
    assert seen.history.first_seen == live.history.first_seen
    assert seen.history.gone == live.history.gone
    assert seen.history.total_trend_bytes == live.history.total_trend_bytes


def test_played_through_it_is_as_it_was_live(live: tuple[Path, list[Update]]) -> None:
    path, updates = live
    session = replayed(path)
    for index, update in enumerate(updates):
        (seen,) = session.go(index)
        same(seen, update)


def test_anywhere_it_is_as_it_was_live(live: tuple[Path, list[Update]]) -> None:
    path, updates = live
    session = replayed(path)
    order = list(range(LOOKS))
    random.Random(1).shuffle(order)
    numbers = []
    for index in order[:40]:
        *before, seen = session.go(index)
        assert len(before) < 60
        if index >= 4:  # what is gone is told of for three looks
            same(seen, updates[index])
        numbers.append(seen.number)
    assert numbers == sorted(set(numbers))


def test_a_mark_stays(live: tuple[Path, list[Update]]) -> None:
    path, updates = live
    session = replayed(path)
    *_, _ = session.go(20)
    mark = session.set_mark()
    *_, seen = session.go(150)
    assert session.mark is mark
    assert seen.since_mark is not None
    before = {buffer.inode for buffer in updates[20].snapshot.buffers}
    now = {buffer.inode for buffer in updates[150].snapshot.buffers}
    assert {buffer.inode for buffer in seen.since_mark.new} == now - before
    *_, seen = session.go(20)
    assert seen.since_mark is not None
    assert (seen.since_mark.new, seen.since_mark.gone) == ((), ())


def test_growth_is_that_of_the_moment(live: tuple[Path, list[Update]]) -> None:
    path, _ = live
    session = replayed(path)
    for index in (150, 40, 199):
        *_, seen = session.go(index)
        assert seen.growth == session.growth()
