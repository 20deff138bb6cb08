"""From steps to events."""

from collections.abc import Iterable
from itertools import count
from typing import Any

import pytest

from heaptop.model import CmaReason, Event, EventKind
from heaptop.parse.event_record import Step, What
from heaptop.trace.join import PATIENCE_NS, Joiner, Known

ENOMEM, EBUSY = -12, -16


class Story:
    """Steps a microsecond apart, and what a joiner makes of them."""

    def __init__(self, known: dict[int, Known] | None = None) -> None:
        self.joiner = Joiner(1000.0, 4096, known or {})
        self.times = count(1_000, 1_000)

    def tell(self, what: What, tid: int = 7, **fields: Any) -> tuple[Event, ...]:
        values = {"pid": 5, "comm": b"cam\xff", "time_ns": next(self.times), **fields}
        return tuple(self.joiner.feed(Step(what=what, tid=tid, **values)))

    def tell_all(self, *steps: tuple[What, dict[str, Any]], tid: int = 7) -> tuple[Event, ...]:
        return tuple(event for what, fields in steps for event in self.tell(what, tid, **fields))


def shorts(events: Iterable[Event]) -> list[tuple[EventKind, int | None, int | None, str | None]]:
    return [(event.kind, event.inode, event.size_bytes, event.exporter) for event in events]


Steps = tuple[tuple[What, dict[str, Any]], ...]
BY_TRACEPOINT: Steps = ((What.TRACE_EXPORTED, {"inode": 62, "size_bytes": 8192, "exporter": b"system", "result": 0}),)
BY_PROBES: Steps = (
    (What.EXPORTING, {"size_bytes": 8192, "exporter": b"system"}),
    (What.EXPORTED, {"inode": 62, "size_bytes": 8192, "result": 0}),
)
WAYS = pytest.mark.parametrize("export", [BY_TRACEPOINT, BY_PROBES], ids=["tracepoint", "probes"])


@WAYS
def test_an_allocation_waits_for_its_latency(export: Steps) -> None:
    story = Story()
    assert story.tell(What.CALL, size_bytes=5000) == ()
    assert story.tell_all(*export) == ()
    (event,) = story.tell(What.RETURN, result=0)
    assert shorts([event]) == [(EventKind.ALLOC, 62, 8192, "system")]
    assert (event.pid, event.tid, event.comm) == (5, 7, "cam\udcff")
    assert event.latency_s == pytest.approx(1e-6 * (len(export) + 1))
    assert event.time == pytest.approx(1000.0 + 1e-6 * (len(export) + 1))
    assert shorts(story.tell(What.RELEASED, tid=9, inode=62)) == [(EventKind.FREE, 62, 8192, "system")]
    assert shorts(story.tell(What.RELEASED, tid=9, inode=62)) == [(EventKind.FREE, 62, None, None)]


@WAYS
def test_an_exporter_that_is_no_heap_has_no_latency(export: Steps) -> None:
    (event,) = Story().tell_all(*export)
    assert (event.inode, event.latency_s) == (62, None)


def test_an_export_that_fails_is_no_allocation() -> None:
    story = Story()
    assert story.tell_all(BY_PROBES[0], (What.EXPORTED, {"result": ENOMEM})) == ()
    assert story.tell_all(*BY_PROBES) != ()


def test_a_refusal() -> None:
    story = Story()
    story.tell(What.CALL, size_bytes=1 << 40)
    (event,) = story.tell(What.RETURN, result=ENOMEM)
    assert (event.kind, event.size_bytes, event.errno) == (EventKind.ALLOC_FAIL, 1 << 40, 12)
    assert event.latency_s == pytest.approx(1e-6)


def test_threads_do_not_mix() -> None:
    story = Story()
    for tid in (1, 2):
        story.tell(What.CALL, tid, size_bytes=4096)
    for tid in (2, 1):
        story.tell(What.TRACE_EXPORTED, tid, inode=tid, size_bytes=4096, exporter=b"system", result=0)
    assert [event.inode for tid in (1, 2) for event in story.tell(What.RETURN, tid, result=0)] == [1, 2]


def test_known_buffers_are_freed_with_their_size() -> None:
    story = Story({3: Known(4096, "drm")})
    assert shorts(story.tell(What.RELEASED, inode=3)) == [(EventKind.FREE, 3, 4096, "drm")]
    assert shorts(story.tell(What.RELEASED)) == [(EventKind.FREE, None, None, None)]


def test_a_buffer_freed_by_another_thread_during_the_call_was_allocated_before() -> None:
    story = Story()
    story.tell(What.CALL, 1, size_bytes=8192)
    story.tell_all(*BY_TRACEPOINT, tid=1)
    assert [event.kind for event in story.tell(What.RELEASED, 2, inode=62)] == [EventKind.ALLOC, EventKind.FREE]
    assert story.tell(What.RETURN, 1, result=0) == ()


@pytest.mark.parametrize("busy", [False, True])
def test_a_cma_failure(busy: bool) -> None:
    story = Story()
    story.tell(What.CALL, size_bytes=64 << 20)
    if busy:
        story.tell(What.TRACE_CMA_BUSY, area=b"reserved")
        story.tell(What.TRACE_CMA_BUSY, area=b"reserved")
    done: dict[str, Any] = {
        "area": b"reserved",
        "count_pages": 16384,
        "align_order": 8,
        "pfn": 0,
        "result": EBUSY if busy else ENOMEM,
    }
    (event,) = story.tell(What.TRACE_CMA_DONE, **done)
    assert (event.kind, event.area, event.size_bytes, event.align_order) == (
        EventKind.CMA_FAIL,
        "reserved",
        64 << 20,
        8,
    )
    assert event.reason == (CmaReason.PINNED if busy else CmaReason.NO_RUN)
    assert event.errno == (16 if busy else 12)
    (refusal,) = story.tell(What.RETURN, result=ENOMEM)
    assert refusal.kind == EventKind.ALLOC_FAIL


def test_a_cma_buffer_has_its_place() -> None:
    story = Story()
    story.tell(What.CALL, size_bytes=8192)
    story.tell(What.TRACE_CMA_BUSY)
    assert story.tell(What.TRACE_CMA_DONE, area=b"reserved", pfn=376320, count_pages=2, result=0) == ()
    story.tell_all(*BY_TRACEPOINT)
    (event,) = story.tell(What.RETURN, result=0)
    assert event.pfn == 376320


@WAYS
def test_a_return_that_was_missed(export: Steps) -> None:
    story = Story()
    story.tell(What.CALL, size_bytes=8192)
    story.tell_all(*export)
    (event,) = story.tell(What.CALL, size_bytes=4096)
    assert (event.inode, event.latency_s) == (62, None)


def test_the_end_of_an_export_that_was_missed() -> None:
    story = Story()
    story.tell(What.CALL, size_bytes=8192)
    story.tell(BY_PROBES[0][0], **BY_PROBES[0][1])
    (event,) = story.tell(What.RETURN, result=0)
    assert shorts([event]) == [(EventKind.ALLOC, None, 8192, "system")]
    assert event.latency_s is not None
    story.tell(BY_PROBES[0][0], **BY_PROBES[0][1])
    (event,) = story.tell(BY_PROBES[0][0], **BY_PROBES[0][1])
    assert event.inode is None


def test_an_export_whose_end_was_missed_in_a_call_that_fails() -> None:
    story = Story()
    story.tell(What.CALL, size_bytes=8192)
    story.tell(BY_PROBES[0][0], **BY_PROBES[0][1])
    (event,) = story.tell(What.RETURN, result=ENOMEM)
    assert event.kind == EventKind.ALLOC_FAIL


def test_what_waits_too_long_is_told() -> None:
    story = Story()
    story.tell(What.CALL, size_bytes=8192)
    story.tell_all(*BY_TRACEPOINT)
    assert tuple(story.joiner.settle(PATIENCE_NS)) == ()
    (event,) = story.joiner.settle(PATIENCE_NS + 1_000_000)
    assert (event.inode, event.latency_s) == (62, None)
    assert tuple(story.joiner.settle(2 * PATIENCE_NS)) == ()


def test_started_within_a_call() -> None:
    story = Story()
    assert story.tell(What.RETURN, result=ENOMEM) == ()
    assert story.tell(What.RETURN, result=0) == ()
