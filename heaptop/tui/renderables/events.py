"""Live events as rows of a table, and what the lines around them say. No app needed."""

import time
from collections.abc import Sequence
from typing import Final

from heaptop.analysis.events import error, inode, latency, room, thread
from heaptop.model import EventKind
from heaptop.tui.event_log import EventLog
from heaptop.tui.renderables.chrome import Piece
from heaptop.tui.renderables.table import Cell, Column
from heaptop.tui.watcher import Seen
from heaptop.units import format_size

WORDS: Final = {
    EventKind.ALLOC: "+ alloc",
    EventKind.FREE: "- free",
    EventKind.ALLOC_FAIL: "! refused",
    EventKind.CMA_FAIL: "! CMA",
}
STYLES: Final = {
    EventKind.ALLOC: "new",
    EventKind.FREE: "gone",
    EventKind.ALLOC_FAIL: "suspect",
    EventKind.CMA_FAIL: "suspect",
}


def time_text(seconds: float) -> str:
    """`14:02:11.123`, local."""
    return f"{time.strftime('%H:%M:%S', time.localtime(seconds))}.{int(seconds * 1000) % 1000:03}"


def detail_text(seen: Seen, page_bytes: int) -> str:
    """What there is to say besides time, kind, thread and size."""
    event = seen.event
    if event.kind is EventKind.CMA_FAIL:
        return f"{event.reason or error(event)}, {event.area or '~'}{room(seen.area, page_bytes)}"
    took = "" if event.latency_s is None else f", {latency(event)}"
    if event.kind is EventKind.ALLOC_FAIL:
        return f"{error(event)}{took}"
    place = "" if event.pfn is None else f", pfn 0x{event.pfn:x}"
    return f"ino {inode(event)} {event.exporter or '~'}{took}{place}"


def columns(page_bytes: int) -> tuple[Column[Seen], ...]:
    """The columns, of the panel and of the list."""

    def kind(seen: Seen, _width: int) -> Cell:
        return ((WORDS[seen.event.kind], STYLES[seen.event.kind]),)

    return (
        Column("time", "Time", 12, lambda seen, _: time_text(seen.event.time), worth=60, sortable=False),
        Column("event", "Event", 9, kind, worth=100, sortable=False),
        Column("who", "Thread", 18, lambda seen, _: thread(seen.event), flex=1, width_max=30, worth=95, sortable=False),
        Column(
            *("size", "Size", 9, lambda seen, _: format_size(seen.event.size_bytes), "right"),
            worth=90,
            sortable=False,
        ),
        Column("what", "What", 26, lambda seen, _: detail_text(seen, page_bytes), flex=3, worth=50, sortable=False),
    )


def head_pieces(log: EventLog) -> list[Piece]:
    """` events  1,024 alloc  900 free  2 CMA · cost 0.4 % CPU, 0.1 % in whom it watches`."""
    pieces = [Piece(" events ", "title")]
    if log.error:
        return [*pieces, Piece(f" {log.error}", "warning")]
    if log.last is None:
        return [*pieces, Piece(" they begin…", "dim")]
    last = log.last
    counts = [f"{last.counts[kind]:,} {WORDS[kind][2:]}" for kind in EventKind if last.counts[kind]]
    pieces.append(Piece(f" {'  '.join(counts) or 'none yet'}", "strong"))
    if log.newer:
        pieces.append(Piece(f" · {log.newer:,} since the pause", "warning"))
    if last.lost:
        pieces.append(Piece(f" · {last.lost:,} lost", "warning"))
    passed_s = last.passed_s or 1.0
    cost = f" · cost {100 * last.own_s / passed_s:.1f} % CPU"
    if last.kernel_s is not None:
        cost += f" + {100 * last.kernel_s / passed_s:.1f} % in whom it watches"
    pieces.append(Piece(cost))
    if log.gaps:
        pieces.append(Piece(f" · {len(log.gaps)} gap{'' if len(log.gaps) == 1 else 's'}", "warning"))
    return pieces


def empty_text(log: EventLog) -> str:
    """Why there is nothing to see."""
    if log.error:
        return log.error
    gaps = "".join(f" Not told here: {gap}." for gap in log.gaps)
    return f"Nothing was allocated or freed since events are on; watched: {', '.join(log.watched) or '…'}.{gaps}"


def map_pieces(seen: Seen, page_bytes: int) -> Sequence[Piece]:
    """The line under the map of an area that failed."""
    after = "" if seen.after_s is None else f", {1e3 * seen.after_s:.1f} ms after it failed"
    text = f" {seen.event.area or '~'} then{room(seen.area, page_bytes)}{after}"
    return [Piece(text, "strong")]
