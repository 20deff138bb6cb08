"""A table of any number of rows that draws only what is on the screen.

Rows are values of the caller's own type in any sequence (it may be lazy: only visible rows are asked for their cells).
The cursor belongs to a row's key: a refresh moves neither the cursor on the screen nor the row under it.
"""

import textwrap
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, ClassVar, Generic, Protocol, TypeVar, runtime_checkable

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.geometry import Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from heaptop.tui.palette import TABLE
from heaptop.tui.renderables.table import Cell, Column, Placed, column_at, draw_row, draw_titles, fit, place
from heaptop.tui.widgets.drawn import Drawn
from heaptop.units import printable

T = TypeVar("T")

WHEEL_ROWS = 3


@runtime_checkable
class Finds(Protocol):
    """Rows that know where a key is."""

    def index_of(self, key: Any, /) -> int | None:
        """Index of the row with this key."""


class Table(ScrollView, Drawn, Generic[T], can_focus=True, inherit_bindings=False):
    """Virtual table; see the module. The header is line 0 of the widget, rows follow."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1)", "Up", show=False),
        Binding("down,j", "move(1)", "Down", show=False),
        Binding("pageup", "page(-1)", "Page up", show=False),
        Binding("pagedown", "page(1)", "Page down", show=False),
        Binding("home", "edge(0)", "First", show=False),
        Binding("end", "edge(1)", "Last", show=False),
        Binding("left", "expand(False)", "Close row", show=False),
        Binding("right", "expand(True)", "Open row", show=False),
    ]
    LOOKS = TABLE

    class Highlighted(Message):
        """The cursor is on another row."""

        def __init__(self, table: "Table[T]") -> None:
            super().__init__()
            self.table = table

    class Chosen(Message):
        """Enter or a double click on the row under the cursor."""

        def __init__(self, table: "Table[T]") -> None:
            super().__init__()
            self.table = table

    class HeaderClicked(Message):
        """A sortable column's title was clicked."""

        def __init__(self, table: "Table[T]", key: str) -> None:
            super().__init__()
            self.table = table
            self.key = key

    class Toggled(Message):
        """Open (True), close (False) or turn over (None) the row under the cursor."""

        def __init__(self, table: "Table[T]", expand: bool | None) -> None:
            super().__init__()
            self.table = table
            self.expand = expand

    def __init__(
        self,
        columns: Sequence[Column[T]],
        key: Callable[[T], Hashable],
        *,
        row_style: Callable[[T], str] = lambda _row: "",
        whole: Callable[[T], Cell | None] = lambda _row: None,
        id: str | None = None,  # noqa: A002 - Textual's own name for it
    ) -> None:
        """`key` gives a row's identity; `row_style` names a style (of `STYLES`) for the whole row, or is empty;
        `whole` a cell that stands across all columns, or None where the row has cells.
        """
        super().__init__(id=id)
        self.columns: Sequence[Column[T]] = columns
        self.sorted_by: tuple[str, bool] | None = None
        self.empty_text = ""
        self._key = key
        self._row_style = row_style
        self._whole = whole
        self.explain: Callable[[T, str], str] = lambda _row, _column: ""
        """Why a cell shows `~`: row and column key; told where the mouse rests."""
        self._rows: Sequence[T] = ()
        self._cursor = 0
        self._cursor_key: Hashable | None = None
        self._placed: tuple[Placed[T], ...] = ()

    @property
    def rows(self) -> Sequence[T]:
        """The rows as last given."""
        return self._rows

    @property
    def cursor_row(self) -> T | None:
        """The row under the cursor, None in an empty table."""
        return self._rows[self._cursor] if self._cursor < len(self._rows) else None

    @property
    def cursor_key(self) -> Hashable | None:
        """The identity of the row under the cursor."""
        return self._cursor_key

    @property
    def cursor_index(self) -> int:
        """0-based place of the cursor among the rows."""
        return self._cursor

    def set_rows(self, rows: Sequence[T], *, empty: str = "") -> None:
        """Replace the rows. The row under the cursor stays where it is on the screen; if it is gone, the row that
        takes its line has the cursor. `empty` is said where there are none. Only lines that look different are drawn.
        """
        line = self._cursor - self._top
        self._rows = rows
        self.empty_text = empty
        found = self._find(self._cursor_key) if self._cursor_key is not None else None
        self._cursor = max(0, min(self._cursor if found is None else found, len(rows) - 1))
        self._resize()
        top = max(0, min(self._cursor - line, len(rows) - self.page_rows))
        if top != self._top:
            self._scroll_top(top)
        self._note_cursor()
        self.redraw()

    def depends_on(self) -> tuple[object, ...]:
        """See Drawn."""
        return (*super().depends_on(), self._cursor, self._placed, self.sorted_by)

    def set_columns(self, columns: Sequence[Column[T]]) -> None:
        """Replace the columns."""
        self.columns = columns
        self._place()
        self.refresh()

    def set_sort(self, key: str, *, descending: bool) -> None:
        """Show which column rows are sorted by. Sorting itself is the caller's."""
        self.sorted_by = (key, descending)
        self.refresh()

    def select(self, key: Hashable) -> bool:
        """Move the cursor to the row with this key, if there is one, and show it."""
        found = self._find(key)
        if found is None:
            return False
        self._move_to(found)
        return True

    def show_cursor(self) -> None:
        """Scroll to where the cursor is."""
        self._move_to(self._cursor)

    def _find(self, key: Hashable) -> int | None:
        """Index of the row with this key, looked for from the cursor outwards: it rarely went far."""
        rows, key_of = self._rows, self._key
        if isinstance(rows, Finds):
            return rows.index_of(key)
        for distance in range(max(self._cursor + 1, len(rows) - self._cursor)):
            for index in (self._cursor - distance, self._cursor + distance):
                if 0 <= index < len(rows) and key_of(rows[index]) == key:
                    return index
        return None

    @property
    def _top(self) -> int:
        return round(self.scroll_offset.y)

    @property
    def page_rows(self) -> int:
        """Rows that fit on the screen below the header."""
        return max(1, self.scrollable_content_region.height - 1)

    def _resize(self) -> None:
        self.virtual_size = Size(max(1, self.scrollable_content_region.width), len(self._rows) + 1)

    def _place(self) -> None:
        self._placed = place(self.columns, self.scrollable_content_region.width)

    def _scroll_top(self, top: int) -> None:
        """Make `top` the first row shown, at once: an animation would show rows in the wrong place."""
        self.scroll_to(y=max(0, top), animate=False, force=True)

    def _note_cursor(self) -> None:
        row = self.cursor_row
        key = None if row is None else self._key(row)
        if key != self._cursor_key:
            self._cursor_key = key
            self.post_message(self.Highlighted(self))

    def _move_to(self, index: int) -> None:
        self._cursor = max(0, min(index, len(self._rows) - 1))
        if not self.size.height:
            pass  # not laid out yet: `on_resize` comes back
        elif self._cursor < self._top:
            self._scroll_top(self._cursor)
        elif self._cursor >= self._top + self.page_rows:
            self._scroll_top(self._cursor - self.page_rows + 1)
        self._note_cursor()
        self.refresh()

    def action_move(self, rows: int) -> None:
        """Cursor up or down."""
        self._move_to(self._cursor + rows)

    def action_page(self, pages: int) -> None:
        """A screen up or down."""
        self._move_to(self._cursor + pages * self.page_rows)

    def action_edge(self, end: int) -> None:
        """To the first or the last row."""
        self._move_to(len(self._rows) - 1 if end else 0)

    def action_expand(self, expand: bool) -> None:
        """Open or close a tree row."""
        if self.cursor_row is not None:
            self.post_message(self.Toggled(self, expand))

    def action_choose(self) -> None:
        """Details of the row under the cursor."""
        if self.cursor_row is not None:
            self.post_message(self.Chosen(self))

    def on_resize(self) -> None:
        """Place the columns anew; the cursor stays on the screen."""
        self._resize()
        self._place()
        if self._rows:
            self._move_to(self._cursor)

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        """Wheel: the list moves, the cursor stays with its row."""
        event.stop()
        event.prevent_default()
        self._scroll_top(min(self._top + WHEEL_ROWS, max(0, len(self._rows) - self.page_rows)))

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        """Wheel: the list moves, the cursor stays with its row."""
        event.stop()
        event.prevent_default()
        self._scroll_top(self._top - WHEEL_ROWS)

    def on_click(self, event: events.Click) -> None:
        """A title sorts, a row is selected, a second click on it opens its details."""
        offset = event.get_content_offset(self)
        if offset is None:
            return
        if offset.y == 0:
            column = column_at(self._placed, offset.x)
            if column is not None and column.sortable:
                self.post_message(self.HeaderClicked(self, column.key))
            return
        index = self._top + offset.y - 1
        if index >= len(self._rows):
            return
        self._move_to(index)
        if event.chain >= 2:
            self.post_message(self.Chosen(self))
        elif self._is_toggle(index, offset.x):
            self.post_message(self.Toggled(self, None))

    def _is_toggle(self, index: int, x: int) -> bool:
        """Whether a ▸ or ▾ of this row is drawn at `x`."""
        return self._line_text(index)[x : x + 1] in ("▸", "▾")

    def draw_line(self, y: int) -> Strip:
        """Titles, then rows from the scroll position on."""
        width = self.scrollable_content_region.width
        styles, base = self.looks, self.base
        if y == 0:
            segments = draw_titles(self._placed, width, base + styles["header"], styles["sorted"], self.sorted_by)
            return Strip(segments, width)
        index = self._top + y - 1
        if index >= len(self._rows):
            return self._empty_line(y, width, base, styles)
        row = self._rows[index]
        if (name := self._row_style(row)) in styles:
            base += styles[name]
        if index == self._cursor:
            base += styles["cursor" if self.has_focus else "cursor-blurred"]
            styles = {} if self.has_focus else styles  # a cell's own colour might vanish on the cursor's
        return Strip(draw_row(self._placed, row, width, base, styles, whole=self._whole(row)), width)

    def _line_text(self, index: int) -> str:
        row = self._rows[index]
        segments = draw_row(self._placed, row, self.size.width, Style(), {}, whole=self._whole(row))
        return "".join(segment.text for segment in segments)

    def on_mouse_move(self, event: events.MouseMove) -> None:
        """Over a `~`: say why it is not known."""
        index, column = self._top + event.y - 1, column_at(self._placed, event.x)
        tip = ""
        if event.y > 0 and index < len(self._rows) and column is not None:
            place = next(item for item in self._placed if item.column is column)
            if self._line_text(index)[place.x : place.x + place.width].strip() == "~":
                tip = self.explain(self._rows[index], column.key)
        self.tooltip = Content(printable(tip)) if tip else None

    def _empty_line(self, y: int, width: int, base: Style, styles: Mapping[str, Style]) -> Strip:
        """A line below the rows; the second one of an empty table begins to say why it is empty."""
        lines = textwrap.wrap(printable(self.empty_text), max(1, width - 2)) if not self._rows else []
        if not 0 <= y - 2 < len(lines):
            return Strip.blank(width, base)
        return Strip([Segment(fit(f" {lines[y - 2]}", width), base + styles["dim"])], width)
