"""One self-contained HTML page about what was seen: no script, nothing loaded from elsewhere, every name escaped."""

from collections.abc import Iterable, Sequence
from html import escape
from typing import Final, NamedTuple

from heaptop.analysis.classes import holder_text
from heaptop.analysis.occupancy import cells
from heaptop.analysis.suspects import NO_GROWTH, Growth, Verdict
from heaptop.model import UNNAMED, Buffer, CmaArea, CmaRange, Snapshot
from heaptop.report.csv import holder_label
from heaptop.report.moment import timestamp
from heaptop.report.totals import totals
from heaptop.units import format_size, printable

UNKNOWN: Final = "~"
MAP_COLUMNS: Final = 128
MAP_ROWS_MAX: Final = 64
TREND_WIDTH: Final = 600
TREND_HEIGHT: Final = 80

_STYLE: Final = """
:root { color-scheme: light dark; --line: #8884; --used: #c96a1b; --mid: #e5b36b; --free: #8882; --bad: #b3261e; }
body { font: 14px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 72rem; padding: 0 1rem; }
h1 { font-size: 1.4rem; margin-bottom: 0; } h2 { font-size: 1.1rem; margin-top: 2rem; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .2rem .6rem .2rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
th.n, td.n { text-align: right; } td.w { word-break: break-word; } .dim { opacity: .65; } .bad { color: var(--bad); }
svg { display: block; max-width: 100%; } .u { fill: var(--used); } .m { fill: var(--mid); } .f { fill: var(--free); }
.t { fill: none; stroke: var(--used); stroke-width: 1.5; }
"""


class Seen(NamedTuple):
    """What a page tells: the newest snapshot, when watching began, bytes of all buffers over time, and the growth."""

    snapshot: Snapshot
    began_at: float | None = None
    trend_bytes: tuple[int, ...] = ()
    growth: Growth = NO_GROWTH


def page(seen: Seen) -> str:
    """The whole document."""
    shot = seen.snapshot
    title = f"heaptop: {_text(shot.source)}"
    parts = [
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">',
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">",
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{title}</title><style>{_STYLE}</style></head><body>",
        f"<h1>{title}</h1>",
        _summary(seen),
        _trend(seen.trend_bytes),
        _suspects(seen.growth.suspects),
        _heaps(shot),
        _processes(shot),
        _buffers(shot),
        *(_area(area, shot.page_bytes) for area in shot.cma),
        _gaps(shot),
        "</body></html>\n",
    ]
    return "\n".join(part for part in parts if part)


def _text(value: object) -> str:
    return escape(printable(str(value)))


def _known(value: object) -> str:
    return f'<span class="dim">{UNKNOWN}</span>' if value is None else _text(value)


def _table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; a title that begins with `#` is of a column of numbers. Cells are HTML already."""
    classes = [' class="n"' if title.startswith("#") else ' class="w"' for title in titles]
    head = "".join(f"<th{kind}>{_text(title.lstrip('#'))}</th>" for kind, title in zip(classes, titles, strict=True))
    body = "\n".join(
        "<tr>" + "".join(f"<td{kind}>{cell}</td>" for kind, cell in zip(classes, row, strict=True)) + "</tr>"
        for row in rows
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>\n{body}\n</tbody></table>"


def _summary(seen: Seen) -> str:
    shot = seen.snapshot
    sums = totals(shot)
    when = timestamp(shot.captured_at) or "at a moment that is not told"
    since = "" if seen.began_at is None else f", watched since {_text(timestamp(seen.began_at))}"
    return (
        f'<p class="dim">kernel {_known(shot.kernel)} · {_text(when)}{since}</p>'
        f"<p><b>{len(shot.buffers)}</b> buffers, <b>{format_size(shot.size_bytes)}</b>; "
        f"processes RSS {format_size(sums.userspace_rss_bytes)}, PSS {format_size(sums.userspace_pss_bytes)}; "
        f"kernel only {format_size(sums.kernel_rss_bytes)} in {sums.kernel_buffers} buffers</p>"
    )


def _trend(sizes: Sequence[int]) -> str:
    if len(sizes) < 2:
        return ""
    top = max(*sizes, 1)
    step = TREND_WIDTH / (len(sizes) - 1)
    heights = (TREND_HEIGHT - 1 - (TREND_HEIGHT - 2) * size / top for size in sizes)
    points = " ".join(f"{index * step:.1f},{height:.1f}" for index, height in enumerate(heights))
    return (
        f"<h2>Bytes of all buffers</h2><p class='dim'>0 to {format_size(top)}, {len(sizes)} looks</p>"
        f'<svg viewBox="0 0 {TREND_WIDTH} {TREND_HEIGHT}" width="{TREND_WIDTH}" height="{TREND_HEIGHT}" role="img">'
        f'<polyline class="t" points="{points}"/></svg>'
    )


def _suspects(found: Sequence[Verdict]) -> str:
    if not found:
        return ""
    rows = [
        (
            _known(one.key.exporter),
            "various" if one.key.size_bytes is None else format_size(one.key.size_bytes),
            f'<span class="bad">{_text(one.name or UNNAMED)}</span>',
            _text("various" if "holder" in one.various else holder_text(one.key.holders)),
            f"{one.growth_per_minute:+.2f}",
            format_size(one.growth_bytes_per_minute),
            str(one.count),
            format_size(one.size_bytes),
            f"{one.confidence:.2f}",
        )
        for one in found
    ]
    titles = ("Exporter", "#Each", "Name", "Held by", "#Buffers/min", "#Bytes/min", "#Now", "#In all", "#Confidence")
    return "<h2>Suspects</h2>" + _table(titles, rows)


def _heaps(shot: Snapshot) -> str:
    rows = [
        (_text(heap.name), _known(heap.buffers), format_size(heap.size_bytes), _known(heap.cma_area))
        for heap in shot.heaps
    ]
    others = [(_known(t.name), str(t.buffers), format_size(t.size_bytes), "") for t in shot.exporters if not t.is_heap]
    return "<h2>Heaps and other exporters</h2>" + _table(("Heap", "#Buffers", "#Size", "CMA area"), rows + others)


def _processes(shot: Snapshot) -> str:
    rows = [
        (
            str(process.id.pid),
            _text(process.comm),
            format_size(process.rss_bytes),
            format_size(process.pss_bytes),
            str(len(process.inodes)),
        )
        for process in sorted(shot.processes, key=lambda process: -process.rss_bytes)
    ]
    return "<h2>Processes</h2>" + _table(("#PID", "Process", "#RSS", "#PSS", "#Buffers"), rows)


def _buffers(shot: Snapshot) -> str:
    rows = [_buffer(buffer) for buffer in sorted(shot.buffers, key=lambda buffer: -(buffer.size_bytes or 0))]
    titles = ("#Ino", "#Size", "Name", "Exporter", "Held by", "#fd", "#map", "#hid")
    return "<h2>Buffers</h2>" + _table(titles, rows)


def _buffer(buffer: Buffer) -> Sequence[str]:
    holders = ", ".join(_text(holder_label(holder)) for holder in buffer.holders)
    name = UNNAMED if buffer.name is None and buffer.told("name") else buffer.name
    return (
        str(buffer.inode),
        format_size(buffer.size_bytes),
        _known(name),
        _known(buffer.exporter),
        holders or '<span class="bad">? nobody seen</span>',
        _known(buffer.fd_count),
        _known(buffer.map_count),
        _known(buffer.hidden_refs),
    )


def _area(area: CmaArea, page_bytes: int) -> str:
    def size(pages: int | None) -> str:
        return format_size(None if pages is None else pages * page_bytes)

    maps = "".join(_map(part, area.order_per_bit or 0) for part in area.ranges)
    return (
        f"<h2>CMA {_text(area.name)}</h2><p>{size(area.count_pages)}, used {size(area.used_pages)}, "
        f"largest free run {size(area.max_free_run_pages)}</p>{maps}"
    )


def _map(part: CmaRange, order: int) -> str:
    """A range's bitmap as cells of equal size: full, empty, or between."""
    count = part.count_pages >> order
    if part.bitmap is None or count <= 0:
        return '<p class="dim">which pages are in use is not known</p>'
    cell_bits = max(1, -(-count // (MAP_COLUMNS * MAP_ROWS_MAX)))
    number = -(-count // cell_bits)
    used = cells(part.bitmap, 0, number * cell_bits, number)
    rects = []
    for index, bits in enumerate(used):
        kind = "f" if bits == 0 else "u" if bits >= min(cell_bits, count - index * cell_bits) else "m"
        rects.append((kind, index))
    rows = -(-number // MAP_COLUMNS)
    boxes = "".join(_strips(rects))
    base = "" if part.base_pfn is None else f" from pfn {part.base_pfn:#x}"
    return (
        f'<svg viewBox="0 0 {MAP_COLUMNS * 6} {rows * 8}" width="{MAP_COLUMNS * 6}" role="img">{boxes}</svg>'
        f'<p class="dim">1 cell = {cell_bits << order} pages{base}</p>'
    )


def _strips(rects: Sequence[tuple[str, int]]) -> Iterable[str]:
    """Neighbours of one kind in one row as one box."""
    start = 0
    for end in range(1, len(rects) + 1):
        begins_row = end % MAP_COLUMNS == 0
        if end == len(rects) or begins_row or rects[end][0] != rects[start][0]:
            row, column = divmod(start, MAP_COLUMNS)
            width = (end - start) * 6
            yield f'<rect class="{rects[start][0]}" x="{column * 6}" y="{row * 8}" width="{width}" height="7"/>'
            start = end


def _gaps(shot: Snapshot) -> str:
    if not shot.gaps:
        return ""
    rows = [(_text(gap.what), _text(gap.why), _text(gap.remedy)) for gap in shot.gaps]
    return "<h2>Not seen</h2>" + _table(("What", "Why", "What to do"), rows)
