"""The emulator's events, through the whole way."""

import os

import pytest

from heaptop.backend.emulated import EmulatedBackend
from heaptop.backend.reach import OwnEmulator
from heaptop.capture import Capture
from heaptop.errors import AllocationError, SourceError
from heaptop.model import CmaReason, Event, EventKind
from heaptop.trace.feed import FeedEvents

WAIT_S = 10.0


@pytest.fixture
def backend() -> EmulatedBackend:
    return EmulatedBackend(OwnEmulator("steady"))


def no_capture() -> Capture:
    raise AssertionError("nobody asked for it")


def mine(events: tuple[Event, ...], inode: int) -> list[Event]:
    return [event for event in events if event.inode == inode]


def collect(source: FeedEvents, inode: int, kind: EventKind) -> list[Event]:
    """Events of one buffer, up to one of `kind`."""
    found: list[Event] = []
    while not any(event.kind == kind for event in found):
        events = source.read(WAIT_S)
        assert events
        found += mine(events, inode)
    return found


def read_to_the_end(source: FeedEvents) -> None:
    while True:
        source.read(WAIT_S)


def test_an_allocation_and_its_release(backend: EmulatedBackend) -> None:
    source = FeedEvents(backend.subscribe, backend.capture)
    source.start()
    try:
        given = backend.allocate("reserved", 5000)
        os.close(given.fd)
        alloc, free = collect(source, given.inode, EventKind.FREE)
        assert (alloc.kind, alloc.size_bytes, alloc.exporter, alloc.pid) == (
            EventKind.ALLOC,
            8192,
            "reserved",
            os.getpid(),
        )
        assert alloc.latency_s is not None
        assert alloc.pfn is not None
        assert alloc.comm
        assert (free.size_bytes, free.exporter, free.pid) == (8192, "reserved", None)
        assert source.lost == 0
    finally:
        source.stop()
        source.stop()
        backend.close()


def test_a_failure_has_its_reason(backend: EmulatedBackend) -> None:
    source = FeedEvents(backend.subscribe, backend.capture)
    source.start()
    try:
        with pytest.raises(AllocationError):
            backend.allocate("camera", 64 << 20)
        failures: list[Event] = []
        while len(failures) < 2:
            failures += [event for event in source.read(WAIT_S) if event.errno or event.reason]
        area, refusal = failures
        look = source.look(area)
        assert look is not None
        assert look.after_s >= 0
        assert "sys/kernel/debug/cma/camera/count" in look.capture.files
        assert source.look(refusal) is None
        assert (area.kind, area.area, area.reason) == (EventKind.CMA_FAIL, "camera", CmaReason.NO_RUN)
        assert (refusal.kind, refusal.errno, refusal.size_bytes) == (EventKind.ALLOC_FAIL, 12, 64 << 20)
    finally:
        source.stop()
        backend.close()


def test_the_emulator_ends(backend: EmulatedBackend) -> None:
    source = FeedEvents(backend.subscribe, backend.capture)
    source.start()
    backend.close()
    with pytest.raises(SourceError, match="ended"):
        read_to_the_end(source)
    source.stop()
    with pytest.raises(SourceError):
        source.start()


def test_lines_in_pieces_and_what_was_lost() -> None:
    read_end, write_end = os.pipe()
    source = FeedEvents(lambda: read_end, no_capture)
    source.start()
    os.write(write_end, b'{"kind": "free", "time": 1.5, "lost": 3, "ino')
    assert source.read(WAIT_S) == ()
    os.write(write_end, b'de": 62}\n')
    assert source.read(WAIT_S) == (Event(EventKind.FREE, 1.5, inode=62),)
    assert source.lost == 3
    assert source.read(0) == ()
    os.close(write_end)
    source.stop()
