"""The Lab's form as an order, what an errno means there, and the rows of its list. No app needed."""

import errno
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from heaptop.analysis.budget import check_budget
from heaptop.analysis.occupancy import fit, heap_align_order
from heaptop.backend.base import Allocation
from heaptop.backend.fill import Pattern, parse_pattern
from heaptop.errors import AllocationError, UsageError, errno_text
from heaptop.model import CmaArea, Snapshot
from heaptop.pattern import pattern
from heaptop.tui.renderables.details import Line
from heaptop.tui.renderables.table import Cell, Column
from heaptop.units import format_age, format_size, parse_size, text_of

NAME_BYTES_MAX: Final = 31
"""DMA_BUF_NAME_LEN less the terminator (uapi/linux/dma-buf.h, 5.3 on)."""
COUNT_MAX: Final = 1000
LINES_EACH_MAX: Final = 8
_COUNT: Final = pattern(r" *[0-9]{1,4} *")
PATTERNS: Final = ("none", "zero", "ff", "counting")
HINT: Final = "heaptop alone holds these test buffers: all are given back when it ends."


@dataclass(frozen=True, slots=True)
class Form:
    """The form as it is typed."""

    heap: str | None
    size: str
    count: str
    name: str
    pattern: str = "none"
    force: bool = False


@dataclass(frozen=True, slots=True)
class Order:
    """What to allocate."""

    heap: str
    size_bytes: int
    count: int
    name: bytes | None
    pattern: Pattern | None


def order_of(form: Form, snapshot: Snapshot) -> Order:
    """The order that a form means.

    Raises:
        UsageError: a field cannot be taken, or it is too much of the memory available and not forced.
    """
    if form.heap is None:
        raise UsageError("heap", "none is chosen")
    try:
        size_bytes = parse_size(form.size)
    except ValueError as error:
        raise UsageError("size", str(error)) from None
    if size_bytes == 0:
        raise UsageError("size", "a heap refuses 0 (EINVAL)", "write bytes or a number with K, M or G, like 4M")
    count = int(form.count) if _COUNT.fullmatch(form.count) else 0
    if not 1 <= count <= COUNT_MAX:
        raise UsageError("count", f"write a whole number from 1 to {COUNT_MAX}")
    name = form.name.encode("utf-8", "surrogateescape")
    if len(name) > NAME_BYTES_MAX:
        raise UsageError("name", f"{len(name)} bytes; the kernel takes {NAME_BYTES_MAX} (DMA_BUF_SET_NAME)")
    if not form.force:
        check_budget(snapshot, size_bytes, count, "tick Force")
    words = {"none": "", "counting": "count"}
    pattern = words.get(form.pattern, form.pattern)
    return Order(form.heap, size_bytes, count, name or None, parse_pattern(pattern) if pattern else None)


_MEANING: Final = {
    errno.EINVAL: ("the heap refuses this size or these flags", "take another size"),
    errno.ENOMEM: ("the heap has no such memory left", "take less, or free some"),
    errno.EMFILE: ("heaptop has no file descriptor left", "free some, or raise ulimit -n"),
    errno.ENFILE: ("the system has no file left to give", "see /proc/sys/fs/file-max"),
    errno.EACCES: ("this user may not open the heap's node", "run as root, or see the node's mode"),
    errno.EPERM: ("the kernel does not let this process do it", "run as root"),
    errno.ENOENT: ("there is no such heap", "choose another"),
    errno.ENODEV: ("the heap's driver is gone", ""),
    errno.ENOTTY: ("the node answers no dma-heap ioctl: it is something else", ""),
    errno.EINTR: ("a signal came in between", "try again"),
    errno.EBUSY: ("there is room, but pages in the way are pinned", "try again, or another size"),
    errno.EFAULT: ("the kernel could not read the request", ""),
}


def meaning(error: AllocationError, order: Order, snapshot: Snapshot | None) -> tuple[str, str]:
    """What the errno says of this order, and the remedy. On a CMA heap ENOMEM and EBUSY tell of the area's holes."""
    text, remedy = _MEANING.get(error.errno, ("", ""))
    area = _area_of(order.heap, snapshot)
    if area is not None and snapshot is not None and error.errno in {errno.ENOMEM, errno.EBUSY}:
        size_pages = -(-order.size_bytes // snapshot.page_bytes)
        found = fit(area, size_pages, heap_align_order(size_pages))
        if found.fits:
            text, remedy = _MEANING[errno.EBUSY]
        elif found.fits is False:
            largest = "" if found.largest_hole_pages is None else f", the largest is {found.largest_hole_pages:,}"
            text = f"no run of {size_pages:,} free pages at this alignment{largest}"
            remedy = _MEANING[errno.ENOMEM][1]
    return text, error.remedy or remedy


def _area_of(heap_name: str, snapshot: Snapshot | None) -> CmaArea | None:
    if snapshot is None:
        return None
    name = next((heap.cma_area for heap in snapshot.heaps if heap.name == heap_name), None)
    return next((area for area in snapshot.cma if area.name == name), None)


def success_lines(at: str, given: Sequence[Allocation]) -> list[Line]:
    """Buffers were given: a line each, the newest first, or one for many."""
    if len(given) > LINES_EACH_MAX:
        first, took_s = given[0], sum(one.latency_s for one in given)
        what = f"{len(given)} buffers of {format_size(first.size_bytes)} of {first.heap}"
        inodes = f"inodes {first.inode} to {given[-1].inode}, {latency_text(took_s / len(given))} each"
        return [((f"{at} ", "dim"), ("+ ", "new"), (f"{what}: {inodes}", ""))]
    return [_success_line(at, one) for one in reversed(given)]


def _success_line(at: str, allocation: Allocation) -> Line:
    size, name = format_size(allocation.size_bytes), allocation.name
    label = f" {text_of(name)}" if name else ""
    text = f"inode {allocation.inode}{label}: {size} of {allocation.heap} in {latency_text(allocation.latency_s)}"
    return ((f"{at} ", "dim"), ("+ ", "new"), (text, ""))


def failure_lines(at: str, error: AllocationError, order: Order, done: int, snapshot: Snapshot | None) -> list[Line]:
    """A heap refused: errno with name and text, what that means, what to do."""
    what = f"{format_size(order.size_bytes)} of {order.heap}: {errno_text(error.errno)}"
    text, remedy = meaning(error, order, snapshot)
    given = f"{done} of {order.count} given" if order.count > 1 else ""
    explained = "; ".join(part for part in (given, text) if part)
    indent = " " * (len(at) + 3)
    lines: list[Line] = [((f"{at} ", "dim"), ("! ", "suspect"), (what, "suspect"))]
    lines += [((indent + explained, ""),)] if explained else []
    return lines + ([((f"{indent}→ {remedy}", "grown"),)] if remedy else [])


def latency_text(latency_s: float) -> str:
    """`123 µs`, `4.50 ms`, `14.2 ms`, `1.20 s`: three digits that matter.

    >>> latency_text(0.000123)
    '123 µs'
    """
    value, unit = (latency_s, "s") if latency_s >= 0.9995 else (latency_s * 1e3, "ms")
    if latency_s < 0.0009995:
        return f"{latency_s * 1e6:.0f} µs"
    return f"{value:.{2 if value < 9.995 else 1 if value < 99.95 else 0}f} {unit}"


@dataclass(frozen=True, slots=True)
class HeldRow:
    """A test buffer in the list."""

    allocation: Allocation
    age_s: float | None


def _cell(text: Callable[[HeldRow], str]) -> Callable[[HeldRow, int], Cell]:
    return lambda row, _width: text(row)


def _name(row: HeldRow) -> str:
    return text_of(row.allocation.name) if row.allocation.name else "(unnamed)"


COLUMNS: Final[tuple[Column[HeldRow], ...]] = (
    Column("own", "", 1, lambda _row, _width: (("*", "own"),), worth=10, sortable=False),
    Column("inode", "Ino", 7, _cell(lambda row: str(row.allocation.inode)), align="right", worth=100, sortable=False),
    Column("size", "Size", 9, _cell(lambda row: format_size(row.allocation.size_bytes)), align="right", sortable=False),
    Column("heap", "Heap", 8, _cell(lambda row: row.allocation.heap), flex=1, width_max=24, worth=30, sortable=False),
    Column("name", "Name", 8, _cell(_name), flex=1, width_max=32, worth=40, sortable=False),
    Column("took", "Took", 9, _cell(lambda row: latency_text(row.allocation.latency_s)), align="right", sortable=False),
    Column("age", "Age", 7, _cell(lambda row: format_age(row.age_s)), align="right", worth=20, sortable=False),
)


def held_text(allocations: Sequence[Allocation]) -> str:
    """`3 held, 12.0 MiB`."""
    if not allocations:
        return ""
    return f"{len(allocations)} held, {format_size(sum(one.size_bytes for one in allocations))}"
