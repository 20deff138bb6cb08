import threading
from collections.abc import Callable, Iterator
from queue import Empty, Queue

import pytest

from heaptop.backend.select import Opened
from heaptop.capture import Capture
from heaptop.errors import HeaptopError, SourceError
from heaptop.scan import floor
from heaptop.session import Session, Update
from heaptop.tui.poller import Broke, Event, Failed, Found, Looked, Poller
from tests.tui.feed import FB, look
from tests.tui.stage import NOON, FakeBackend, update

PATIENCE_S = 10.0


class Gate(FakeBackend):
    """A source whose capture waits until it is let go, and counts how many wait at once."""

    def __init__(self) -> None:
        self.entered = threading.Semaphore(0)
        self.let_go = threading.Semaphore(0)
        self.inside = 0
        self.inside_max = 0
        self.closed = 0

    def capture(self) -> Capture:
        self.inside += 1
        self.inside_max = max(self.inside_max, self.inside)
        self.entered.release()
        assert self.let_go.acquire(timeout=PATIENCE_S)
        self.inside -= 1
        return super().capture()

    def close(self) -> None:
        self.closed += 1


class Scripted(Session):
    """Does at each refresh what it was told."""

    def __init__(self, backend: FakeBackend, steps: list[Callable[[], Update]]) -> None:
        super().__init__(backend, lambda: NOON)
        self.steps = steps

    def refresh(self, ahead: tuple[Capture, float] | None = None) -> Update:
        return self.steps.pop(0)() if self.steps else update(look(FB))


def failing(error: Exception) -> Callable[[], Update]:
    def fail() -> Update:
        raise error

    return fail


@pytest.fixture
def events() -> Queue[Event]:
    return Queue()


@pytest.fixture
def gate() -> Gate:
    return Gate()


@pytest.fixture
def poller(gate: Gate) -> Iterator[Poller]:
    made = Poller(gate, None, lambda: NOON)
    yield made
    gate.let_go.release(100)
    made.close()


def scripted(*steps: Callable[[], Update], interval_s: float | None = None) -> Poller:
    backend = FakeBackend()
    return Poller(backend, interval_s, lambda: NOON, session=Scripted(backend, list(steps)))


def test_the_first_look_is_told_to_whoever_attaches_later(poller: Poller, gate: Gate, events: Queue[Event]) -> None:
    poller.start()
    gate.let_go.release(1)
    assert gate.entered.acquire(timeout=PATIENCE_S)
    assert poller.submit(lambda _backend: 1).result(PATIENCE_S) == 1
    poller.attach(events.put)
    assert isinstance(events.get(timeout=PATIENCE_S), Looked)


def test_scans_never_overlap_nor_pile_up(poller: Poller, gate: Gate, events: Queue[Event]) -> None:
    poller.attach(events.put)
    poller.start()
    assert gate.entered.acquire(timeout=PATIENCE_S)
    for _ in range(50):
        poller.refresh_now()
    gate.let_go.release(2)
    assert isinstance(events.get(timeout=PATIENCE_S), Looked)
    assert isinstance(events.get(timeout=PATIENCE_S), Looked)
    assert poller.submit(lambda _backend: "idle").result(PATIENCE_S) == "idle"
    assert events.empty()
    assert gate.inside_max == 1


def test_a_blocked_scan_says_for_how_long_and_blocks_nobody(poller: Poller, gate: Gate) -> None:
    assert not poller.started
    poller.start()
    assert gate.entered.acquire(timeout=PATIENCE_S)
    assert poller.scanning_s is not None
    poller.refresh_now()
    poller.set_interval(5.0)
    assert poller.interval_s == 5.0
    poller.hold(None)


def test_close_does_not_wait_for_a_scan_that_does_not_end(poller: Poller, gate: Gate) -> None:
    poller.start()
    assert gate.entered.acquire(timeout=PATIENCE_S)
    waiting = poller.submit(lambda _backend: 1)
    poller.close(patience_s=0.01)
    assert gate.closed == 1
    assert waiting.cancelled()
    assert poller.submit(lambda _backend: 1).cancelled()


def test_a_lost_source_is_told_and_recovers(events: Queue[Event]) -> None:
    poller = scripted(failing(SourceError("gone", "why", "remedy")))
    poller.attach(events.put)
    poller.start()
    lost = events.get(timeout=PATIENCE_S)
    assert isinstance(lost, Failed)
    assert lost.error.remedy == "remedy"
    poller.refresh_now()
    assert isinstance(events.get(timeout=PATIENCE_S), Looked)
    poller.close()


def test_a_bug_is_told_and_ends_the_thread(events: Queue[Event]) -> None:
    poller = scripted(failing(ZeroDivisionError()))
    poller.attach(events.put)
    poller.start()
    broke = events.get(timeout=PATIENCE_S)
    assert isinstance(broke, Broke)
    assert isinstance(broke.error, ZeroDivisionError)
    poller.close()


def test_the_interval_brings_one_look_after_the_other(events: Queue[Event]) -> None:
    poller = scripted(interval_s=0.001)
    poller.attach(events.put)
    poller.start()
    for _ in range(3):
        assert isinstance(events.get(timeout=PATIENCE_S), Looked)
    poller.close()


def test_a_jobs_error_is_its_askers(events: Queue[Event]) -> None:
    poller = scripted()
    poller.attach(events.put)
    poller.start()

    def refuse(_session: Session) -> None:
        raise HeaptopError("no")

    with pytest.raises(HeaptopError, match="no"):
        poller.submit_to_session(refuse).result(PATIENCE_S)
    poller.close()


def test_what_a_first_look_finds_waits_for_the_floor(poller: Poller, gate: Gate, events: Queue[Event]) -> None:
    poller.attach(events.put)
    floor.take()
    try:
        poller.start()
        gate.let_go.release()
        assert gate.entered.acquire(timeout=PATIENCE_S)
        with pytest.raises(Empty):
            events.get(timeout=floor.WAIT_S / 4)
    finally:
        floor.give()
    assert isinstance(events.get(timeout=PATIENCE_S), Looked)


def test_a_source_is_opened_in_the_thread_and_told(events: Queue[Event]) -> None:
    backend = FakeBackend()
    poller = Poller(lambda: Opened(backend, "it was the only one"), None, lambda: NOON)
    poller.attach(events.put)
    assert poller.backend is None
    poller.start()
    assert events.get(timeout=PATIENCE_S) == Found(backend, "it was the only one")
    assert isinstance(events.get(timeout=PATIENCE_S), Looked)
    poller.close()
