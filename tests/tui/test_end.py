"""However the app ends, everything is given back."""

import asyncio
import os
import signal
import threading
from collections.abc import Callable

import pytest
from textual.pilot import Pilot

from heaptop.backend.base import Allocation
from heaptop.tui.app import HeaptopApp
from heaptop.tui.start import run_app
from tests.tui.feed import playing
from tests.tui.stage import FakeAllocator, FakeBackend, ready, until

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
    assert run_app(Closing(), note="", interval_s=1, readonly=False, filter_text=None, theme=None) == 0
    assert closed.is_set()


async def ready_then_kill(app: HeaptopApp, pilot: Pilot[int], number: int) -> None:
    await pilot.pause()
    os.kill(os.getpid(), number)
    ended: Callable[[], bool] = lambda: app._exit  # noqa: E731
    await until(pilot, ended)
