"""The Heaps view's rows, its sums and the details of a row, as plain text with named styles. No app needed."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from heaptop.analysis.diff import Delta
from heaptop.analysis.history import History
from heaptop.model import Buffer, ExporterTotal, Gap, Heap, Provenance, Snapshot
from heaptop.tui.frame import Sums
from heaptop.tui.renderables.bar import bar
from heaptop.tui.renderables.details import Line
from heaptop.tui.renderables.sparkline import sparkline
from heaptop.tui.renderables.table import Cell, Column
from heaptop.units import format_delta, format_size, printable

OTHERS, HELD = "Other exporters", "Held by"
PERCENT_WIDTH = 6
TREND_WIDTH = 13
NOT_TOLD = "no source here tells it: exporters share one name on 5.6 to 5.10, or nothing readable lists buffers"


@dataclass(frozen=True, slots=True)
class HeapRow:
    """A row: a heap, an exporter that is none, a kind of holder, or the title above those.

    `kind` is heap, exporter, held or title. `name` is None where it is not told, `share` is of all known bytes, and
    `filter_text` shows its buffers (None: there is no such filter). `area_heaps` are all heaps of a CMA heap's area.
    Where `is_delta`, numbers are what changed since the mark.
    """

    kind: str
    name: str | None
    buffers: int | None = None
    size_bytes: int | None = None
    share: float | None = None
    trend: tuple[int, ...] = ()
    filter_text: str | None = None
    heap: Heap | None = None
    area_heaps: tuple[str, ...] = ()
    is_delta: bool = False

    @property
    def key(self) -> tuple[str, str]:
        """Its identity over refreshes."""
        return (self.kind, self.name or "")


def named(field: str, name: str) -> str:
    """A filter for this name. One with both kinds of quotes is looked for by its longest part without the second."""
    if '"' not in name:
        return f'{field}="{name}"'
    if "'" not in name:
        return f"{field}='{name}'"
    return f"{field}:'{max(name.split(chr(39)), key=len)}'"


def heap_rows(snapshot: Snapshot, history: History, order: Sequence[Heap], sums: Sums) -> tuple[HeapRow, ...]:
    """Heaps in the given order, then all exporters that are no heaps, largest first, then who holds it all."""
    total = sums.size_bytes
    sharing = _areas(snapshot)
    rows = [
        HeapRow(
            "heap",
            heap.name,
            heap.buffers,
            heap.size_bytes,
            _share(heap.size_bytes, total),
            history.heap_trend_bytes.get(heap.name, ()),
            named("heap", heap.name),
            heap,
            sharing.get(heap.cma_area or "", ()),
        )
        for heap in order
    ]
    others = sorted((other for other in snapshot.exporters if not other.is_heap), key=lambda one: -one.size_bytes)
    rows += [HeapRow("title", OTHERS)] if others else []
    rows += [_exporter_row(other, total, history) for other in others]
    return (*rows, *_held_rows(snapshot, sums)) if snapshot.buffers else tuple(rows)


def _exporter_row(other: ExporterTotal, total: int, history: History) -> HeapRow:
    trend = history.exporter_trend_bytes.get(other.name, ())
    shown_by = None if other.name is None else named("exporter", other.name)
    share = _share(other.size_bytes, total)
    return HeapRow("exporter", other.name, other.buffers, other.size_bytes, share, trend, shown_by)


def _held_rows(snapshot: Snapshot, sums: Sums) -> tuple[HeapRow, ...]:
    """Buffers that processes hold, and those that none is seen to hold: the kernel's own, where all could be read."""
    total = sums.size_bytes
    count, held = len(snapshot.buffers) - sums.orphans, total - sums.orphan_bytes
    rows = (HeapRow("title", HELD), HeapRow("held", "processes", count, held, _share(held, total), (), "not orphan"))
    if not sums.orphans:
        return rows
    name = "nobody seen" if any("process" in gap.what for gap in snapshot.gaps) else "kernel only"
    count, size = sums.orphans, sums.orphan_bytes
    return (*rows, HeapRow("held", name, count, size, _share(size, total), (), "orphan"))


def since_mark(rows: Sequence[HeapRow], delta: Delta) -> tuple[HeapRow, ...]:
    """The rows that have changed since the mark, by how much; titles stay where there are rows below them."""
    changed = [row if row.kind == "title" else _changed(row, delta) for row in rows]
    kept = [row for row in changed if row.kind == "title" or row.buffers or row.size_bytes]
    below = [*kept[1:], HeapRow("title", "")]
    return tuple(row for row, after in zip(kept, below, strict=True) if row.kind != "title" or after.kind != "title")


def _changed(row: HeapRow, delta: Delta) -> HeapRow:
    before = [*delta.gone, *(old for old, _ in delta.changed)]
    now = [*delta.new, *(new for _, new in delta.changed)]
    old, new = ([buffer for buffer in side if _is_of(buffer, row)] for side in (before, now))
    size = sum(one.size_bytes or 0 for one in new) - sum(one.size_bytes or 0 for one in old)
    return replace(row, buffers=len(new) - len(old), size_bytes=size, share=None, is_delta=True)


def _is_of(buffer: Buffer, row: HeapRow) -> bool:
    if row.kind == "held":
        return buffer.is_orphan == (row.filter_text == "orphan")
    return (buffer.heap if row.kind == "heap" else buffer.exporter) == row.name


def _share(size_bytes: int | None, total: int) -> float | None:
    return None if size_bytes is None else size_bytes / total if total else 0.0


def name_cell(row: HeapRow, width: int) -> Cell:
    """The name, and for a CMA heap its mark."""
    if row.name is None:
        return (("~", "unknown"), (" exporter not told", "dim"))
    if row.filter_text == "orphan":
        return (("? ", "orphan"), (row.name, "orphan"))
    if row.heap is None or row.heap.cma_area is None:
        return row.name
    shared = "  (CMA, shared area)" if len(row.area_heaps) > 1 else "  (CMA)"
    fits = len(printable(row.name)) + len(shared) <= width
    return ((row.name, ""), (shared if fits else "  (CMA)", "cma"))


def buffers_cell(row: HeapRow, _width: int) -> Cell:
    """How many buffers."""
    if row.is_delta:
        return f"{row.buffers or 0:+,}"
    return (("~", "unknown"),) if row.buffers is None else f"{row.buffers:,}"


def size_cell(row: HeapRow, _width: int) -> Cell:
    """Their size."""
    if row.is_delta:
        return ((format_delta(row.size_bytes), "grown" if (row.size_bytes or 0) > 0 else "shrunk"),)
    return (("~", "unknown"),) if row.size_bytes is None else ((format_size(row.size_bytes), "size"),)


def share_cell(row: HeapRow, width: int) -> Cell:
    """A bar and per cent of all known bytes."""
    if row.share is None:
        return (("since mark", "dim"),) if row.is_delta else (("~", "unknown"),)
    percent = f"{round(row.share * 100)} %".rjust(PERCENT_WIDTH)
    if width <= PERCENT_WIDTH:
        return percent
    return ((bar(row.share, width - PERCENT_WIDTH), "bar"), (percent, ""))


def trend_cell(row: HeapRow, width: int) -> Cell:
    """The last refreshes' sizes."""
    return ((sparkline(row.trend, width), "trend"),)


COLUMNS: tuple[Column[HeapRow], ...] = (
    Column("name", "Heap", 22, name_cell, flex=2, width_max=36, worth=100),
    Column("buffers", "Buffers", 8, buffers_cell, align="right", worth=60),
    Column("size", "Size", 9, size_cell, align="right", worth=90),
    Column("share", "Share", 14, share_cell, flex=5, width_max=60, worth=50, sortable=False),
    Column("trend", "Last 60 scans", TREND_WIDTH, trend_cell, flex=2, width_max=60, worth=40, sortable=False),
)


def sum_lines(snapshot: Snapshot) -> tuple[Line, ...]:
    """What of CMA and of the heaps' pools is in use; heaps that share an area."""
    pools = snapshot.memory.pools_bytes
    pool: Line = (("Pools  ", "dim"), (format_size(pools), "unknown" if pools is None else "strong"))
    return ((*pool, ("   ", ""), *cma_sum(snapshot)), *_shared_lines(snapshot))


def _areas(snapshot: Snapshot) -> dict[str, tuple[str, ...]]:
    """Heaps by the CMA area that they take from."""
    names = sorted({heap.cma_area for heap in snapshot.heaps if heap.cma_area is not None})
    return {name: tuple(heap.name for heap in snapshot.heaps if heap.cma_area == name) for name in names}


def _shared_lines(snapshot: Snapshot) -> tuple[Line, ...]:
    return tuple(
        ((f"{' and '.join(heaps)} share one CMA area: it is counted once", "dim"),)
        for heaps in _areas(snapshot).values()
        if len(heaps) > 1
    )


def cma_sum(snapshot: Snapshot) -> Line:
    """Used of total over all areas (areas never overlap; heaps of one area do), and the largest hole."""
    label = ("CMA  ", "dim")
    if not snapshot.cma:
        total = snapshot.memory.cma_total_bytes
        if total is None:
            return (label, ("~", "unknown"))
        free = format_size(snapshot.memory.cma_free_bytes)
        return (label, (f"{format_size(total)}, {free} free or borrowed", ""), (" (meminfo)", "dim"))
    total_pages, used_pages = _sum(area.count_pages for area in snapshot.cma), _sum(a.used_pages for a in snapshot.cma)
    holes = [area.max_free_run_pages for area in snapshot.cma if area.max_free_run_pages is not None]
    size = snapshot.page_bytes
    where = f" in {len(snapshot.cma)} areas" if len(snapshot.cma) > 1 else ""
    used = format_size(None if used_pages is None else used_pages * size)
    total_text = format_size(None if total_pages is None else total_pages * size)
    hole = format_size(max(holes) * size) if holes else "~"
    return (label, (f"{used} of {total_text}{where}", "strong"), (f", largest hole {hole}", ""))


def _sum(values: Iterable[int | None]) -> int | None:
    known = list(values)
    return None if None in known else sum(value for value in known if value is not None)


ABOUT: Mapping[str, str] = {
    OTHERS: "Buffers that no heap gave: drm, udmabuf, cameras, codecs…",
    HELD: "Each buffer counts once, whoever and however many hold it.",
    "processes": "An fd or a mapping of at least one process refers to them.",
    "kernel only": "No fd and no mapping of any process refers to them: in flight in a socket, in an io_uring table, "
    "a GEM handle, an attachment, or a kernel driver's own.",
    "nobody seen": "No visible fd or mapping refers to them, but not every process could be read (gaps).",
}


def details(row: HeapRow, snapshot: Snapshot) -> list[Line]:
    """All that is known of a row, exact, each with the source that told it."""
    if row.heap is not None:
        return _heap_details(row, row.heap, snapshot)
    name = row.name or "~"
    if row.kind == "title":
        return [((name, "strong"),), (), ((ABOUT[name], "dim"),)]
    lines: list[Line] = [((name, "strong"), (f"  {row.kind}" if row.kind == "exporter" else "", "dim")), ()]
    lines += _fact("buffers", None if row.buffers is None else f"{row.buffers:,}", ("derived",))
    lines += _fact("size", None if row.size_bytes is None else _exact(row.size_bytes), ("derived",))
    about = "sums of the buffers with this exporter" if row.kind == "exporter" else ABOUT[name]
    enter: list[Line] = [] if row.filter_text is None else [(), (("Enter", "strong"), ("  its buffers", "dim"))]
    return [*lines, (), ((about, "dim"),), *enter]


def _heap_details(row: HeapRow, heap: Heap, snapshot: Snapshot) -> list[Line]:
    told = heap.provenance
    device = None if heap.device is None else f"{heap.device[0]}:{heap.device[1]}"
    lines: list[Line] = [((heap.name, "strong"), ("  heap", "dim")), ()]
    lines += _fact("exporter", heap.exporter, _told(told, "exporter"))
    lines += _fact("buffers", None if heap.buffers is None else f"{heap.buffers:,}", _told(told, "buffers"))
    lines += _fact("size", None if heap.size_bytes is None else _exact(heap.size_bytes), _told(told, "size_bytes"))
    lines += _fact("device", device, _told(told, "device"))
    lines += _fact("mode", None if heap.mode is None else f"{heap.mode & 0o7777:04o}", _told(told, "mode"))
    lines += _fact("told by", None if not told.get("name") else ", ".join(told["name"]), ())
    if heap.size_bytes is None:
        lines += [(), ((f"~ {NOT_TOLD}", "dim"),)]
    if heap.cma_area is not None:
        lines += _area_lines(heap.cma_area, row, snapshot)
    return [*lines, (), (("Enter", "strong"), ("  its buffers", "dim"))]


def _area_lines(name: str, row: HeapRow, snapshot: Snapshot) -> list[Line]:
    area = next((one for one in snapshot.cma if one.name == name), None)
    lines: list[Line] = [(), (("CMA area ", "title"), (name, "cma"))]
    if area is not None:
        size = snapshot.page_bytes
        lines += _fact("size", _pages(area.count_pages, size), _told(area.provenance, "count_pages"))
        lines += _fact("used", _pages(area.used_pages, size), _told(area.provenance, "used_pages"))
        lines += _fact("hole", _pages(area.max_free_run_pages, size), _told(area.provenance, "max_free_run_pages"))
    others = [other for other in row.area_heaps if row.heap is not None and other != row.heap.name]
    if others:
        lines.append(((f" also the area of {', '.join(others)}: one memory, not to be added up", "grown"),))
    return lines


def _fact(label: str, value: str | None, told: Sequence[str]) -> list[Line]:
    shown = (value, "") if value is not None else ("~", "unknown")
    return [((f" {label:<9}", "dim"), shown, (f"  {', '.join(told)}" if told else "", "dim"))]


def _told(provenance: Provenance | Mapping[str, Sequence[str]], field: str) -> Sequence[str]:
    return provenance.get(field, ())


def _exact(size_bytes: int) -> str:
    return f"{size_bytes:,} bytes, {format_size(size_bytes)}"


def _pages(count_pages: int | None, page_bytes: int) -> str | None:
    return None if count_pages is None else f"{count_pages:,} pages, {format_size(count_pages * page_bytes)}"


def explain(row: HeapRow, column: str, gaps: Sequence[Gap]) -> str:
    """Why a row's number is not known, and the remedy where a gap has one."""
    told = next((f" Here: {gap.what}: {gap.why}; {gap.remedy}" for gap in gaps if gap.remedy), "")
    return f"{row.name or 'exporter'}: {column}: {NOT_TOLD}.{told}"


def empty_text(gaps: Sequence[Gap]) -> str:
    """Why there is no heap to show."""
    told = next((gap for gap in gaps if "dma_heap" in gap.what), None)
    if told is None:
        return "no dma-heap here: this kernel has none (CONFIG_DMABUF_HEAPS), and no other exporter has a buffer"
    return f"no dma-heap is seen: {told.what}: {told.why}" + (f"; {told.remedy}" if told.remedy else "")
