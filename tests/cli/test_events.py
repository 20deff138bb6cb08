"""`heaptop events`: the stream, its end, and who has none."""

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator

import pytest

from heaptop.backend.base import Backend
from heaptop.capture import Capture
from heaptop.cli import events
from heaptop.errors import SourceError
from heaptop.model import CmaReason, Event, EventKind, Gap
from heaptop.trace.base import EventSource, Look
from tests.cli.conftest import FakeBackend, Run, Use

ALLOC = Event(EventKind.ALLOC, 1.5, 812, 815, "cam\x1b[1m", 8192, 62, "system", 41.2e-6)
FREE = Event(EventKind.FREE, 2.5, 1, 1, "init", 4096, 3, "drm")
CMA_FAIL = Event(
    EventKind.CMA_FAIL,
    3.5,
    812,
    812,
    "cam",
    64 << 20,
    area="reserved",
    align_order=8,
    reason=CmaReason.PINNED,
    errno=16,
)
AREA = {"count": b"16384\n", "used": b"4096\n", "maxchunk": b"8192\n", "order_per_bit": b"0\n", "base_pfn": b"256\n"}
LOOK = Look(
    Capture("kernel", None, {f"sys/kernel/debug/cma/reserved/{name}": AREA[name] for name in AREA}, {}, ()), 0.25
)
HEAPTOP = (sys.executable, "-m", "heaptop")


class FakeEvents:
    """Tells `batches`, one at a read; then what `then` does."""

    def __init__(self, *batches: tuple[Event, ...], then: Callable[[], None] = lambda: None, lost: int = 0) -> None:
        self.watched = ("fake()",)
        self.gaps = (Gap("frees", "nobody looks", "look"),)
        self.lost = lost
        self.stopped = 0
        self._batches: Iterator[tuple[Event, ...]] = iter(batches)
        self._then = then

    def start(self) -> None:
        self.stopped = 0

    def read(self, timeout_s: float) -> tuple[Event, ...]:
        assert 0 <= timeout_s <= events.WAIT_S
        batch = next(self._batches, None)
        if batch is None:
            self._then()
        return batch or ()

    def look(self, event: Event) -> Look | None:
        return LOOK if event.kind == EventKind.CMA_FAIL else None

    def finish(self) -> tuple[Event, ...]:
        return tuple(event for batch in self._batches for event in batch)

    def kernel_s(self) -> float | None:
        return 0.0015

    def stop(self) -> None:
        self.stopped += 1


Source = Callable[[FakeEvents], FakeEvents]


@pytest.fixture
def source(monkeypatch: pytest.MonkeyPatch, use: Use) -> Source:
    """A function that puts a source of events behind the verb."""

    def put(fake: FakeEvents) -> FakeEvents:
        def source_of(_backend: Backend, _root: str) -> EventSource:
            return fake

        use(FakeBackend("kernel"))
        monkeypatch.setattr(events, "event_source", source_of)
        return fake

    return put


def interrupt() -> None:
    signal.raise_signal(signal.SIGINT)


def test_text(source: Source, run: Run) -> None:
    fake = source(FakeEvents((ALLOC,), (FREE, CMA_FAIL), then=interrupt))
    ran = run("events")
    assert ran.code == 130
    first, second, third = (line[15:] for line in ran.out.splitlines())
    assert first == r"  alloc       cam\x1b[1m 812/815        inode 62  8.00 KiB of system in 41.2 us"
    assert second == "  free        init 1                    inode 3  4.00 KiB of drm"
    assert third == (
        "  cma_fail    cam 812                   64.0 MiB of CMA area reserved, aligned to order 8: pages pinned (busy)"
        " (48.0 MiB free, the largest hole has 32.0 MiB)"
    )
    note, watching, summary = ran.err.splitlines()
    assert note == "note: frees: nobody looks; look"
    assert watching == "heaptop: watching fake()"
    assert summary.startswith("heaptop: 3 events (1 alloc, 1 free, 1 cma_fail) in 0.0 s, 0 lost; cost: ")
    assert summary.endswith("1.5 ms in those watched")
    assert fake.stopped == 1


def test_json(source: Source, run: Run) -> None:
    source(FakeEvents((ALLOC, FREE, CMA_FAIL), then=interrupt))
    alloc, free, failure = (json.loads(line) for line in run("events", "--json").out.splitlines())
    assert (alloc["event"], alloc["time"], alloc["comm"]) == ("alloc", "1970-01-01T00:00:01.500000Z", "cam\x1b[1m")
    assert (alloc["pid"], alloc["tid"], alloc["latency_s"], alloc["cma"]) == (812, 815, 41.2e-6, None)
    assert (free["inode"], free["latency_s"], free["cma_after_s"]) == (3, None, None)
    assert (failure["reason"], failure["errno"], failure["cma_after_s"]) == ("pages pinned (busy)", 16, 0.25)
    assert (failure["cma"]["used_pages"], failure["cma"]["max_free_run_pages"]) == (4096, 8192)


def test_a_filter(source: Source, run: Run) -> None:
    source(FakeEvents((ALLOC, FREE, CMA_FAIL), then=interrupt))
    assert len(run("events", "--filter", "holder:cam size>1M").out.splitlines()) == 1
    assert run("events", "--filter", "size>").code == 2


def test_what_was_lost_is_told(source: Source, run: Run) -> None:
    source(FakeEvents((ALLOC,), lost=7, then=interrupt))
    err = run("events").err
    assert "note: 7 events are lost" in err
    assert ", 7 lost; cost: " in err


def test_for_a_time(source: Source, run: Run) -> None:
    source(FakeEvents((ALLOC,)))
    ran = run("events", "--for", "1ms")
    assert ran.code == 0
    assert len(ran.out.splitlines()) == 1


def test_everything_is_given_back_after_an_error(source: Source, run: Run) -> None:
    def fail() -> None:
        raise SourceError("the device", "gone")

    fake = source(FakeEvents((ALLOC,), then=fail))
    ran = run("events")
    assert ran.code == 3
    assert "1 event (1 alloc)" in ran.err
    assert fake.stopped == 1


def test_who_has_none(use: Use, run: Run) -> None:
    use(FakeBackend("replay:x"))
    ran = run("events")
    assert ran.code == 2
    assert "replay:x has none" in ran.err
    use(FakeBackend("kernel"))
    assert "/elsewhere has none" in run("events", "--root", "/elsewhere").err


def test_the_emulator_until_interrupted() -> None:
    command = [*HEAPTOP, "-b", "emulator:leak-fd", "events", "--json", "--readonly", "--filter", "holder:mediaserver"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        guard = threading.Timer(60, process.kill)
        guard.start()
        first = json.loads(process.stdout.readline())
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
        guard.cancel()
    assert process.returncode == 130
    assert (first["event"], first["source"], first["exporter"]) == ("alloc", "emulator:leak-fd", "system")
    assert " 0 lost; cost: " in err
