"""The app over the emulator: what the Lab allocates is a real buffer that the next scan finds, and frees."""

from textual.widgets import Input, Select

from heaptop.backend.select import open_backend
from heaptop.tui.app import HeaptopApp
from tests.tui.stage import MIB, ready, said, until


def alive(app: HeaptopApp) -> set[int]:
    assert app.update is not None
    return {buffer.inode for buffer in app.update.snapshot.buffers}


async def test_a_test_buffer_is_seen_and_gone_again() -> None:
    backend = open_backend("emulator:steady").backend
    try:
        app = HeaptopApp(backend, interval_s=0.2)
        async with app.run_test(size=(120, 40)) as pilot:
            await ready(pilot, "6")
            heap = app.query_one("#lab-heap", Select)
            await until(pilot, lambda: isinstance(heap.value, str))
            heap.value = "camera"
            app.query_one("#lab-size", Input).value = "2M"
            await pilot.press("enter")
            await until(pilot, lambda: len(app.held) == 1)
            (mine,) = app.held.allocations
            await until(pilot, lambda: mine.inode in app.buffers)
            assert app.buffers[mine.inode].size_bytes == 2 * MIB
            assert app.buffers[mine.inode].exporter == "camera"
            await pilot.press("F")
            await until(pilot, lambda: mine.inode not in alive(app))
    finally:
        backend.close()


async def test_a_cma_heap_that_is_too_full_says_what_its_largest_hole_is() -> None:
    backend = open_backend("emulator:steady").backend
    try:
        app = HeaptopApp(backend, interval_s=0.2)
        async with app.run_test(size=(120, 40)) as pilot:
            await ready(pilot, "6")
            heap = app.query_one("#lab-heap", Select)
            await until(pilot, lambda: isinstance(heap.value, str))
            heap.value = "camera"
            app.query_one("#lab-size", Input).value = "32M"
            await pilot.press("enter")
            await until(pilot, lambda: "ENOMEM" in said(app, "#lab-log"))
            assert "no run of 8,192 free pages at this alignment, the largest is" in said(app, "#lab-log")
            assert len(app.held) == 0
    finally:
        backend.close()
