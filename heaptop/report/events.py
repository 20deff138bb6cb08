"""Live events as text and as JSON Lines."""

from collections import Counter
from datetime import UTC, datetime
from typing import Final

from heaptop.analysis.events import thread, what
from heaptop.model import Event, EventKind, Snapshot
from heaptop.report import json
from heaptop.report.text import counted
from heaptop.units import printable

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
    area = seen.cma[0] if seen is not None and seen.cma else None
    page_bytes = 0 if seen is None else seen.page_bytes
    told = what(event, area, page_bytes)
    return printable(f"{time}  {event.kind:{_KIND_WIDTH}}  {printable(thread(event)):24}  {told}") + "\n"


def summary(counts: Counter[EventKind], lost: int, own_s: float, passed_s: float, kernel_s: float | None) -> str:
    """What was seen, what was lost, and what watching cost."""
    kinds = ", ".join(f"{counts[kind]} {kind}" for kind in EventKind if counts[kind])
    share = f" ({100 * own_s / passed_s:.1f} % of one processor)" if passed_s else ""
    inside = "" if kernel_s is None else f", {1e3 * kernel_s:.1f} ms in those watched"
    seen = counted(counts.total(), "event") + (f" ({kinds})" if kinds else "")
    return f"{seen} in {passed_s:.1f} s, {lost} lost; cost: {own_s:.2f} s of heaptop's own{share}{inside}"
