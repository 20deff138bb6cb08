"""Drawing of a table's lines: columns, their widths on any screen, and cells as styled text. No app needed."""

from collections.abc import Callable, Mapping, Sequence
from typing import Generic, Literal, NamedTuple, TypeVar

from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from rich.style import Style

from heaptop.units import printable

T = TypeVar("T")

Span = tuple[str, str]
"""Text and the name of its style: one of `STYLES`, or empty for the row's own."""

Cell = str | tuple[Span, ...]
"""What stands in a cell. Always plain text: it is made printable when drawn, and markup means nothing in it."""

STYLES = (
    *("new", "gone", "grown", "shrunk", "suspect", "orphan", "unknown", "own", "dim", "strong", "match"),
    *("bar", "bar-rest", "trend", "name", "size", "link", "cma"),
)
"""Style names a cell or a row may use; the table has a component class `table--NAME` for each."""

GAP = 1
"""Cells between two columns."""


class Column(NamedTuple, Generic[T]):
    """A column of a table of `T`.

    `key` names it (and is its sort key, as analysis.sort has it, where `sortable`). `width` is the least it needs, in
    cells; `flex` is its share of what is left over, up to `width_max` where set. `worth` decides who is dropped on a
    narrow screen: the lowest first, 100 never. `cell` gets the row and the column's width as it is on the screen.
    """

    key: str
    title: str
    width: int
    cell: Callable[[T, int], Cell]
    align: Literal["left", "right"] = "left"
    flex: int = 0
    width_max: int | None = None
    worth: int = 50
    sortable: bool = True


class Placed(NamedTuple, Generic[T]):
    """A column with its place on the screen: x of its first cell and its width."""

    column: Column[T]
    x: int
    width: int


def place(columns: Sequence[Column[T]], width: int) -> tuple[Placed[T], ...]:
    """Columns that fit into `width` cells, in order, each with its place; those of least worth go first.

    The last one left is cut to the screen rather than dropped.
    """
    kept = list(columns)
    while len(kept) > 1 and _least_width(kept) > width:
        candidates = [column for column in kept if column.worth < 100] or kept[1:]
        kept.remove(min(candidates, key=lambda column: column.worth))
    widths = _share_out(kept, max(0, width - _least_width(kept)))
    placed, x = [], 0
    for column, column_width in zip(kept, widths, strict=True):
        fitting = max(0, min(column_width, width - x))
        placed.append(Placed(column, x, fitting))
        x += fitting + GAP
    return tuple(item for item in placed if item.width > 0)


def _least_width(columns: Sequence[Column[T]]) -> int:
    return sum(column.width for column in columns) + GAP * (len(columns) - 1)


def _share_out(columns: Sequence[Column[T]], spare: int) -> list[int]:
    """Widths with the spare cells given out by flex; what one cannot take goes to the next."""
    widths = [column.width for column in columns]
    open_ = [index for index, column in enumerate(columns) if column.flex]
    while spare > 0 and open_:
        before, flex = len(open_), sum(columns[index].flex for index in open_)
        shares = {index: spare * columns[index].flex // flex for index in open_}
        shares[open_[0]] += spare - sum(shares.values())
        for index in tuple(open_):
            limit = columns[index].width_max
            room = shares[index] if limit is None else max(0, min(shares[index], limit - widths[index]))
            widths[index] += room
            spare -= room
            if room < shares[index]:
                open_.remove(index)
        if len(open_) == before:
            break
    return widths


def fit(text: str, width: int, align: Literal["left", "right"] = "left") -> str:
    """Printable text in exactly `width` cells; what is cut ends in `…`.

    >>> fit("cam-preview", 6)
    'cam-p…'
    """
    text = printable(text)
    length = len(text) if text.isascii() else cell_len(text)
    if length > width:
        return (set_cell_size(text, width - 1) + "…") if width > 0 else ""
    pad = " " * (width - length)
    return pad + text if align == "right" else text + pad


def fit_spans(cell: Cell, width: int, align: Literal["left", "right"] = "left") -> list[Span]:
    """A cell in exactly `width` cells of the screen."""
    if isinstance(cell, str):
        return [(fit(cell, width, align), "")]
    spans = [(printable(text), style) for text, style in cell]
    length = sum(cell_len(text) for text, _ in spans)
    if length > width:
        return _cut(spans, width)
    pad = (" " * (width - length), "")
    return [pad, *spans] if align == "right" else [*spans, pad]


def _cut(spans: Sequence[Span], width: int) -> list[Span]:
    """The first `width` cells of spans that are longer."""
    taken: list[Span] = []
    left = width
    for text, style in spans:
        if cell_len(text) >= left:
            taken.append((fit(text + " " * left, left) if cell_len(text) > left else fit(text + "…", left), style))
            break
        taken.append((text, style))
        left -= cell_len(text)
    return taken


def draw_row(
    placed: Sequence[Placed[T]],
    row: T,
    width: int,
    base: Style,
    styles: Mapping[str, Style],
    *,
    whole: Cell | None = None,
) -> list[Segment]:
    """One line: every cell in its place on `base`, spans with their named style laid over it; or `whole` across all."""
    if whole is not None:
        spans = fit_spans(whole, width)
        return [Segment(text, base + styles[style] if style in styles else base) for text, style in spans if text]
    segments: list[Segment] = []
    plain = ""
    for index, item in enumerate(placed):
        if index:
            plain += " " * GAP
        cell = item.column.cell(row, item.width)
        if isinstance(cell, str):
            plain += fit(cell, item.width, item.column.align)
            continue
        for text, style in fit_spans(cell, item.width, item.column.align):
            if style in styles:
                segments += [Segment(plain, base), Segment(text, base + styles[style])]
                plain = ""
            else:
                plain += text
    used = placed[-1].x + placed[-1].width if placed else 0
    segments.append(Segment(plain + " " * max(0, width - used), base))
    return [segment for segment in segments if segment.text]


def draw_titles(
    placed: Sequence[Placed[T]], width: int, base: Style, sorted_style: Style, sort: tuple[str, bool] | None
) -> list[Segment]:
    """The header line; the sorted column (key, descending) carries ▼ or ▲."""
    segments: list[Segment] = []
    for index, item in enumerate(placed):
        column, gap = item.column, " " * GAP if index else ""
        if sort is not None and sort[0] == column.key:
            arrow = "▼" if sort[1] else "▲"
            if column.align == "right" and gap and len(column.title) == item.width:
                gap, text = arrow, column.title  # a narrow column's arrow stands in the gap before it
            else:
                title = fit(column.title, min(len(column.title), max(0, item.width - 1)))
                text = arrow + title if column.align == "right" else title + arrow
            segments.append(Segment(gap + fit(text, item.width, column.align), base + sorted_style))
        else:
            segments.append(Segment(gap + fit(column.title, item.width, column.align), base))
    used = placed[-1].x + placed[-1].width if placed else 0
    segments.append(Segment(" " * max(0, width - used), base))
    return [segment for segment in segments if segment.text]


def column_at(placed: Sequence[Placed[T]], x: int) -> Column[T] | None:
    """The column that covers cell `x` of a line (the gap after a column is its own)."""
    for item in placed:
        if item.x <= x < item.x + item.width + GAP:
            return item.column
    return None
