"""View 1, Heaps: every heap and every other exporter with its share, and who holds it all."""

from collections.abc import Hashable, Mapping, Sequence
from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.widget import Widget

from heaptop.analysis.sort import HEAP_KEYS, sort_rows
from heaptop.session import Update
from heaptop.tui.renderables import heaps
from heaptop.tui.renderables.details import Line
from heaptop.tui.renderables.heaps import HeapRow
from heaptop.tui.renderables.table import Column
from heaptop.tui.table_view import TableView
from heaptop.tui.widgets.detail import content_of
from heaptop.tui.widgets.said import Said


class HeapsView(TableView[HeapRow]):
    """A table, sums below it, and the details of the row under the cursor."""

    title = "Heaps"
    number = 1
    DESCENDING = frozenset({"buffers", "size"})
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "buffers", "buffers of this heap"),
        Binding("i", "details", "details"),
    ]
    DEFAULT_CSS = """
    HeapsView #heaps-sums { height: auto; padding: 1 1 0 1; }
    """

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002 - Textual's own name for it
        super().__init__(id=id)
        self.sums = Said(id="heaps-sums")
        self.table.set_sort("size", descending=True)

    def columns(self) -> Sequence[Column[HeapRow]]:
        """Name, buffers, size, share, trend."""
        return heaps.COLUMNS

    def key(self, row: HeapRow) -> Hashable:
        """Kind and name."""
        return row.key

    def whole(self, row: HeapRow) -> Line | None:
        """A title."""
        return ((row.name or "", "dim"),) if row.kind == "title" else None

    def explain(self, row: HeapRow, column: str) -> str:
        """Why a number is not known."""
        update = self.shell.update
        return heaps.explain(row, column, () if update is None else update.snapshot.gaps)

    def details(self, row: HeapRow) -> list[Line]:
        """Exact numbers with their sources."""
        update = self.shell.update
        return [] if update is None else heaps.details(row, update.snapshot)

    def facts(self, row: HeapRow) -> Mapping[str, object]:
        """A row as `y` copies it."""
        area = row.heap.cma_area if row.heap is not None else None
        return {"name": row.name, "buffers": row.buffers, "size_bytes": row.size_bytes, "cma_area": area}

    def extras(self) -> Sequence[Widget]:
        """The sums."""
        return (self.sums,)

    def draw(self, update: Update) -> None:
        """Rows and sums of this update."""
        snapshot = update.snapshot
        key, descending = self.table.sorted_by or ("size", True)
        order = sort_rows(snapshot.heaps, HEAP_KEYS, f"-{key}" if descending else key)
        rows, empty = heaps.heap_rows(snapshot, update.history, order, self.shell.sums), heaps.empty_text(snapshot.gaps)
        if self.shell.since_mark_only and update.since_mark is not None:
            rows = heaps.since_mark(rows, update.since_mark)
            empty = "no heap has changed since the mark; press d to see all"
        self.table.set_rows(rows, empty=empty)
        self.sums.update(content_of(heaps.sum_lines(snapshot)))

    def status_text(self) -> str:
        """How many heaps."""
        update = self.shell.update
        count = 0 if update is None else len(update.snapshot.heaps)
        return f"{count} heap{'' if count == 1 else 's'}"

    def choose(self) -> None:
        """Enter and double click: the buffers of this heap."""
        self.action_buffers()

    def action_buffers(self) -> None:
        """Show the buffers of this heap."""
        row = self.table.cursor_row
        if row is not None and row.filter_text is not None:
            self.shell.set_filter(row.filter_text)
            self.shell.go(2)

    def action_details(self) -> None:
        """Open the pane and give it the keys."""
        super().choose()
