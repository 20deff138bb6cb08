"""Whether a request fits into the CMA areas, and what would have to go: as text and as JSON."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from heaptop.analysis.in_the_way import InTheWay, in_the_way
from heaptop.analysis.occupancy import Fit, fit, heap_align_order
from heaptop.model import Buffer, CmaArea, Snapshot
from heaptop.report.csv import holder_label
from heaptop.report.json import Json, head
from heaptop.report.table import BOLD, YELLOW, Column, Look, Row, draw
from heaptop.report.text import UNKNOWN, buffer_name, title
from heaptop.units import format_size, printable


class Answer(NamedTuple):
    """What one area says to a request. `way` is None where it fits, or never could, or nothing tells."""

    area: CmaArea
    size_pages: int
    align_order: int
    found: Fit
    way: InTheWay | None


def answers(snapshot: Snapshot, size_bytes: int, align_bytes: int | None) -> tuple[Answer, ...]:
    """Ask every area, aligned as asked for, or as the CMA heap aligns a buffer of this size."""
    size_pages = -(-size_bytes // snapshot.page_bytes)
    align_order = heap_align_order(size_pages)
    if align_bytes is not None:
        align_order = max(0, (align_bytes // snapshot.page_bytes).bit_length() - 1)
    return tuple(_answer(area, size_pages, align_order, snapshot.buffers) for area in snapshot.cma)


def _answer(area: CmaArea, size_pages: int, align_order: int, buffers: Sequence[Buffer]) -> Answer:
    found = fit(area, size_pages, align_order)
    return Answer(area, size_pages, align_order, found, in_the_way(area, found, size_pages, buffers))


def text(snapshot: Snapshot, all_answers: Sequence[Answer], look: Look) -> str:
    """The request, then area by area whether it fits, and who is in the way."""
    if not all_answers:
        return title(snapshot, "no CMA area is seen here", look)
    one = all_answers[0]
    size, align = (pages * snapshot.page_bytes for pages in (one.size_pages, 1 << one.align_order))
    figures = f"will {format_size(size)} fit, aligned to {format_size(align)}?"
    return title(snapshot, figures, look) + "".join(
        line for answer in all_answers for line in _lines(answer, snapshot.page_bytes, look)
    )


def _lines(answer: Answer, page_bytes: int, look: Look) -> Iterator[str]:
    found, name = answer.found, look.paint(printable(answer.area.name), BOLD)
    if found.fits is None:
        yield f"{name}  not known: no bitmap is readable\n"
        return
    if found.fits:
        yield f"{name}  {look.paint('yes', BOLD)}: at {_place(found, found.pfn, answer.area)}\n"
        return
    hole = found.largest_hole_pages
    largest = "" if hole is None else f": largest aligned hole {format_size(hole * page_bytes)}"
    yield f"{name}  {look.paint('no', YELLOW)}{largest}\n"
    if found.in_the_way_pages is None:
        yield "  no range of it is so large\n"
        return
    in_way = format_size(found.in_the_way_pages * page_bytes)
    yield f"  nearest: {_place(found, found.nearest_pfn, answer.area)}, in the way {in_way}\n"
    if answer.way is not None:
        yield from _way_lines(answer.way, page_bytes, look)


def _way_lines(way: InTheWay, page_bytes: int, look: Look) -> Iterator[str]:
    if way.buffers:
        columns = (
            Column("  Ino", right=True),
            Column("There", right=True),
            Column("Size", right=True, worth=2),
            Column("Name", flexible=True),
            Column("Held by", flexible=True),
        )
        rows = [
            Row(
                (
                    str(one.buffer.inode),
                    format_size(one.count_pages * page_bytes),
                    format_size(one.buffer.size_bytes),
                    buffer_name(one.buffer),
                    " ".join(map(holder_label, one.buffer.holders)) or "nobody seen",
                )
            )
            for one in way.buffers
        ]
        yield draw(columns, rows, look)
    if not way.is_told:
        yield f"  {UNKNOWN} whose they are: nothing here tells where buffers lie\n"
    elif way.other_pages:
        yield f"  {format_size(way.other_pages * page_bytes)} of no known dma-buf\n"


def _place(found: Fit, pfn: int | None, area: CmaArea) -> str:
    page = (found.start_bit or 0) << (area.order_per_bit or 0)
    place = f"page {page}" if pfn is None else f"pfn {pfn:#x}"
    return f"{place} in range {found.range_index}" if len(area.ranges) > 1 else place


def document(snapshot: Snapshot, all_answers: Sequence[Answer]) -> Json:
    """The same as JSON."""
    return {**head(snapshot), "fit": [_item(answer, snapshot.page_bytes) for answer in all_answers]}


def _item(answer: Answer, page_bytes: int) -> Json:
    found, way = answer.found, answer.way
    return {
        "area": answer.area.name,
        "size_bytes": answer.size_pages * page_bytes,
        "align_bytes": page_bytes << answer.align_order,
        "fits": found.fits,
        "pfn": found.pfn,
        "range": found.range_index,
        "largest_hole_pages": found.largest_hole_pages,
        "nearest_pfn": found.nearest_pfn,
        "in_the_way_pages": found.in_the_way_pages,
        "other_pages": None if way is None or not way.is_told else way.other_pages,
        "in_the_way": None
        if way is None or not way.is_told
        else [
            {
                "inode": one.buffer.inode,
                "count_pages": one.count_pages,
                "size_bytes": one.buffer.size_bytes,
                "name": one.buffer.name,
                "holders": [{"pid": each.process.pid, "comm": each.comm} for each in one.buffer.holders],
            }
            for one in way.buffers
        ],
    }
