"""What a live event tells: in words, and to a filter."""

from typing import Final

from heaptop.errors import errno_text
from heaptop.model import Buffer, CmaArea, Event, EventKind, Holder, ProcessId
from heaptop.units import format_size

UNKNOWN: Final = "~"


def thread(event: Event) -> str:
    """`cameraserver 812/815`: who it was; the thread only where it is not the first."""
    if event.pid is None:
        return UNKNOWN
    tid = "" if event.tid in {None, event.pid} else f"/{event.tid}"
    return f"{event.comm or UNKNOWN} {event.pid}{tid}"


def what(event: Event, seen: CmaArea | None, page_bytes: int) -> str:
    """What happened; `seen` is the area that failed, as it was then."""
    size = format_size(event.size_bytes)
    if event.kind is EventKind.CMA_FAIL:
        return f"{size} of {failure(event, seen, page_bytes)}"
    took = "" if event.latency_s is None else f" in {latency(event)}"
    if event.kind is EventKind.ALLOC_FAIL:
        return f"{size} refused: {error(event)}{took}"
    return f"inode {inode(event)}  {size} of {event.exporter or UNKNOWN}{took}"


def failure(event: Event, seen: CmaArea | None, page_bytes: int) -> str:
    """`CMA area reserved, aligned to order 8: no run large enough (24.0 MiB free, the largest hole has 9.00 MiB)`."""
    order = UNKNOWN if event.align_order is None else event.align_order
    why = event.reason or error(event)
    return f"CMA area {event.area or UNKNOWN}, aligned to order {order}: {why}{room(seen, page_bytes)}"


def inode(event: Event) -> str:
    """The inode, or `~`."""
    return UNKNOWN if event.inode is None else str(event.inode)


def latency(event: Event) -> str:
    """`41.2 us`, `3.07 ms`."""
    if event.latency_s is None:
        return UNKNOWN
    micro = 1e6 * event.latency_s
    return f"{micro:.1f} us" if micro < 1000 else f"{micro / 1000:.3g} ms" if micro < 1e6 else f"{micro / 1e6:.3g} s"


def error(event: Event) -> str:
    """The errno with its name and meaning."""
    return UNKNOWN if event.errno is None else errno_text(event.errno)


def room(seen: CmaArea | None, page_bytes: int) -> str:
    """` (24.0 MiB free, the largest hole has 9.00 MiB)`; empty where that is not known."""
    if seen is None or seen.max_free_run_pages is None or seen.count_pages is None or seen.used_pages is None:
        return ""
    free, hole = (seen.count_pages - seen.used_pages) * page_bytes, seen.max_free_run_pages * page_bytes
    return f" ({format_size(free)} free, the largest hole has {format_size(hole)})"


def as_buffer(event: Event) -> Buffer:
    """The event as a filter sees it: a buffer held by whoever it was. A heap's buffers are named after it (5.11 on)."""
    holders = () if event.pid is None else (Holder(ProcessId(event.pid, None), event.comm or ""),)
    place = event.exporter or event.area
    return Buffer(
        inode=event.inode or 0,
        size_bytes=event.size_bytes,
        exporter=place,
        name=None,
        file_count=None,
        hidden_refs=None,
        attachments=None,
        fences=None,
        holders=holders,
        heap=place,
    )
