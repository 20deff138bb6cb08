import errno
import os
import threading
from typing import Any

import pytest
from textual.pilot import Pilot
from textual.widgets import Button, Checkbox, Input, Select

from heaptop.model import Heap, Snapshot
from heaptop.tui.app import HeaptopApp
from heaptop.tui.views.lab import LabView
from tests.tui.stage import MIB, FakeAllocator, FakeBackend, area, ready, said, snapshot, staged, until, update

WIDE, NARROW = (120, 40), (80, 24)


def seen() -> Snapshot:
    heaps = [Heap("reserved", "reserved", 0, 0, "reserved"), Heap("system", "system", 0, 0, None)]
    return snapshot(heaps=heaps, cma=[area()])


def app(backend: FakeBackend) -> HeaptopApp:
    return staged(update(seen()), backend=backend)


def label(app: HeaptopApp) -> str:
    return str(app.query_one("#lab-go", Button).label)


async def lab(pilot: Pilot[int], *keys: str) -> HeaptopApp:
    """The Lab, its heaps known, then these keys."""
    on = await ready(pilot, "6")
    await until(pilot, lambda: isinstance(on.query_one("#lab-heap", Select).value, str))
    await pilot.press(*keys)
    await pilot.pause()
    return on


def view_of(app: HeaptopApp) -> LabView:
    view = app.view
    assert isinstance(view, LabView)
    return view


def is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


async def test_enter_allocates_and_says_what_it_got() -> None:
    backend = FakeAllocator()
    async with app(backend).run_test(size=WIDE) as pilot:
        on = await lab(pilot, "enter")
        await until(pilot, lambda: len(on.held) == 1)
        assert backend.requests == [("system", 4 * MIB, None)]
        assert said(on, "#lab-log") == "22:13:20 + inode 101: 4.00 MiB of system in 123 µs"
        assert view_of(on).status_text() == "1 held, 4.00 MiB"
        assert 101 in on.held
        row = view_of(on).table.render_line(1).text
        assert row.split() == ["*", "101", "4.00", "MiB", "system", "(unnamed)", "123", "µs", "0", "s"]


async def test_the_form_is_filled_in_by_keys() -> None:
    backend = FakeAllocator()
    async with app(backend).run_test(size=WIDE) as pilot:
        on = await lab(pilot, "a", *"8K", "tab", "3", "tab", *"cam", "enter")
        await until(pilot, lambda: len(on.held) == 3)
        assert backend.requests == [("system", 8192, b"cam")] * 3
        assert label(on) == "Allocate"


async def test_a_buffer_is_filled() -> None:
    backend = FakeAllocator()
    async with app(backend).run_test(size=WIDE) as pilot:
        on = await lab(pilot, "a", *"8K")
        on.query_one("#lab-pattern", Select).value = "counting"
        await pilot.press("enter")
        await until(pilot, lambda: len(on.held) == 1)
        assert os.pread(backend.fds[0], 4, 4096) == (1024).to_bytes(4, "little")


async def test_free_one_and_free_all() -> None:
    backend = FakeAllocator()
    async with app(backend).run_test(size=WIDE) as pilot:
        on = await lab(pilot, "a", *"4K", "tab", "3", "enter")
        await until(pilot, lambda: len(on.held) == 3)
        await pilot.press("escape", "down", "f")
        await pilot.pause()
        assert [is_open(fd) for fd in backend.fds] == [True, False, True]
        assert said(on, "#lab-log").startswith("22:13:20 - inode 102 is free\n")
        await pilot.press("F")
        await pilot.pause()
        assert not any(is_open(fd) for fd in backend.fds)
        assert said(on, "#lab-log").startswith("22:13:20 - 2 buffers freed\n")
        assert view_of(on).table.rows == []


@pytest.mark.parametrize("number", [errno.ENOMEM, errno.EINVAL, errno.EMFILE, errno.ENOTTY, errno.EINTR])
async def test_a_refusal_is_named_and_what_was_given_stays(number: int) -> None:
    backend = FakeAllocator(errno=number, allowed=2)
    async with app(backend).run_test(size=WIDE) as pilot:
        on = await lab(pilot, "a", *"4K", "tab", "5", "enter")
        await until(pilot, lambda: errno.errorcode[number] in said(on, "#lab-log"))
        log = said(on, "#lab-log").splitlines()
        assert log[0] == f"22:13:20 ! 4.00 KiB of system: {errno.errorcode[number]} ({os.strerror(number)})"
        assert log[1].strip().startswith("2 of 5 given; ")
        assert len(on.held) == 2
        assert len(backend.requests) == 3, "it stops at the first refusal"
        await until(pilot, lambda: label(on) == "Allocate")


async def test_cma_refusal_tells_the_largest_hole() -> None:
    async with app(FakeAllocator(("reserved",), errno.ENOMEM)).run_test(size=WIDE) as pilot:
        on = await lab(pilot, "a", *"2M", "enter")
        await until(pilot, lambda: "ENOMEM" in said(on, "#lab-log"))
        assert "no run of 512 free pages at this alignment, the largest is 256" in said(on, "#lab-log")


@pytest.mark.parametrize(
    ("size", "why"), [("0", "refuses 0"), ("-4M", "not a size"), ("12Q", "not a size"), ("600M", "more than half")]
)
async def test_a_wrong_size_is_told_at_once_and_never_asked(size: str, why: str) -> None:
    backend = FakeAllocator()
    async with app(backend).run_test(size=WIDE) as pilot:
        on = await lab(pilot)
        on.query_one("#lab-size", Input).value = size
        await pilot.pause()
        assert why in said(on, "#lab-wrong")
        await pilot.press("enter")
        await pilot.pause()
        assert backend.requests == []


async def test_force_asks_all_the_same() -> None:
    backend = FakeAllocator()
    async with app(backend).run_test(size=WIDE) as pilot:
        on = await lab(pilot)
        on.query_one("#lab-size", Input).value = "600M"
        on.query_one("#lab-force", Checkbox).value = True
        await pilot.pause()
        assert said(on, "#lab-wrong") == ""
        await pilot.press("enter")
        await until(pilot, lambda: len(on.held) == 1)


async def test_a_long_order_can_be_stopped_and_gives_back_what_it_was_about_to_give() -> None:
    backend = FakeAllocator(allowed=70)
    backend.gate = threading.Event()
    async with app(backend).run_test(size=WIDE) as pilot:
        on = await lab(pilot, "a", *"4K", "tab", *"1000", "enter")
        await until(pilot, lambda: len(backend.requests) == 71)
        held = len(on.held)
        assert 20 < held <= 50
        assert label(on) == f"Stop ({held} of 1000)"
        await pilot.press("enter")
        await until(pilot, lambda: label(on) == "Allocate")
        backend.gate.set()
        await until(pilot, lambda: sum(map(is_open, backend.fds)) == held)
        assert len(on.held) == held
        assert f"{held} buffers of 4.00 KiB of system: inodes 101 to {100 + held}" in said(on, "#lab-log")


async def test_what_is_given_while_the_app_ends_is_given_back() -> None:
    backend = FakeAllocator()
    backend.gate = threading.Event()
    async with app(backend).run_test(size=WIDE) as pilot:
        on = await lab(pilot, "enter")
        await until(pilot, lambda: backend.requests)
    backend.gate.set()
    on.poller.close()
    assert not any(is_open(fd) for fd in backend.fds)


async def test_hostile_heap_names_can_be_chosen() -> None:
    backend = FakeAllocator(("[/x]", "a,b\n"))
    async with app(backend).run_test(size=WIDE) as pilot:
        on = await lab(pilot)
        on.query_one("#lab-heap", Select).value = "a,b\n"
        await pilot.press("enter")
        await until(pilot, lambda: len(on.held) == 1)
        assert backend.requests[0][0] == "a,b\n"
        assert "a,b\\n" in said(on, "#lab-log")


async def test_no_heap_is_no_order() -> None:
    backend = FakeAllocator(())
    async with app(backend).run_test(size=WIDE) as pilot:
        await ready(pilot, "6", "enter", "f", "F")
        assert backend.requests == []


@pytest.mark.parametrize(
    "stage", [staged(update(seen())), staged(update(seen()), backend=FakeAllocator(), readonly=True)]
)
async def test_no_lab_where_nothing_can_be_allocated(stage: HeaptopApp) -> None:
    async with stage.run_test(size=WIDE) as pilot:
        on = await ready(pilot, "6", "a")
        assert not isinstance(on.view, LabView)
        assert "6 Lab" not in on.query_one("#tabs").render_line(0).text


async def test_what_is_held_is_marked_in_the_list() -> None:
    async with app(FakeAllocator()).run_test(size=WIDE) as pilot:
        on = await lab(pilot)
        table = view_of(on).table
        assert "no test buffer is held" in table.render_line(2).text
        assert said(on, "#lab-hint").endswith("all are given back when it ends.")


async def test_it_fits_any_screen() -> None:
    async with app(FakeAllocator()).run_test(size=WIDE) as pilot:
        await lab(pilot, "enter")
        for size in ((60, 20), (40, 10), (41, 11), (20, 5), (200, 60)):
            await pilot.resize_terminal(*size)
            await pilot.pause()


async def filled(pilot: Pilot[int]) -> None:
    on = await lab(pilot, "a", *"1M", "tab", "5", "tab", *"cam-raw", "enter")
    await until(pilot, lambda: "ENOMEM" in said(on, "#lab-log"))
    await pilot.press("escape", "down")


def test_lab_at_80x24(snap_compare: Any) -> None:
    stage = app(FakeAllocator(("reserved", "system"), errno.ENOMEM, allowed=3))
    assert snap_compare(stage, terminal_size=NARROW, run_before=filled)


def test_lab_at_120x40(snap_compare: Any) -> None:
    stage = app(FakeAllocator(("reserved", "system"), errno.ENOMEM, allowed=3))
    assert snap_compare(stage, terminal_size=WIDE, run_before=filled)
