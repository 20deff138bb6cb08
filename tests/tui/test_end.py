"""However the app ends, everything is given back."""

import asyncio
import os
import signal
import threading
from collections.abc import Callable

import pytest
from textual.pilot import Pilot

from heaptop.backend.base import Allocation
from heaptop.backend.select import Opened
from heaptop.errors import SourceError
from heaptop.tui.app import HeaptopApp
from heaptop.tui.poller import Poller
from heaptop.tui.start import run_app
from tests.tui.feed import playing
from tests.tui.stage import FakeAllocator, FakeBackend, line, ready, standing, until

WIDE = (120, 40)


async def test_the_end_frees_test_buffers_and_closes_the_backend() -> None:
    class Closing(FakeAllocator):
        closed = 0

        def close(self) -> None:
            self.closed += 1

    backend = Closing()
    app = playing(backend=backend)
    async with app.run_test(size=WIDE) as pilot:
        await ready(pilot, "2")
        allocation = backend.allocate("system", 4096)
        app.held.add(allocation)
        await pilot.press("q")
    assert backend.closed >= 1
    assert not is_open(allocation)


def is_open(allocation: Allocation) -> bool:
    try:
        os.fstat(allocation.fd)
    except OSError:
        return False
    return True


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_ends_the_app_and_closes_the_backend(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    closed = threading.Event()

    class Closing(FakeBackend):
        def close(self) -> None:
            closed.set()

    async def run(app: HeaptopApp) -> int | None:
        async with app.run_test() as pilot:
            await ready_then_kill(app, pilot, number)
        return app.return_value

    monkeypatch.setattr(HeaptopApp, "run", lambda app: asyncio.run(run(app)))
    source = Opened(Closing())
    assert run_app(lambda: source, source_name="fake", interval_s=1, readonly=False, filter_text=None, theme=None) == 0
    assert closed.is_set()


async def ready_then_kill(app: HeaptopApp, pilot: Pilot[int], number: int) -> None:
    await pilot.pause()
    os.kill(os.getpid(), number)
    ended: Callable[[], bool] = lambda: app._exit  # noqa: E731
    await until(pilot, ended)


def test_a_source_that_cannot_be_opened_ends_the_app(monkeypatch: pytest.MonkeyPatch) -> None:
    allowed = threading.Event()

    def refuse() -> Opened:
        assert allowed.wait(10)
        raise SourceError("no such device", "it is unplugged", "plug it in")

    async def run(app: HeaptopApp) -> int | None:
        async with app.run_test() as pilot:
            await standing(pilot)
            assert "adb · root" in line(app, "header")
            allowed.set()
            await until(pilot, lambda: app._exit)
        return app.return_value

    monkeypatch.setattr(HeaptopApp, "run", lambda app: asyncio.run(run(app)))
    with pytest.raises(SourceError, match="unplugged"):
        run_app(refuse, source_name="adb", interval_s=1, readonly=False, filter_text=None, theme=None)


def test_a_source_that_opens_after_the_end_is_closed_at_once() -> None:
    closed, allowed = threading.Event(), threading.Event()

    class Closing(FakeBackend):
        def close(self) -> None:
            closed.set()

    def open_late() -> Opened:
        assert allowed.wait(10)
        return Opened(Closing())

    poller = Poller(open_late, 1.0)
    poller.start()
    poller.close(patience_s=0)
    assert not closed.is_set()
    allowed.set()
    assert closed.wait(10)
