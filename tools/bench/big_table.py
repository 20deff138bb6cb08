"""The table of 50,000 buffers: its first frame, and a tick in which one in twenty has changed.

The whole app, without a terminal, on snapshots that are made here and go the usual way: session (diff, history),
poller (indexes), screen. What the screen's thread takes is held to the limits, with all that it does besides; what the
poller's takes is told.
"""

import asyncio
import gc
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import cycle, islice
from statistics import median
from typing import Any, Final, cast

from heaptop.capture import Capture
from heaptop.model import Buffer, FdRef, Holder, Memory, Process, ProcessId, Snapshot
from heaptop.session import Session
from heaptop.tui.app import HeaptopApp
from heaptop.tui.frame import Framer
from heaptop.tui.poller import Poller
from heaptop.tui.tabs import BUFFERS as BUFFERS_VIEW
from heaptop.tui.views.buffers import BuffersView
from tools.bench import cpu
from tools.bench.rows import Row, at_most, plain

TITLE = "The table of 50,000 buffers"
BUFFERS: Final = 50_000
CHANGED: Final = BUFFERS // 20
PROCESSES: Final = 1000
TICKS: Final = 9
SIZE: Final = (120, 40)
NOON: Final = 1_700_000_000.0
PATIENCE_S: Final = 60.0
DRAWN_S: Final = 0.1
"""Within this a screen is drawn that has to be: it is looked after sixty times a second."""


class Source:
    """A source of which nothing is read."""

    source = "bench"

    def capture(self) -> Capture:
        """Nothing."""
        return Capture(self.source, NOON, {}, {}, ())

    def close(self) -> None:
        """Nothing."""


class Looks:
    """Stands where the assembler does: each look finds another twentieth of the buffers changed."""

    def __init__(self) -> None:
        self._holders = [Holder(ProcessId(pid, pid), f"process-{pid}", (FdRef(9),)) for pid in range(PROCESSES)]
        self._buffers = [self._buffer(inode) for inode in range(1, BUFFERS + 1)]
        self._turns = cycle(range(BUFFERS // CHANGED))
        self._taken = 0

    def _buffer(self, inode: int) -> Buffer:
        holder = self._holders[inode % PROCESSES]
        size = 4096 * (inode * 7919 % 5000 + 1)
        return Buffer(inode, size, "system", f"buffer-{inode}", 1, 0, None, None, (holder,), "system")

    def assemble(self, _: Capture) -> Snapshot:
        """One more look."""
        if self._taken:
            first = next(self._turns) * CHANGED
            for index in range(first, first + CHANGED):
                self._buffers[index] = self._changed(self._buffers[index])
        self._taken += 1
        buffers, processes = tuple(self._buffers), tuple(self._processes())
        empty: Mapping[str, Any] = {"gaps": (), "heaps": (), "exporters": (), "cma": ()}
        at = NOON + self._taken
        return Snapshot(
            "bench", "6.12", "boot", at, 4096, buffers=buffers, processes=processes, memory=Memory(), **empty
        )

    def _changed(self, buffer: Buffer) -> Buffer:
        """One more holder, or one again."""
        others = islice(cycle(self._holders), buffer.inode % 100, None)
        holders = buffer.holders[:1] if len(buffer.holders) > 1 else (*buffer.holders, next(others))
        return buffer._replace(holders=holders, file_count=len(holders))

    def _processes(self) -> Iterator[Process]:
        for holder in self._holders:
            yield Process(holder.process, holder.comm, 0, (), "/", 0, 1 << 20, 1 << 20, ())


def rows() -> Iterator[Row]:
    """The first frame, then ticks in an order that stays, and in one that what changes is moved in."""
    gc.collect()
    gc.disable()  # as `heaptop` begins; the app turns it on after its first frame
    try:
        yield from asyncio.run(_measured())
    finally:
        gc.unfreeze()
        gc.enable()


async def _measured() -> Sequence[Row]:
    session = Session(Source(), time.time)
    session._assembler = cast("Any", Looks())  # noqa: SLF001 - nothing else makes snapshots of nothing
    app = HeaptopApp(poller=Poller(Source(), None, session=session))
    async with app.run_test(size=SIZE):
        await _until(lambda: app.view is not None and app.update is not None)
        began, used_s = time.perf_counter(), time.thread_time()
        await app.action_go(BUFFERS_VIEW)
        shown = asyncio.Event()
        app.call_after_refresh(shown.set)
        await shown.wait()
        first_s, first_cpu_s = time.perf_counter() - began, time.thread_time() - used_s
        ticks = {}
        for key in ("size", "fds"):
            cast("BuffersView", app.view).sort_by(key, descending=True)
            ticks[key] = [await _tick_s(app) for _ in range(TICKS)]
    return [
        at_most("its first frame, CPU of the screen's thread", first_cpu_s * 1000, 300, "ms"),
        plain("its first frame, by the clock", first_s * 1000, "ms"),
        at_most("a tick with 5 % changed, by size", median(ticks["size"]) * 1000, 15, "ms"),
        at_most("a tick with 5 % changed, by descriptors: they move", median(ticks["fds"]) * 1000, 15, "ms"),
        plain("indexes for a tick (the poller's thread)", _indexing_ms(), "ms"),
    ]


async def _tick_s(app: HeaptopApp) -> float:
    """CPU of the screen's thread from the wish for a look to all that comes of it."""
    assert app.update is not None
    number, used_s = app.update.number, time.thread_time()
    app.refresh_now()
    await _until(lambda: app.update is not None and app.update.number > number)
    await asyncio.sleep(DRAWN_S)
    return time.thread_time() - used_s


async def _until(condition: Callable[[], bool]) -> None:
    """Look now and then.

    Raises:
        TimeoutError: it does not come true.
    """
    end = time.monotonic() + PATIENCE_S
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError("the app did not show it")
        await asyncio.sleep(0.02)


def _indexing_ms() -> float:
    """What a frame takes to make besides its update."""
    session, framer = Session(Source(), time.time), Framer()
    session._assembler = cast("Any", Looks())  # noqa: SLF001 - see above
    updates = [session.refresh() for _ in range(4)]
    return median([cpu.call(partial(framer.frame, update)) for update in updates][1:])
