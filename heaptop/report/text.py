"""Lists as plain text, for a terminal or a pipe. The app draws its own; here are no boxes and no Rich."""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from heaptop.analysis.fragmentation import unusable_index
from heaptop.analysis.occupancy import cells, free_runs_by_order
from heaptop.errors import errno_text
from heaptop.model import UNNAMED, Buffer, CmaArea, CmaRange, Gap, Heap, Process, Snapshot, Zone
from heaptop.report.csv import holder_label
from heaptop.report.table import BOLD, DIM, YELLOW, Column, Look, Row, cut, draw
from heaptop.report.totals import totals
from heaptop.units import format_size, printable

UNKNOWN: Final = "~"
MAP_CELLS: Final = 64
"""Cells of a CMA map where no terminal says how wide it is."""

_SHADES: Final = "·░▒▓█"
_ASCII_SHADES: Final = ".-+#@"


def number(value: int | None) -> str:
    """A count, or `~` where it is not known."""
    return UNKNOWN if value is None else str(value)


def title(snapshot: Snapshot, figures: str, look: Look) -> str:
    """The line above a list: the source and its sums."""
    kernel = f" ({snapshot.kernel})" if snapshot.kernel else ""
    text = printable(f"{snapshot.source}{kernel}: {figures}")
    if look.width is not None:
        text = cut(text, look.width, unicode=look.unicode)
    return look.paint(text, DIM) + "\n"


def note(gap: Gap) -> str:
    """A gap as one line: what, why; what to do about it."""
    remedy = f"; {gap.remedy}" if gap.remedy else ""
    return printable(f"note: {gap.what}: {gap.why}{remedy}")


def counted(count: int, noun: str, plural: str = "") -> str:
    """`1 buffer`, `2 buffers`."""
    return f"{count} {noun if count == 1 else plural or noun + 's'}"


def heaps(snapshot: Snapshot, look: Look) -> str:
    """The heaps, then what other exporters hold."""
    total = snapshot.size_bytes
    figures = (
        f"{counted(len(snapshot.heaps), 'heap')}, {counted(len(snapshot.buffers), 'buffer')}, {format_size(total)}"
    )
    columns = (
        Column("Heap", flexible=True),
        Column("Buffers", right=True, worth=3),
        Column("Size", right=True),
        Column("Share", right=True, worth=2),
        Column("CMA area", flexible=True, worth=1),
    )
    rows = [_heap_row(heap, total) for heap in snapshot.heaps]
    others = [exporter for exporter in snapshot.exporters if not exporter.is_heap]
    if others:
        rows.append(Row(("Other exporters", "", "", "", ""), DIM))
    rows += [
        Row(
            (
                other.name or UNKNOWN,
                str(other.buffers),
                format_size(other.size_bytes),
                _share(other.size_bytes, total),
                "",
            )
        )
        for other in others
    ]
    if not rows:
        return title(snapshot, figures, look) + "no dma-heap and no dma-buf is seen here\n"
    return title(snapshot, figures, look) + draw(columns, rows, look) + _memory_line(snapshot)


def _heap_row(heap: Heap, total: int) -> Row:
    return Row(
        (
            heap.name,
            number(heap.buffers),
            format_size(heap.size_bytes),
            _share(heap.size_bytes, total),
            heap.cma_area or "",
        )
    )


def _share(size_bytes: int | None, total: int) -> str:
    if size_bytes is None:
        return UNKNOWN
    return f"{100 * size_bytes / total:.0f} %" if total else "0 %"


def _memory_line(snapshot: Snapshot) -> str:
    sums = totals(snapshot)
    held = f"held by processes {format_size(sums.total_bytes - sums.kernel_rss_bytes)}"
    kernel = f"kernel only {format_size(sums.kernel_rss_bytes)} in {counted(sums.kernel_buffers, 'buffer')}"
    return f"{held}, {kernel}, pools {format_size(snapshot.memory.pools_bytes)}\n"


def buffers(snapshot: Snapshot, look: Look) -> str:
    """Every buffer: `?` marks one that no process is seen to hold."""
    figures = f"{counted(len(snapshot.buffers), 'buffer')}, {format_size(snapshot.size_bytes)}"
    if not snapshot.buffers:
        return title(snapshot, figures, look) + "no dma-buf is held by anyone that can be seen\n"
    columns = (
        Column("", worth=8),
        Column("Ino", right=True, worth=5),
        Column("Size", right=True),
        Column("Name", flexible=True),
        Column("Exporter", flexible=True, worth=4),
        Column("Held by", flexible=True),
        Column("fd", right=True, worth=2),
        Column("map", right=True, worth=2),
        Column("hid", right=True, worth=3),
    )
    rows = [
        Row(
            (
                "?" if buffer.is_orphan else "",
                str(buffer.inode),
                format_size(buffer.size_bytes),
                buffer_name(buffer),
                buffer.exporter or UNKNOWN,
                _held_by(buffer, short=look.width is not None),
                number(buffer.fd_count),
                number(buffer.map_count),
                number(buffer.hidden_refs),
            ),
            YELLOW if buffer.is_orphan else "",
        )
        for buffer in snapshot.buffers
    ]
    return title(snapshot, figures, look) + draw(columns, rows, look)


def buffer_name(buffer: Buffer) -> str:
    """Its name, `(unnamed)`, or `~` where no source tells names."""
    return buffer.name or (UNNAMED if buffer.told("name") else UNKNOWN)


def _held_by(buffer: Buffer, *, short: bool) -> str:
    if not buffer.holders:
        return "nobody seen"
    if not short:
        return " ".join(holder_label(holder) for holder in buffer.holders)
    more = len(buffer.holders) - 1
    return buffer.holders[0].comm + (f" +{more}" if more else "")


def processes(snapshot: Snapshot, look: Look) -> str:
    """The processes that hold buffers, and below them the sums of Android's `dmabuf_dump`."""
    figures = f"{counted(len(snapshot.processes), 'process', 'processes')}, {format_size(snapshot.size_bytes)}"
    columns = (
        Column("PID", right=True, worth=5),
        Column("Process", flexible=True),
        Column("RSS", right=True),
        Column("PSS", right=True, worth=4),
        Column("Buffers", right=True, worth=3),
        Column("UID", right=True, worth=2),
        Column("Command line", flexible=True, worth=1),
    )
    rows = [_process_row(process) for process in snapshot.processes]
    table = draw(columns, rows, look) if rows else "no process is seen to hold a dma-buf\n"
    return title(snapshot, figures, look) + table + _dump_totals(snapshot)


def _process_row(process: Process) -> Row:
    return Row(
        (
            str(process.id.pid),
            process.comm,
            format_size(process.rss_bytes),
            format_size(process.pss_bytes),
            str(len(process.inodes)),
            number(process.uid),
            UNKNOWN if process.cmdline is None else " ".join(process.cmdline),
        )
    )


def _dump_totals(snapshot: Snapshot) -> str:
    """The last line of `dmabuf_dump`, over all buffers and processes."""
    sums = totals(snapshot)
    return (
        f"dmabuf total: {format_size(sums.total_bytes)}  kernel_rss: {format_size(sums.kernel_rss_bytes)}"
        f"  userspace_rss: {format_size(sums.userspace_rss_bytes)}"
        f"  userspace_pss: {format_size(sums.userspace_pss_bytes)}\n"
    )


def cma(snapshot: Snapshot, look: Look) -> str:
    """Each CMA area: figures, a map of its bitmap, and its free runs."""
    known = [area for area in snapshot.cma if area.count_pages is not None]
    size_bytes = sum(area.count_pages or 0 for area in known) * snapshot.page_bytes
    figures = f"{counted(len(snapshot.cma), 'CMA area')}, {format_size(size_bytes if known else None)}"
    if not snapshot.cma:
        return title(snapshot, figures, look) + "no CMA area is seen here\n"
    areas = "\n".join(_area(area, snapshot.page_bytes, look) for area in snapshot.cma)
    return title(snapshot, figures, look) + areas + "".join(map(_zone, snapshot.memory.zones))


def _zone(zone: Zone) -> str:
    """A zone's free blocks by order, and how much of its free memory is in smaller ones than the system heap wants."""
    node, name, free_blocks = zone
    free = " ".join(f"{order}:{count}" for order, count in enumerate(free_blocks) if count)
    shares = ", ".join(f"order {order} {unusable_index(free_blocks, order) / 10:.0f} %" for order in (4, 8))
    return f"\nnode {node} zone {printable(name)}  free blocks by order {free}; too small for {shares}\n"


def _area(area: CmaArea, page_bytes: int, look: Look) -> str:
    def pages(count: int | None) -> str:
        return format_size(None if count is None else count * page_bytes)

    base = UNKNOWN if area.base_pfn is None else f"{area.base_pfn:#x}"
    share = ""
    if area.used_pages is not None and area.count_pages:
        share = f" ({100 * area.used_pages / area.count_pages:.0f} %)"
    facts = (
        f"{pages(area.count_pages)} at pfn {base}, used {pages(area.used_pages)}{share}, "
        f"largest free run {pages(area.max_free_run_pages)}, order_per_bit {number(area.order_per_bit)}"
    )
    text = f"{look.paint(printable(area.name), BOLD)}  {facts}\n"
    if area.alloc_pages_success is not None or area.alloc_pages_fail is not None:
        counters = (area.alloc_pages_success, area.alloc_pages_fail, area.release_pages_success)
        done, failed, released = (number(counter) for counter in counters)
        text += f"  pages since boot: {done} allocated, {failed} failed, {released} released\n"
    if area.failures:
        last = area.failures[-1]
        when = "" if last.uptime_s is None else f", {last.uptime_s:.0f} s after boot"
        text += f"  {counted(len(area.failures), 'refusal')} in the kernel log, the last: "
        text += f"{counted(last.count_pages, 'page')}, {errno_text(last.errno)}{when}\n"
    return text + "".join(_range(part, area.order_per_bit, look) for part in area.ranges)


def _range(part: CmaRange, order_per_bit: int | None, look: Look) -> str:
    if part.bitmap is None or order_per_bit is None or part.count_pages <= 0:
        return ""
    count_bits = part.count_pages >> order_per_bit
    room = MAP_CELLS if look.width is None else max(8, look.width - 4)
    cell_bits = max(1, -(-count_bits // room))
    cell_count = -(-count_bits // cell_bits)
    used = cells(part.bitmap, 0, cell_count * cell_bits, cell_count)
    sizes = [min(cell_bits, count_bits - index * cell_bits) for index in range(cell_count)]
    shades = _SHADES if look.unicode else _ASCII_SHADES
    drawing = "".join(_shade(shades, bits, size) for bits, size in zip(used, sizes, strict=True))
    orders = free_runs_by_order(part, order_per_bit)
    free = " ".join(f"{order}:{count}" for order, count in enumerate(orders) if count) or "none"
    where = "" if part.base_pfn is None else f" from pfn {part.base_pfn:#x}"
    cell = counted(cell_bits << order_per_bit, "page")
    return f"  |{drawing}|\n  1 cell = {cell}{where}; free runs by order {free}\n"


def _shade(shades: Sequence[str], used: int, size: int) -> str:
    """Empty and full mean exactly that; what lies between never looks like either."""
    if used == 0:
        return shades[0]
    if used >= size:
        return shades[4]
    return shades[1 + min(2, used * 3 // size)]


Draw = Callable[[Snapshot, Look], str]

LISTS: Final[Mapping[str, Draw]] = {
    "heaps": heaps,
    "buffers": buffers,
    "processes": processes,
    "cma": cma,
}
"""What draws each list, by its verb."""
