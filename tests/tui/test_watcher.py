from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError
from queue import Queue

import pytest

from heaptop.errors import SourceError
from heaptop.model import Event, EventKind, Gap
from heaptop.tui.event_log import EventLog
from heaptop.tui.watcher import EVENTS_MAX, Ended, Happened, Seen, Told, Watcher, Watching
from tests.happenings import ALLOC, CMA_FAIL, FREE, FakeSource
from tests.tui.stage import PATIENCE_S


class Story:
    """A watcher, and what it tells."""

    def __init__(self, source: FakeSource) -> None:
        self.told: Queue[Told] = Queue()
        self.learnt: list[Event] = []
        self.watcher = Watcher(lambda: source, self.told.put, self.learnt.extend)

    def next(self) -> Told:
        return self.told.get(timeout=PATIENCE_S)

    def until(self, holds: Callable[[EventLog], object]) -> EventLog:
        log = EventLog()
        while not holds(log):
            log.take(self.next())
        return log


def test_all_is_told_in_turn_and_given_back() -> None:
    source = FakeSource([ALLOC], [FREE, CMA_FAIL], gaps=[Gap("frees", "nobody looks", "look")])
    source.last_words = (FREE,)
    story = Story(source)
    story.watcher.start()
    assert story.next() == Watching(("fake()",), ("frees: nobody looks; look",))
    log = story.until(lambda log: log.counts.total() == 3)
    assert [(seen.number, seen.event) for seen in log.shown] == [(1, ALLOC), (2, FREE), (3, CMA_FAIL)]
    failed = log.shown[2]
    assert failed.area is not None
    assert (failed.area.used_pages, failed.after_s) == (768, 0.0021)
    assert log.shown[0].area is None
    story.watcher.stop(PATIENCE_S)
    assert source.stopped == 1
    ended = story.until(lambda log: log.is_over)
    assert [seen.event for seen in ended.shown] == [FREE], "what came until the end"
    assert story.learnt == [ALLOC, FREE, CMA_FAIL, FREE]
    story.watcher.stop()


def test_costs_are_told_without_events() -> None:
    story = Story(FakeSource())
    story.watcher.start()
    log = story.until(lambda log: log.last is not None)
    assert log.last is not None
    assert (log.last.newest, log.last.kernel_s) == ((), 0.001)
    assert log.last.own_s >= 0
    story.watcher.stop()


@pytest.mark.parametrize("where", ["open", "start", "read"])
def test_an_error_ends_it(where: str) -> None:
    source = FakeSource(SourceError("the emulator", "gone"))
    error = SourceError("events", "denied", "be root")

    def fail() -> FakeSource:
        raise error

    story = Story(source)
    if where == "open":
        story.watcher = Watcher(fail, story.told.put)
    elif where == "start":
        source.start = fail  # type: ignore[assignment,method-assign]
    story.watcher.start()
    log = story.until(lambda log: log.is_over)
    assert log.error == ("the emulator: gone" if where == "read" else "events: denied; be root")
    story.watcher.stop(PATIENCE_S)
    assert source.stopped == (where == "read")


@pytest.mark.parametrize("error", [CancelledError(), ValueError("a bug")])
def test_who_is_asked_may_be_gone_and_a_bug_is_told(error: Exception) -> None:
    story = Story(FakeSource(error))
    story.watcher.start()
    told = story.next()
    while not isinstance(told, Ended):
        told = story.next()
    assert told.error is None
    assert (told.bug is error) == isinstance(error, ValueError)


def happened(*numbers: int) -> Happened:
    counts = {EventKind.ALLOC: max(numbers)}
    newest = tuple(Seen(number, ALLOC) for number in numbers)
    return Happened(newest, EventLog().counts + type(EventLog().counts)(counts), 0, 0.0, None, 1.0)


def numbers(shown: Sequence[Seen]) -> list[int]:
    return [seen.number for seen in shown]


def test_a_log_that_is_held_stands_still() -> None:
    log = EventLog()
    log.take(happened(1, 2))
    log.hold(still=True)
    log.take(happened(3))
    assert (numbers(log.shown), log.newer) == ([1, 2], 1)
    log.hold(still=False)
    assert (numbers(log.shown), log.newer) == ([1, 2, 3], 0)


def test_a_log_keeps_the_newest() -> None:
    log = EventLog()
    log.take(happened(*range(1, EVENTS_MAX + 2)))
    assert numbers(log.shown)[0] == 2
    assert len(log.shown) == EVENTS_MAX
