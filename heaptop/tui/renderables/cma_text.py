"""What the CMA view says in words: an area's figures, the cell under the cursor, free runs, and whether a request fits.

Spans are plain text and a style as Textual's `Content` takes it; text from outside is made printable here.
"""

from collections.abc import Sequence
from itertools import zip_longest
from typing import NamedTuple

from heaptop.analysis.in_the_way import InTheWay
from heaptop.analysis.occupancy import Fit, free_runs_by_order, run_at
from heaptop.model import Buffer, CmaArea, Gap, Snapshot
from heaptop.tui.renderables.cma_map import Bit
from heaptop.units import format_delta, format_size, parse_size, printable

Span = tuple[str, str]
Spans = tuple[Span, ...]

LABEL = "$unknown"
STRONG = "bold"

NO_PLACES = (
    "nothing tells where buffers lie: it takes root, and a kernel with BTF; live events (e) tell of new CMA buffers"
)
NAMES_MAX = 8
"""So many of the buffers in the way are named."""
LEGEND = "█ used ▒ part · free   "

NO_AREA = """

A CMA area is memory that the kernel sets aside at boot for contiguous buffers (cma= on its command line, or a
shared-dma-pool with "reusable" in the device tree). Areas are told by debugfs /sys/kernel/debug/cma
(CONFIG_CMA_DEBUGFS, root) and by sysfs /sys/kernel/mm/cma (CONFIG_CMA_SYSFS, 5.13 on)."""


class Request(NamedTuple):
    """A request as `cma_alloc()` gets it."""

    size_pages: int
    align_order: int


def request_of(size_text: str, align_text: str, page_bytes: int) -> Request:
    """The request that was typed; sizes that are no whole pages are rounded up, as the heap does.

    Raises:
        ValueError: not a size, zero, or an alignment that is no power of two; the message says what to write.
    """
    size_bytes, align_bytes = parse_size(size_text), parse_size(align_text)
    if size_bytes == 0:
        raise ValueError("a heap refuses size 0: write bytes or a number with K, M or G, like 32M")
    if align_bytes == 0 or align_bytes & (align_bytes - 1):
        raise ValueError(f"{align_text!r} is no alignment: write a power of two, like 4K, 64K or 1M")
    return Request(-(-size_bytes // page_bytes), (-(-align_bytes // page_bytes)).bit_length() - 1)


def pages_text(count_pages: int | None, page_bytes: int) -> str:
    """`2,304 pages, 9.00 MiB`."""
    if count_pages is None:
        return "~"
    return f"{count_pages:,} page{'' if count_pages == 1 else 's'}, {format_size(count_pages * page_bytes)}"


def size_text(count_pages: int | None, page_bytes: int) -> str:
    """Pages as a size; `~` where not known."""
    return format_size(None if count_pages is None else count_pages * page_bytes)


def percent(part: int | None, whole: int | None) -> str:
    """`59 %`; `~` where not known."""
    return "~" if part is None or not whole else f"{round(part * 100 / whole)} %"


def area_spans(area: CmaArea, page_bytes: int, name_width: int = 0, mark: str = "Area ") -> Spans:
    """An area on one line: `mark`, name, size, place, use."""
    place = "" if area.base_pfn is None else f" at pfn 0x{area.base_pfn:x}"
    ranges = f" in {len(area.ranges)} ranges" if len(area.ranges) > 1 else ""
    spans: Spans = (
        (mark, LABEL),
        (printable(area.name).ljust(name_width), "bold $cma"),
        (f"  {size_text(area.count_pages, page_bytes)}{place}{ranges}", ""),
        ("  used ", LABEL),
        (f"{size_text(area.used_pages, page_bytes)} {percent(area.used_pages, area.count_pages)}", STRONG),
    )
    if area.order_per_bit is None:
        return spans
    return (*spans, ("  order_per_bit ", LABEL), (str(area.order_per_bit), ""))


def buffer_name(buffer: Buffer) -> str:
    """Its name; its inode where it has none."""
    return printable(buffer.name or f"inode {buffer.inode}")


def owner_text(buffer: Buffer) -> str:
    """`cam-raw (cameraserver)`: a buffer and who holds it."""
    comms = list(dict.fromkeys(holder.comm for holder in buffer.holders))
    who = comms[0] if comms else "nobody seen"
    more = f" +{len(comms) - 1}" if len(comms) > 1 else ""
    return f"{buffer_name(buffer)} ({printable(who)}{more})"


def pfn_of(area: CmaArea, place: Bit) -> int | None:
    """The page frame of a bit's first page."""
    base = area.ranges[place.range_index].base_pfn if area.ranges else None
    return None if base is None else base + (place.bit << (area.order_per_bit or 0))


def cursor_spans(area: CmaArea, place: Bit, page_bytes: int, owner: Spans = ()) -> Spans:
    """What lies under the cursor: page frame, page within its range, whose it is where used, its run, and how far into
    that.
    """
    part = area.ranges[place.range_index]
    order = area.order_per_bit or 0
    page = place.bit << order
    spans: Spans = () if part.base_pfn is None else ((f"pfn 0x{part.base_pfn + page:x}", STRONG), (" · ", LABEL))
    spans += ((f"page {page:,}", ""),)
    if len(area.ranges) > 1:
        spans += ((f" of range {place.range_index}", ""),)
    if part.bitmap is None:
        return (*spans, (" · ~ no bitmap", LABEL))
    run = run_at(part.bitmap, part.count_pages >> order, place.bit)
    return (
        *spans,
        (" · ", LABEL),
        ("used", "$used") if run.used else ("free", "$room"),
        *(((" · ", LABEL), *owner) if run.used and owner else ()),
        (" · ", LABEL),
        (f"+{place.bit - run.start_bit << order:,} in a run of {pages_text(run.count_bits << order, page_bytes)}", ""),
    )


def scale_text(cell_pages: int) -> str:
    """`cell 16 pages`."""
    return f"cell {cell_pages:,} page{'' if cell_pages == 1 else 's'}"


def order_counts(area: CmaArea) -> tuple[int, ...]:
    """Free runs of all ranges by order."""
    by_range = [free_runs_by_order(part, area.order_per_bit or 0) for part in area.ranges]
    return tuple(sum(counts) for counts in zip_longest(*by_range, fillvalue=0))


def orders_spans(counts: Sequence[int], area: CmaArea, page_bytes: int) -> Spans:
    """Free runs by order; orders without any are left out."""
    listed = [span for order, n in enumerate(counts) if n for span in ((f" {order}:", LABEL), (str(n), ""))]
    known = any(part.bitmap is not None for part in area.ranges)
    runs: Spans = tuple(listed) if listed else ((" none" if known else " ~", LABEL),)
    return (
        ("Free runs by order", LABEL),
        *runs,
        ("  largest ", LABEL),
        (size_text(area.max_free_run_pages, page_bytes), STRONG),
    )


def answer_spans(found: Fit, area: CmaArea, page_bytes: int) -> Spans:
    """Whether the request fits: where, or how large the largest hole is."""
    if found.fits is None:
        return (("Not known: no bitmap is readable.", LABEL),)
    if found.fits:
        return (("Yes", "bold $room"), (f": at {_place(found.pfn, found, area)}.", ""))
    if found.largest_hole_pages is None:
        return (("No", "bold $suspect"), (": it is larger than what is there.", ""))
    hole = size_text(found.largest_hole_pages, page_bytes)
    return (("No", "bold $suspect"), (f": largest aligned hole {hole}.", ""))


def nearest_spans(found: Fit, standing: InTheWay | None, area: CmaArea, page_bytes: int) -> Spans:
    """What would have to go for the request to fit, by name; empty where it fits or no place is large enough."""
    if standing is None:
        return ()
    size = size_text(standing.count_pages, page_bytes)
    spans: Spans = (("Nearest: ", LABEL), (_place(found.nearest_pfn, found, area), STRONG), (", in the way ", ""))
    if not standing.buffers:
        return (*spans, (pages_text(standing.count_pages, page_bytes), ""))
    count = len(standing.buffers)
    names = ", ".join(buffer_name(one.buffer) for one in standing.buffers[:NAMES_MAX])
    names += f" +{count - NAMES_MAX}" if count > NAMES_MAX else ""
    other = f", and {size_text(standing.other_pages, page_bytes)} of no known dma-buf" if standing.other_pages else ""
    return (*spans, (f"{count} buffer{'' if count == 1 else 's'}, {size}: ", ""), (names, STRONG), (other, LABEL))


def _place(pfn: int | None, found: Fit, area: CmaArea) -> str:
    page = (found.start_bit or 0) << (area.order_per_bit or 0)
    text = f"page {page:,}" if pfn is None else f"pfn 0x{pfn:x}"
    return f"{text} in range {found.range_index}" if len(area.ranges) > 1 else text


def no_bitmap_spans(area: CmaArea, gaps: Sequence[Gap], page_bytes: int) -> Spans:
    """An area without a readable bitmap: what is known all the same, and why there is no map."""
    figures = [
        ("size", pages_text(area.count_pages, page_bytes)),
        ("used", pages_text(area.used_pages, page_bytes)),
        ("largest free run", pages_text(area.max_free_run_pages, page_bytes)),
        ("pages allocated since boot", _count(area.alloc_pages_success)),
        ("pages refused since boot", _count(area.alloc_pages_fail)),
        ("pages released since boot", _count(area.release_pages_success)),
    ]
    spans: list[Span] = [("No map: the bitmap of this area is not readable here.\n\n", STRONG)]
    spans += [span for name, value in figures for span in ((f"{name:<28}", LABEL), (f"{value}\n", ""))]
    told = _gap_spans(gaps)
    why = "\nBitmaps are in debugfs: CONFIG_CMA_DEBUGFS, /sys/kernel/debug/cma, readable by root."
    return (*spans, *(told or ((why, ""),)))


def no_area_spans(snapshot: Snapshot) -> Spans:
    """No area at all: whether there is CMA memory all the same, what an area is, and where areas are told."""
    total = snapshot.memory.cma_total_bytes
    what = "No CMA area is known here." if not total else f"{format_size(total)} of CMA (meminfo), but no area is told."
    told = _gap_spans(snapshot.gaps)
    return ((what, STRONG), (NO_AREA, ""), *((("\n", ""), *told) if told else ()))


def _gap_spans(gaps: Sequence[Gap]) -> Spans:
    """Those of the gaps that have to do with CMA."""
    spans: list[Span] = []
    for gap in gaps:
        if "cma" in f"{gap.what} {gap.why}".lower() or "debugfs" in gap.what.lower():
            spans.append((f"\n~ {printable(gap.what)}: {printable(gap.why)}", "$orphan"))
            spans += [(f"\n  {printable(gap.remedy)}", "")] if gap.remedy else []
    return tuple(spans)


def _count(number: int | None) -> str:
    return "~" if number is None else f"{number:,}"


def plain(spans: Spans) -> str:
    """The text alone."""
    return "".join(text for text, _ in spans)


def since_mark_text(before: Sequence[CmaArea], now: Sequence[CmaArea], page_bytes: int) -> str:
    """`since mark: reserved +4.00 MiB, largest hole -2.00 MiB`: what of the areas has changed."""
    old = {area.name: area for area in before}
    parts = []
    for area in now:
        was = old.get(area.name)
        used = None if was is None else _grown(was.used_pages, area.used_pages)
        hole = None if was is None else _grown(was.max_free_run_pages, area.max_free_run_pages)
        if used or hole:
            told = format_delta(None if used is None else used * page_bytes)
            parts.append(f"{area.name} {told}" + (f", largest hole {format_delta(hole * page_bytes)}" if hole else ""))
    return "since mark: " + ("; ".join(parts) or "nothing changed")


def _grown(before: int | None, now: int | None) -> int | None:
    return None if before is None or now is None else now - before
