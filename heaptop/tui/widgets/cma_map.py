"""The map of a CMA area: a virtual widget that draws only the lines in sight, with a cursor on one cell.

Rows are as wide as a round number of cells, each with the page frame of its first cell before it, as in a hex dump.
"""

from collections.abc import Sequence
from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from heaptop.analysis.occupancy import Run, run_at
from heaptop.model import CmaArea
from heaptop.tui.palette import MAP
from heaptop.tui.renderables.cma_map import (
    Bit,
    MapLayout,
    Row,
    bits_per_cell_for,
    bits_per_cell_max,
    draw_row,
    range_bits,
)
from heaptop.tui.renderables.cma_owners import Lies, owned_cells, signs
from heaptop.tui.widgets.drawn import Drawn
from heaptop.units import format_size

ROUND_CELLS = 16
LABEL_WIDTH_MIN = 40
"""On screens narrower than this the page frames are left out: cells are worth more."""
WHEEL_ROWS = 3
CURSOR = "◉"
"""The cell under the cursor, whose state the line below the map tells: seen on any shade, and without colour."""


class CmaMap(ScrollView, Drawn, can_focus=True):
    """Cells of an area by occupancy. Zoom `+` `-` or ctrl with the wheel, move by arrows, hjkl or the mouse."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left,h", "move(-1)", "Left", show=False),
        Binding("right,l", "move(1)", "Right", show=False),
        Binding("up,k", "rows(-1)", "Up", show=False),
        Binding("down,j", "rows(1)", "Down", show=False),
        Binding("pageup", "page(-1)", "Page up", show=False),
        Binding("pagedown", "page(1)", "Page down", show=False),
        Binding("home", "edge(0)", "Start of the area", show=False),
        Binding("end", "edge(1)", "End of the area", show=False),
        Binding("plus", "zoom(-1)", "zoom in", key_display="+"),
        Binding("equals_sign", "zoom(-1)", "Zoom in", show=False, key_display="="),
        Binding("minus", "zoom(1)", "zoom out", key_display="-"),
        Binding("0", "whole", "Whole area", show=False),
        Binding("n", "run(1)", "Next run", show=False),
        Binding("N", "run(-1)", "Previous run", show=False),
    ]
    LOOKS = MAP
    DEFAULT_CSS = """
    CmaMap {
        scrollbar-gutter: stable;
        scrollbar-size-vertical: 1;
        overflow-x: hidden;
    }
    """

    class CursorMoved(Message):
        """The cursor is on another cell, or the map shows it in another size."""

        def __init__(self, cma_map: "CmaMap") -> None:
            super().__init__()
            self.cma_map = cma_map

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002 - Textual's own name for it
        super().__init__(id=id)
        self.area: CmaArea | None = None
        self.cursor = Bit(0, 0)
        self._page_bytes = 4096
        self._layout = MapLayout((), 1, 1)
        self._zoom: int | None = None
        self._room: Sequence[Sequence[Run]] = ()
        self._lies: Sequence[Sequence[Lies]] = ()
        self._chosen: int | None = None

    @property
    def bits_per_cell(self) -> int:
        """Bits that one cell stands for."""
        return self._layout.bits_per_cell

    @property
    def cell_pages(self) -> int:
        """Pages that one cell stands for."""
        return self.bits_per_cell << self._order_per_bit

    @property
    def _order_per_bit(self) -> int:
        return (self.area.order_per_bit or 0) if self.area is not None else 0

    def set_area(self, area: CmaArea, page_bytes: int) -> None:
        """Show this area. The same area as before (by name) keeps cursor, zoom and scroll."""
        if self.area is None or self.area.name != area.name:
            self.cursor, self._zoom, self._room, self._lies = Bit(0, 0), None, (), ()
            self.scroll_to(y=0, animate=False, force=True)
        if (area, page_bytes) != (self.area, self._page_bytes):
            self.area, self._page_bytes = area, page_bytes
            self._lay_out()

    def set_room(self, room: Sequence[Sequence[Run]]) -> None:
        """The free runs, for each range, that a request could be placed in; they are marked."""
        if room != self._room:
            self._room = room
            self.redraw()

    def set_owners(self, lies: Sequence[Sequence[Lies]], chosen: int | None) -> None:
        """Whose the bits of each range are, and which buffer lies under the cursor: it stands out."""
        if (lies, chosen) != (self._lies, self._chosen):
            self._lies, self._chosen = lies, chosen
            self.redraw()

    def go_to(self, place: Bit) -> None:
        """Put the cursor on a bit and show it."""
        bits = self._layout.range_bits
        if not bits:
            return
        index = max(0, min(place.range_index, len(bits) - 1))
        self.cursor = Bit(index, max(0, min(place.bit, bits[index] - 1)))
        _, y = self._layout.place_of(self.cursor)
        height = max(1, self.size.height)
        if y < self._top:
            self._scroll_top(0 if y <= self._layout.heading_rows else y)
        elif y >= self._top + height:
            self._scroll_top(y - height + 1)
        self.post_message(self.CursorMoved(self))
        self.refresh()

    @property
    def _top(self) -> int:
        return round(self.scroll_offset.y)

    def _scroll_top(self, top: int) -> None:
        self.scroll_to(y=max(0, top), animate=False, force=True)

    @property
    def _label_width(self) -> int:
        """Columns of the page frames at the left, 0 on a narrow screen."""
        if self.area is None or self.scrollable_content_region.width < LABEL_WIDTH_MIN:
            return 0
        ends = ((part.base_pfn or 0) + part.count_pages for part in self.area.ranges)
        return len(f"0x{max(ends, default=0):x} ")

    def _lay_out(self) -> None:
        if self.area is None:
            return
        room = max(1, self.scrollable_content_region.width - self._label_width)
        width = room - room % ROUND_CELLS if room >= ROUND_CELLS else room
        bits = range_bits(self.area)
        fitting = bits_per_cell_for(bits, width, max(1, self.size.height))
        zoom = fitting if self._zoom is None else min(self._zoom, bits_per_cell_max(bits, width))
        self._layout = MapLayout(bits, width, zoom)
        self.virtual_size = Size(max(1, self.scrollable_content_region.width), self._layout.height)
        if bits:
            index = min(self.cursor.range_index, len(bits) - 1)
            self.cursor = Bit(index, max(0, min(self.cursor.bit, bits[index] - 1)))
        self.post_message(self.CursorMoved(self))
        self.redraw()

    def on_resize(self) -> None:
        """Lay the cells out anew."""
        self._lay_out()

    def action_move(self, cells: int) -> None:
        """Cursor left or right, on to the next row."""
        if self._layout.range_bits:
            self.go_to(self._layout.move(self.cursor, cells))

    def action_rows(self, rows: int) -> None:
        """Cursor up or down."""
        if self._layout.range_bits:
            self.go_to(self._layout.move_rows(self.cursor, rows))

    def action_page(self, pages: int) -> None:
        """A screen up or down."""
        self.action_rows(pages * max(1, self.size.height - 1))

    def action_edge(self, end: int) -> None:
        """To the first or the last page of the area."""
        bits = self._layout.range_bits
        self.go_to(Bit(len(bits) - 1, bits[-1] - 1) if end and bits else Bit(0, 0))

    def action_run(self, direction: int) -> None:
        """To the next or the previous run."""
        if self.area is None or not self._layout.range_bits:
            return
        index, bit = self.cursor
        bitmap, bits = self.area.ranges[index].bitmap, self._layout.range_bits[index]
        if bitmap is None:
            return
        run = run_at(bitmap, bits, bit)
        target = run.start_bit + run.count_bits if direction > 0 else run.start_bit - 1
        if 0 <= target < bits:
            self.go_to(Bit(index, target if direction > 0 else run_at(bitmap, bits, target).start_bit))
        elif 0 <= index + direction < len(self._layout.range_bits):
            following = index + direction
            self.go_to(Bit(following, 0 if direction > 0 else self._layout.range_bits[following] - 1))

    def action_zoom(self, steps: int) -> None:
        """Finer (-1) or coarser (1), down to a cell a bit; the cursor keeps its line on the screen."""
        if self.area is None or not self._layout.range_bits:
            return
        line = self._layout.place_of(self.cursor)[1] - self._top
        coarsest = bits_per_cell_max(self._layout.range_bits, self._layout.width)
        zoom = self.bits_per_cell * 2 if steps > 0 else self.bits_per_cell // 2
        self._zoom = max(1, min(zoom, coarsest))
        self._lay_out()
        self._scroll_top(self._layout.place_of(self.cursor)[1] - line)

    def action_whole(self) -> None:
        """The whole area on one screen, however often that changes its size."""
        self._zoom = None
        self._lay_out()
        self._scroll_top(0)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        """Wheel: scroll, with ctrl zoom in."""
        self._wheel(event, -1)

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        """Wheel: scroll, with ctrl zoom out."""
        self._wheel(event, 1)

    def _wheel(self, event: events.MouseEvent, direction: int) -> None:
        event.stop()
        event.prevent_default()
        if not event.ctrl:
            self._scroll_top(min(self._top + direction * WHEEL_ROWS, max(0, self._layout.height - self.size.height)))
            return
        if (place := self._at(event)) is not None:
            self.cursor = place
        self.action_zoom(direction)

    def on_click(self, event: events.Click) -> None:
        """The cursor goes to the cell."""
        if (place := self._at(event)) is not None:
            self.go_to(place)

    def _at(self, event: events.MouseEvent) -> Bit | None:
        offset = event.get_content_offset(self)
        return None if offset is None else self._layout.bit_at(offset.x - self._label_width, self._top + offset.y)

    def depends_on(self) -> tuple[object, ...]:
        """See Drawn."""
        return (*super().depends_on(), self.cursor, self._layout, self._chosen)

    def draw_line(self, y: int) -> Strip:
        """Line `y` of the widget."""
        width, base = self.scrollable_content_region.width, self.base
        row = self._layout.row(self._top + y)
        if row is None or self.area is None:
            return Strip.blank(width, base)
        segments = self._heading(row, base) if row.count_bits == 0 else self._cells(row, base)
        return Strip(segments).adjust_cell_length(width, base)

    def _heading(self, row: Row, base: Style) -> list[Segment]:
        assert self.area is not None
        part = self.area.ranges[row.range_index]
        place = "" if part.base_pfn is None else f" at pfn 0x{part.base_pfn:x}"
        size = format_size(part.count_pages * self._page_bytes)
        return [Segment(f"range {row.range_index}  {size}{place}", base + self.looks["heading"])]

    def _cells(self, row: Row, base: Style) -> list[Segment]:
        assert self.area is not None
        part = self.area.ranges[row.range_index]
        room = self._room[row.range_index] if row.range_index < len(self._room) else ()
        lies = self._lies[row.range_index] if row.range_index < len(self._lies) else ()
        told = signs(owned_cells(lies, row, self.bits_per_cell), self._chosen) if lies else ()
        segments = []
        if self._label_width:
            first_page = (part.base_pfn or 0) + (row.start_bit << self._order_per_bit)
            label = f"{'+' if part.base_pfn is None else '0x'}{first_page:x}".ljust(self._label_width)
            segments.append(Segment(label, base + self.looks["label"]))
        ahead = self.cursor.bit - row.start_bit if self.cursor.range_index == row.range_index else -1
        cursor_x = ahead // self.bits_per_cell if 0 <= ahead < row.count_bits else -1
        x = 0
        for text, kind in draw_row(part.bitmap, row, self.bits_per_cell, room, told):
            style = base + self.looks[kind]
            at = cursor_x - x
            if 0 <= at < len(text):
                glyph, name = (CURSOR, "cursor") if self.has_focus else (text[at], "cursor-blurred")
                cursor = Segment(glyph, style + self.looks[name])
                segments += [Segment(text[:at], style), cursor, Segment(text[at + 1 :], style)]
            else:
                segments.append(Segment(text, style))
            x += len(text)
        return [segment for segment in segments if segment.text]
