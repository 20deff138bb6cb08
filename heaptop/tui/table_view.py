"""A view that is a table with a detail pane: what Buffers and Processes (and any list) have in common."""

from collections.abc import Hashable, Mapping, Sequence
from typing import ClassVar, Generic, TypeVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container
from textual.widget import Widget

from heaptop.model import Buffer, Process
from heaptop.session import Update
from heaptop.tui.renderables.details import Line
from heaptop.tui.renderables.table import Column
from heaptop.tui.view import View
from heaptop.tui.widgets.detail import DetailPane
from heaptop.tui.widgets.table import Table

T = TypeVar("T")


class TableView(View, Generic[T]):
    """Subclasses give columns, keys, rows and details; sorting, the pane and copying are here."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "choose", "details"),
        Binding("s", "sort", "sort"),
        Binding("S", "reverse", "Sort the other way round", show=False),
        Binding("y", "copy(False)", "Copy the row as text", show=False),
        Binding("Y", "copy(True)", "Copy the row as JSON", show=False),
    ]
    DESCENDING: ClassVar[frozenset[str]] = frozenset()
    """Columns that begin with the largest when they are sorted by."""

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002 - Textual's own name for it
        super().__init__(id=id)
        self.table: Table[T] = Table(self.columns(), self.key, row_style=self.row_style, whole=self.whole)
        self.table.explain = self.explain
        self.pane = DetailPane()
        self._detailed: Hashable = None
        self._opened = False

    def columns(self) -> Sequence[Column[T]]:
        """The table's columns."""
        raise NotImplementedError

    def key(self, row: T) -> Hashable:
        """A row's identity."""
        raise NotImplementedError

    def row_style(self, row: T) -> str:  # noqa: ARG002 - for those that have styles
        """A style's name for the whole row, or empty."""
        return ""

    def whole(self, row: T) -> Line | None:  # noqa: ARG002 - for those that have such rows
        """What a row shows across all columns, or None where it has cells."""
        return None

    def explain(self, row: T, column: str) -> str:  # noqa: ARG002 - for those that can
        """Why a cell shows `~`."""
        return ""

    def details(self, row: T) -> list[Line]:
        """What the pane tells of a row."""
        raise NotImplementedError

    def facts(self, row: T) -> Mapping[str, object]:
        """A row as `y` copies it."""
        raise NotImplementedError

    def draw(self, update: Update) -> None:
        """Give the table its rows."""
        raise NotImplementedError

    def extras(self) -> Sequence[Widget]:
        """Widgets below the table."""
        return ()

    def compose(self) -> ComposeResult:
        """Table, pane."""
        self.pane.display = not self.shell.narrow
        with Container(classes="list-and-detail"):
            with Container(classes="list"):
                yield self.table
                yield from self.extras()
            yield self.pane

    def show(self, update: Update) -> None:
        """Draw the rows, then the details of the one under the cursor."""
        self.draw(update)
        self._draw_details()

    def focus_content(self) -> None:
        """The table has the keys, at once: the next one may be on its way."""
        self.screen.set_focus(self.table)

    def close_details(self) -> bool:
        """Esc: False where nothing was open."""
        if self.pane.has_focus or self._opened:
            self._opened = False
            self.table.focus()
            self._lay_out()
            return True
        return False

    def on_resize(self) -> None:
        """The pane stands at the right where there is room."""
        self._lay_out()

    def _lay_out(self) -> None:
        self.pane.display = self._opened or not self.shell.narrow
        self._draw_details()

    def _draw_details(self) -> None:
        row = self.table.cursor_row
        if not self.pane.display:
            return
        key = None if row is None else self.key(row)
        if row is not None and key != self._detailed and (pids := _pids_of(row)):
            self.shell.attend(pids)
        self.pane.tell([] if row is None else self.details(row), other=key != self._detailed)
        self._detailed = key

    def on_table_highlighted(self) -> None:
        """Another row: its details."""
        self._draw_details()
        self.refresh_bindings()

    def on_table_chosen(self) -> None:
        """Enter and double click. Subclasses say otherwise in `choose`: Textual calls the handlers of all classes."""
        self.choose()

    def choose(self) -> None:
        """Open the pane and give it the keys."""
        self._opened = True
        self._lay_out()
        self.pane.focus()

    def on_table_header_clicked(self, message: Table.HeaderClicked) -> None:
        """Sort by that column; once more turns it round."""
        current = self.table.sorted_by
        if current is not None and current[0] == message.key:
            self.sort_by(message.key, descending=not current[1])
        else:
            self.sort_by(message.key, descending=message.key in self.DESCENDING)

    def sort_by(self, key: str, *, descending: bool) -> None:
        """Another order; the row under the cursor keeps the cursor."""
        self.table.set_sort(key, descending=descending)
        if self.shell.update is not None:
            self.show(self.shell.update)
        self.table.show_cursor()
        self.shell.redraw()

    def action_choose(self) -> None:
        """As a double click on the row under the cursor."""
        self.table.action_choose()

    async def action_sort(self) -> None:
        """Choose what to sort by."""
        from heaptop.tui.widgets.dialogs import Choose

        choices = [(column.key, ((column.title, ""),)) for column in self.table.columns if column.sortable]
        current = self.table.sorted_by or ("", False)

        def take(key: str | None) -> None:
            if key is not None:
                self.sort_by(key, descending=key in self.DESCENDING)

        self.app.push_screen(Choose("Sort by", choices, current[0]), take)

    def action_reverse(self) -> None:
        """The same column the other way round."""
        if self.table.sorted_by is not None:
            key, descending = self.table.sorted_by
            self.sort_by(key, descending=not descending)

    def action_copy(self, as_json: bool) -> None:
        """The row under the cursor to the clipboard."""
        row = self.table.cursor_row
        if row is None:
            return
        facts = self.facts(row)
        if as_json:
            import json

            self.shell.copy(json.dumps(facts))
        else:
            self.shell.copy("\t".join("~" if value is None else str(value) for value in facts.values()))


def _pids_of(row: object) -> frozenset[int]:
    """The processes of which a row's details tell."""
    if isinstance(row, Process):
        return frozenset({row.id.pid})
    return frozenset(holder.process.pid for holder in row.holders) if isinstance(row, Buffer) else frozenset()
