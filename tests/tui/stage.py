"""A stage for views: the real app over a backend that allocates from memory, and a session that plays given updates."""

import os
import threading
import time
from collections.abc import Callable, Sequence

from textual.pilot import Pilot
from textual.widgets import Static

from heaptop.analysis.diff import diff
from heaptop.analysis.history import History
from heaptop.analysis.occupancy import runs
from heaptop.backend.base import Allocation
from heaptop.capture import Capture
from heaptop.errors import AllocationError
from heaptop.model import Buffer, CmaArea, CmaRange, ExporterTotal, Gap, Heap, Memory, Process, Snapshot
from heaptop.session import Cost, Session, Update
from heaptop.tui.app import HeaptopApp
from heaptop.tui.poller import Poller
from heaptop.tui.widgets.line import Line

KIB = 1 << 10
MIB = 1 << 20
NOON = 1_700_000_000.0
PATIENCE_S = 30.0
"""How long `until` waits: much longer than anything takes, as test machines are busy."""


class FakeBackend:
    """A source that shows nothing and cannot allocate."""

    source = "fake"

    def capture(self) -> Capture:
        return Capture(self.source, NOON, {}, {}, ())

    def close(self) -> None:
        pass


class FakeAllocator(FakeBackend):
    """A source whose heaps give memfds, or refuse with `errno` once `allowed` buffers are out.

    With a `gate` the call after those waits for it.
    """

    def __init__(self, heaps: Sequence[str] = ("system", "reserved"), errno: int = 0, allowed: int = 0) -> None:
        self.heap_names = tuple(heaps)
        self.errno = errno
        self.allowed = allowed
        self.requests: list[tuple[str, int, bytes | None]] = []
        self.fds: list[int] = []
        self.gate: threading.Event | None = None

    def heaps(self) -> Sequence[str]:
        return self.heap_names

    def allocate(self, heap: str, size_bytes: int, name: bytes | None = None) -> Allocation:
        self.requests.append((heap, size_bytes, name))
        if self.gate is not None and len(self.requests) > self.allowed:
            self.gate.wait()
        if self.errno and len(self.requests) > self.allowed:
            raise AllocationError(f"heap {heap}: allocating {size_bytes} bytes", self.errno)
        fd = os.memfd_create("stage", os.MFD_CLOEXEC)
        os.ftruncate(fd, size_bytes)
        self.fds.append(fd)
        return Allocation(fd, heap, 100 + len(self.requests), size_bytes, name, 0.000123)


def snapshot(
    *,
    heaps: Sequence[Heap] = (),
    exporters: Sequence[ExporterTotal] = (),
    buffers: Sequence[Buffer] = (),
    processes: Sequence[Process] = (),
    cma: Sequence[CmaArea] = (),
    gaps: Sequence[Gap] = (),
    memory: Memory | None = None,
) -> Snapshot:
    return Snapshot(
        source="fake",
        kernel="6.12.0",
        boot_id="boot",
        captured_at=NOON,
        page_bytes=4096,
        gaps=tuple(gaps),
        heaps=tuple(heaps),
        exporters=tuple(exporters),
        buffers=tuple(buffers),
        processes=tuple(processes),
        cma=tuple(cma),
        memory=memory or Memory(total_bytes=4096 * MIB, available_bytes=1024 * MIB),
    )


def update(
    of: Snapshot,
    trends: dict[str, tuple[int, ...]] | None = None,
    exporter_trends: dict[str | None, tuple[int, ...]] | None = None,
) -> Update:
    history = History(
        first_seen={buffer.inode: NOON - 65 for buffer in of.buffers},
        gone={},
        last_holders={},
        growth_bytes={},
        heap_trend_bytes=trends or {},
        process_trend_bytes={},
        total_trend_bytes=(),
        exporter_trend_bytes=exporter_trends or {},
    )
    return Update(of, diff(of, of), None, history, Cost(0.0021, 0.001, 0.008), 1)


def area(
    used: Sequence[tuple[int, int]] = ((0, 64), (128, 8), (512, 300)),
    *,
    name: str = "reserved",
    base_pfn: int | None = 0x5BE00,
    count_pages: int = 1024,
    order_per_bit: int = 0,
    readable: bool = True,
) -> CmaArea:
    """An area of one range; `used` are (first bit, bits)."""
    bits = sum(((1 << count) - 1) << first for first, count in used)
    count_bits = count_pages >> order_per_bit
    bitmap = bits.to_bytes((count_bits + 7) // 8, "little")
    free = max((run.count_bits for run in runs(bitmap, count_bits) if not run.used), default=0)
    part = CmaRange(base_pfn, count_pages, bitmap if readable else None)
    return CmaArea(name, count_pages, order_per_bit, bits.bit_count() << order_per_bit, free << order_per_bit, (part,))


class PlayedSession(Session):
    """Plays updates in order and stays on the last one."""

    def __init__(self, backend: FakeBackend, updates: Sequence[Update]) -> None:
        super().__init__(backend, lambda: NOON)
        self._updates = list(updates)

    def refresh(self, ahead: tuple[Capture, float] | None = None) -> Update:
        return self._updates.pop(0) if len(self._updates) > 1 else self._updates[0]


def staged(
    *updates: Update, backend: FakeBackend | None = None, readonly: bool = False, theme: str | None = None
) -> HeaptopApp:
    """The app on these updates: the first is shown at once, each F5 shows the next."""
    backend = backend or FakeBackend()
    poller = Poller(backend, None, lambda: NOON, session=PlayedSession(backend, updates))
    return HeaptopApp(backend, interval_s=None, readonly=readonly, theme=theme, poller=poller, clock=lambda: NOON)


async def until(pilot: Pilot[int], condition: Callable[[], object]) -> None:
    """Let the app go on until this holds; fails where it never does."""
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        await pilot.pause()
        if condition():
            return
        await pilot.pause(0.01)
    raise AssertionError("what was waited for never came")


async def standing(pilot: Pilot[int]) -> HeaptopApp:
    """The app with all its parts mounted, whether or not a first update has come."""
    app = pilot.app
    assert isinstance(app, HeaptopApp)
    await until(pilot, lambda: all(app.screen_stack[0].query(f"#{name}") for name in ("header", "footer", "tiny")))
    return app


async def ready(pilot: Pilot[int], *keys: str) -> HeaptopApp:
    """The app with its first update drawn, then these keys."""
    app = await standing(pilot)
    await until(pilot, lambda: app.update is not None)
    await pilot.press(*keys)
    await pilot.pause()
    return app


def said(app: HeaptopApp, selector: str) -> str:
    """What a Static says."""
    return str(app.query_one(selector, Static).render())


def line(app: HeaptopApp, name: str) -> str:
    """The text of one of the shell's lines."""
    return app.screen_stack[0].query_one(f"#{name}", Line).text


def notices(app: HeaptopApp) -> list[str]:
    """What the app has said."""
    return [notice.message for notice in app._notifications]
