import errno
from dataclasses import replace

import pytest

from heaptop.backend.base import Allocation
from heaptop.errors import AllocationError, UsageError
from heaptop.model import Heap, Memory
from heaptop.tui.renderables import lab
from heaptop.tui.renderables.details import Line
from heaptop.tui.renderables.lab import Form, Order
from heaptop.tui.renderables.table import fit_spans
from tests.tui.stage import KIB, MIB, area, snapshot

FORM = Form(heap="system", size="4M", count="2", name="", pattern="none")
SEEN = snapshot(
    heaps=(Heap("reserved", "reserved", 0, 0, "reserved"), Heap("system", "system", 0, 0, None)), cma=(area(),)
)


def text(lines: list[Line]) -> list[str]:
    return ["".join(part for part, _ in line) for line in lines]


def test_an_order() -> None:
    assert lab.order_of(FORM, SEEN) == Order("system", 4 * MIB, 2, None, None)
    order = lab.order_of(replace(FORM, name="cam", pattern="ff", count=" 10 "), SEEN)
    assert (order.name, order.count) == (b"cam", 10)
    assert order.pattern is not None
    assert order.pattern.bytes_at(0, 2) == b"\xff\xff"


@pytest.mark.parametrize("pattern", lab.PATTERNS)
def test_every_pattern_offered_is_known(pattern: str) -> None:
    order = lab.order_of(replace(FORM, pattern=pattern), SEEN)
    assert (order.pattern is None) == (pattern == "none")


@pytest.mark.parametrize(
    ("form", "why"),
    [
        (replace(FORM, heap=None), "heap: none is chosen"),
        (replace(FORM, size="0"), "refuses 0"),
        (replace(FORM, size="-4M"), "not a size"),
        (replace(FORM, size="12Q"), "not a size"),
        (replace(FORM, size=""), "not a size"),
        (replace(FORM, size="17E"), "more than a heap"),
        (replace(FORM, count="0"), "from 1 to 1000"),
        (replace(FORM, count="-1"), "from 1 to 1000"),
        (replace(FORM, count="1001"), "from 1 to 1000"),
        (replace(FORM, count="²"), "from 1 to 1000"),
        (replace(FORM, count="9" * 5000), "from 1 to 1000"),
        (replace(FORM, name="x" * 32), "32 bytes; the kernel takes 31"),
        (replace(FORM, name="ä" * 16), "32 bytes; the kernel takes 31"),
        (replace(FORM, size="600M", count="1"), "more than half"),
        (replace(FORM, size="300M", count="2"), "more than half"),
    ],
)
def test_a_wrong_form_says_why(form: Form, why: str) -> None:
    with pytest.raises(UsageError, match=why):
        lab.order_of(form, SEEN)


def test_force_takes_all() -> None:
    assert lab.order_of(replace(FORM, size="600M", force=True), SEEN).size_bytes == 600 * MIB
    unknown = snapshot(memory=Memory())
    with pytest.raises(UsageError, match=r"not known.*tick Force"):
        lab.order_of(FORM, unknown)
    assert lab.order_of(replace(FORM, force=True), unknown).count == 2


def refused(number: int, heap: str = "system", size_bytes: int = 4 * MIB, count: int = 1, done: int = 0) -> list[str]:
    order = Order(heap, size_bytes, count, None, None)
    return text(lab.failure_lines("14:02:11", AllocationError("x", number), order, done, SEEN))


def test_refusal_tells_errno_meaning_and_remedy() -> None:
    assert refused(errno.EMFILE) == [
        "14:02:11 ! 4.00 MiB of system: EMFILE (Too many open files)",
        "           heaptop has no file descriptor left",
        "           → free some, or raise ulimit -n",
    ]


def test_refusal_by_a_cma_heap_tells_the_largest_hole() -> None:
    assert refused(errno.ENOMEM, "reserved", 2 * MIB, 3, 1)[1] == (
        "           1 of 3 given; no run of 512 free pages at this alignment, the largest is 256"
    )
    assert refused(errno.EBUSY, "reserved", 4 * KIB)[1].strip() == "there is room, but pages in the way are pinned"
    assert refused(errno.ENOMEM, "system")[1].strip() == "the heap has no such memory left"


def test_refusal_without_a_meaning_is_one_line() -> None:
    assert refused(errno.EXDEV) == ["14:02:11 ! 4.00 MiB of system: EXDEV (Invalid cross-device link)"]


def test_the_backends_remedy_goes_first() -> None:
    error = AllocationError("x", errno.EACCES, "add yourself to the group video")
    assert lab.meaning(error, Order("system", 1, 1, None, None), None)[1] == "add yourself to the group video"


@pytest.mark.parametrize(
    ("latency_s", "said"),
    [
        (0.0, "0 µs"),
        (0.000123, "123 µs"),
        (0.0045, "4.50 ms"),
        (0.01422, "14.2 ms"),
        (0.2, "200 ms"),
        (0.99951, "1.00 s"),
        (61.0, "61.0 s"),
    ],
)
def test_latency(latency_s: float, said: str) -> None:
    assert lab.latency_text(latency_s) == said


def test_rows() -> None:
    row = lab.HeldRow(Allocation(3, "system", 78, 64 * MIB, b"fb\xff\n0", 0.0021), 131.0)
    cells = ["".join(part for part, _ in fit_spans(column.cell(row, 12), 12, column.align)) for column in lab.COLUMNS]
    assert [cell.strip() for cell in cells] == ["*", "78", "64.0 MiB", "system", "fb\\xff\\n0", "2.10 ms", "2:11"]
    assert lab.held_text(()) == ""
    assert lab.held_text([row.allocation, row.allocation]) == "2 held, 128 MiB"
    assert text(lab.success_lines("14:02:11", [row.allocation])) == [
        "14:02:11 + inode 78 fb\udcff\n0: 64.0 MiB of system in 2.10 ms"
    ]


def test_many_given_are_told_in_one_line() -> None:
    given = [Allocation(3, "system", 100 + n, 4 * KIB, None, 0.0001) for n in range(9)]
    assert text(lab.success_lines("14:02:11", given)) == [
        "14:02:11 + 9 buffers of 4.00 KiB of system: inodes 100 to 108, 100 µs each"
    ]
    assert len(lab.success_lines("14:02:11", given[:8])) == 8
    assert "inode 107:" in text(lab.success_lines("14:02:11", given[:8]))[0]
