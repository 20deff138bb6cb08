"""A source of live events that tells what the test puts into it."""

from collections.abc import Sequence
from queue import Empty, Queue

from heaptop.capture import Capture
from heaptop.model import CmaReason, Event, EventKind, Gap
from heaptop.trace.base import Look

ALLOC = Event(EventKind.ALLOC, 1_700_000_000.25, 812, 815, "cam[/x]\x1b[1m", 8 << 20, 39, "system", 41.2e-6)
PLACED = Event(EventKind.ALLOC, 1_700_000_001, 700, 700, "codec", 1 << 20, 62, "reserved", 3.07e-3, pfn=0x5BE00)
FREE = Event(EventKind.FREE, 1_700_000_002.5, 1, 1, "init", 4096, 3, "drm")
REFUSED = Event(EventKind.ALLOC_FAIL, 1_700_000_003, 812, 812, "cam", 40 << 20, errno=12, latency_s=0.5)
CMA_FAIL = Event(
    EventKind.CMA_FAIL,
    1_700_000_003,
    812,
    812,
    "cam",
    40 << 20,
    area="reserved",
    align_order=8,
    reason=CmaReason.NO_RUN,
    errno=12,
)
_FILES = {
    "count": b"1024\n",
    "used": b"768\n",
    "maxchunk": b"256\n",
    "order_per_bit": b"0\n",
    "base_pfn": f"{0x5BE00}\n".encode(),
    "bitmap": b" ".join([b"4294967295"] * 24 + [b"0"] * 8) + b"\n",
}
LOOK = Look(Capture("kernel", None, {f"sys/kernel/debug/cma/reserved/{n}": _FILES[n] for n in _FILES}, {}, ()), 0.0021)


class FakeSource:
    """Tells each batch that is put, raises each error that is put. `started` and `stopped` count."""

    watched = ("fake()",)

    def __init__(self, *batches: Sequence[Event] | Exception, gaps: Sequence[Gap] = ()) -> None:
        self.batches: Queue[Sequence[Event] | Exception] = Queue()
        for batch in batches:
            self.batches.put(batch)
        self.gaps = tuple(gaps)
        self.lost = 0
        self.started = self.stopped = 0
        self.last_words: tuple[Event, ...] = ()
        self.own_share: float | None = 0.001

    def start(self) -> None:
        self.started += 1

    def read(self, timeout_s: float) -> tuple[Event, ...]:
        try:
            batch = self.batches.get(timeout=timeout_s)
        except Empty:
            return ()
        if isinstance(batch, Exception):
            raise batch
        return tuple(batch)

    def look(self, event: Event) -> Look | None:
        return LOOK if event is CMA_FAIL else None

    def finish(self) -> tuple[Event, ...]:
        return self.last_words

    def kernel_s(self) -> float | None:
        return self.own_share

    def stop(self) -> None:
        self.stopped += 1
