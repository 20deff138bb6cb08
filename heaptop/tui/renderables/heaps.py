"""The Heaps view's rows, its sums and the details of a row, as plain text with named styles. No app needed."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from heaptop.model import ExporterTotal, Gap, Heap, Provenance, Snapshot
from heaptop.session import History
from heaptop.tui.renderables.bar import bar
from heaptop.tui.renderables.details import Line
from heaptop.tui.renderables.sparkline import sparkline
from heaptop.tui.renderables.table import Cell, Column
from heaptop.units import format_size, printable

SECTION = "Other exporters"
PERCENT_WIDTH = 6
TREND_WIDTH = 13
NOT_TOLD = "no source here tells it: exporters share one name on 5.6 to 5.10, or nothing readable lists buffers"


@dataclass(frozen=True, slots=True)
class HeapRow:
    """A heap, an exporter that is none, or (neither) the title above the exporters. `share` is of all known bytes."""

    heap: Heap | None = None
    exporter: ExporterTotal | None = None
    share: float | None = None
    trend: tuple[int, ...] = ()
    area_heaps: tuple[str, ...] = ()

    @property
    def key(self) -> tuple[str, str]:
        """Its identity over refreshes."""
        if self.heap is not None:
            return ("heap", self.heap.name)
        return ("exporter", self.exporter.name or "") if self.exporter is not None else ("section", "")

    @property
    def is_section(self) -> bool:
        """Whether it is the title."""
        return self.heap is None and self.exporter is None

    @property
    def name(self) -> str | None:
        """The heap's or the exporter's name; None where it is not told."""
        return self.heap.name if self.heap is not None else self.exporter.name if self.exporter is not None else None

    @property
    def buffers(self) -> int | None:
        """How many buffers; None where not known."""
        return self.heap.buffers if self.heap is not None else self.exporter.buffers if self.exporter else None

    @property
    def size_bytes(self) -> int | None:
        """Their size; None where not known."""
        return self.heap.size_bytes if self.heap is not None else self.exporter.size_bytes if self.exporter else None

    @property
    def filter_text(self) -> str | None:
        """The filter that shows its buffers; None where there is none."""
        field = "heap" if self.heap is not None else "exporter"
        return None if self.name is None else named(field, self.name)


def named(field: str, name: str) -> str:
    """A filter for this name. One with both kinds of quotes is looked for by its longest part without the second."""
    if '"' not in name:
        return f'{field}="{name}"'
    if "'" not in name:
        return f"{field}='{name}'"
    return f"{field}:'{max(name.split(chr(39)), key=len)}'"


def heap_rows(snapshot: Snapshot, history: History, order: Sequence[Heap]) -> tuple[HeapRow, ...]:
    """Heaps in the given order, then all exporters that are no heaps, largest first."""
    total = snapshot.size_bytes
    sharing = _areas(snapshot)
    rows = [
        HeapRow(
            heap=heap,
            share=_share(heap.size_bytes, total),
            trend=history.heap_trend_bytes.get(heap.name, ()),
            area_heaps=sharing.get(heap.cma_area or "", ()),
        )
        for heap in order
    ]
    others = sorted((other for other in snapshot.exporters if not other.is_heap), key=lambda one: -one.size_bytes)
    if others:
        rows.append(HeapRow())
    for other in others:
        trend = history.exporter_trend_bytes.get(other.name, ())
        rows.append(HeapRow(exporter=other, share=_share(other.size_bytes, total), trend=trend))
    return tuple(rows)


def _share(size_bytes: int | None, total: int) -> float | None:
    return None if size_bytes is None else size_bytes / total if total else 0.0


def name_cell(row: HeapRow, width: int) -> Cell:
    """The name, and for a CMA heap its mark."""
    if row.heap is None:
        return row.name if row.name is not None else (("~", "unknown"), (" exporter not told", "dim"))
    if row.heap.cma_area is None:
        return row.heap.name
    shared = "  (CMA, shared area)" if len(row.area_heaps) > 1 else "  (CMA)"
    fits = len(printable(row.heap.name)) + len(shared) <= width
    return ((row.heap.name, ""), (shared if fits else "  (CMA)", "cma"))


def buffers_cell(row: HeapRow, _width: int) -> Cell:
    """How many buffers."""
    return (("~", "unknown"),) if row.buffers is None else f"{row.buffers:,}"


def size_cell(row: HeapRow, _width: int) -> Cell:
    """Their size."""
    return (("~", "unknown"),) if row.size_bytes is None else ((format_size(row.size_bytes), "size"),)


def share_cell(row: HeapRow, width: int) -> Cell:
    """A bar and per cent of all known bytes."""
    if row.share is None:
        return (("~", "unknown"),)
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
    """Who holds it all, and what of CMA and of the heaps' pools is in use."""
    orphans = [buffer for buffer in snapshot.buffers if buffer.is_orphan]
    orphan_bytes = sum(buffer.size_bytes or 0 for buffer in orphans)
    held_bytes = snapshot.size_bytes - orphan_bytes
    held: Line = (("Held by  ", "dim"), (f"processes {format_size(held_bytes)}", "strong"))
    if orphans:
        plural = "" if len(orphans) == 1 else "s"
        held += ((" · ", "dim"), ("? ", "orphan"))
        held += ((f"kernel only {format_size(orphan_bytes)} in {len(orphans)} buffer{plural}", "orphan"),)
    pools = snapshot.memory.pools_bytes
    pool: Line = (("Pools  ", "dim"), (format_size(pools), "unknown" if pools is None else "strong"))
    return (held, (*pool, ("   ", ""), *cma_sum(snapshot)), *_shared_lines(snapshot))


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


def details(row: HeapRow, snapshot: Snapshot) -> list[Line]:
    """All that is known of a row, exact, each with the source that told it."""
    if row.heap is not None:
        return _heap_details(row, row.heap, snapshot)
    if row.exporter is None:
        return [((SECTION, "strong"),), (), (("Buffers that no heap gave: drm, udmabuf, cameras, codecs…", "dim"),)]
    other = row.exporter
    lines: list[Line] = [((other.name or "~", "strong"), ("  exporter", "dim")), ()]
    lines += _fact("buffers", f"{other.buffers:,}", ("derived",))
    lines += _fact("size", _exact(other.size_bytes), ("derived",))
    lines += [(), (("sums of the buffers whose exporter is this", "dim"),)]
    return [*lines, (), (("Enter", "strong"), ("  its buffers", "dim"))]


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
