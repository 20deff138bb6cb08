"""Live events as text and as JSON Lines."""

from collections import Counter
from datetime import UTC, datetime
from typing import Final

from heaptop.errors import errno_text
from heaptop.model import Event, EventKind, Snapshot
from heaptop.report import json
from heaptop.report.text import UNKNOWN, counted
from heaptop.units import format_size, printable

_KIND_WIDTH: Final = max(len(kind) for kind in EventKind)


def document(source: str, event: Event, seen: Snapshot | None = None, after_s: float | None = None) -> json.Json:
    """An event as a line of JSON has it. `seen` is its CMA area, `after_s` seconds after it failed."""
    areas = [] if seen is None else json.document(seen, ("cma",))["cma"]
    return {
        "schema": json.SCHEMA,
        "source": source,
        "event": event.kind,
        "time": moment(event.time),
        "pid": event.pid,
        "tid": event.tid,
        "comm": event.comm,
        "size_bytes": event.size_bytes,
        "inode": event.inode,
        "exporter": event.exporter,
        "latency_s": event.latency_s,
        "pfn": event.pfn,
        "area": event.area,
        "align_order": event.align_order,
        "reason": event.reason,
        "errno": event.errno,
        "cma": areas[0] if isinstance(areas, list) and areas else None,
        "cma_after_s": after_s if areas else None,
    }


def moment(seconds: float) -> str:
    """ISO 8601, UTC, to the microsecond."""
    return datetime.fromtimestamp(seconds, UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def line(event: Event, seen: Snapshot | None = None) -> str:
    """An event as a line of text, with the local time."""
    time = datetime.fromtimestamp(event.time).strftime("%H:%M:%S.%f")
    return printable(f"{time}  {event.kind:{_KIND_WIDTH}}  {printable(_thread(event)):24}  {_what(event, seen)}") + "\n"


def summary(counts: Counter[EventKind], lost: int, own_s: float, passed_s: float, kernel_s: float | None) -> str:
    """What was seen, what was lost, and what watching cost."""
    kinds = ", ".join(f"{counts[kind]} {kind}" for kind in EventKind if counts[kind])
    share = f" ({100 * own_s / passed_s:.1f} % of one processor)" if passed_s else ""
    inside = "" if kernel_s is None else f", {1e3 * kernel_s:.1f} ms in those watched"
    seen = counted(counts.total(), "event") + (f" ({kinds})" if kinds else "")
    return f"{seen} in {passed_s:.1f} s, {lost} lost; cost: {own_s:.2f} s of heaptop's own{share}{inside}"


def _thread(event: Event) -> str:
    if event.pid is None:
        return UNKNOWN
    thread = "" if event.tid in {None, event.pid} else f"/{event.tid}"
    return f"{event.comm or UNKNOWN} {event.pid}{thread}"


def _what(event: Event, seen: Snapshot | None) -> str:
    size = format_size(event.size_bytes)
    took = "" if event.latency_s is None else f" in {1e6 * event.latency_s:.1f} us"
    error = "" if event.errno is None else errno_text(event.errno)
    match event.kind:
        case EventKind.ALLOC | EventKind.FREE:
            inode = UNKNOWN if event.inode is None else str(event.inode)
            return f"inode {inode}  {size} of {event.exporter or UNKNOWN}{took}"
        case EventKind.ALLOC_FAIL:
            return f"{size} refused: {error}{took}"
        case _:
            why = event.reason or error
            return (
                f"{size} of CMA area {event.area or UNKNOWN}, aligned to order {event.align_order}: {why}{_room(seen)}"
            )


def _room(seen: Snapshot | None) -> str:
    if seen is None or not seen.cma:
        return ""
    (area,) = seen.cma
    if area.max_free_run_pages is None or area.count_pages is None or area.used_pages is None:
        return ""
    page = seen.page_bytes
    free, hole = (area.count_pages - area.used_pages) * page, area.max_free_run_pages * page
    return f" ({format_size(free)} free, the largest hole has {format_size(hole)})"
