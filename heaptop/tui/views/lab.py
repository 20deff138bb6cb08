"""View 6, the Lab: allocate test buffers, see what is held, free it. Present only where the source can allocate."""

import asyncio
from collections import deque
from concurrent.futures import Future
from functools import partial
from typing import ClassVar

from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, VerticalScroll
from textual.content import Content
from textual.widgets import Button, Checkbox, Input, Label, Select, Static
from textual.worker import Worker

from heaptop.backend.base import Allocator
from heaptop.errors import UsageError
from heaptop.session import Update
from heaptop.tui.batch import Batch, allocate
from heaptop.tui.renderables import lab
from heaptop.tui.renderables.details import Line
from heaptop.tui.shown import clock_time
from heaptop.tui.view import View
from heaptop.tui.widgets.detail import content_of
from heaptop.tui.widgets.table import Table
from heaptop.units import printable

RESULTS_MAX = 100


def give_back(future: "Future[Batch]") -> None:
    """Free buffers that nobody waits for any more."""
    if not future.cancelled() and future.exception() is None:
        future.result().close()


class Tick(Checkbox):
    """A check box that is seen to be off without colour."""

    BUTTON_INNER = " "

    def watch_value(self) -> None:
        """Draw the cross only where it is on."""
        self.BUTTON_INNER = "X" if self.value else " "
        super().watch_value()


class AllocationForm(VerticalScroll):
    """Heap, size, count, name, pattern. Tab and Enter stay in the form, Esc leaves it."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("tab", "app.focus_next", "Next field", show=False),
        Binding("shift+tab", "app.focus_previous", "Previous field", show=False),
    ]
    can_focus = False

    def compose(self) -> ComposeResult:
        """One line a field."""
        patterns = [(name, name) for name in lab.PATTERNS]
        yield from self._field("Heap", Select[str]([], id="lab-heap", compact=True, prompt="no heap"))
        yield from self._field("Size", Input("4M", id="lab-size", compact=True))
        yield from self._field("Count", Input("1", id="lab-count", compact=True))
        yield from self._field("Name", Input(id="lab-name", compact=True, placeholder="none"))
        select = Select(patterns, id="lab-pattern", compact=True, value="none", allow_blank=False)
        yield from self._field("Fill", select)
        yield from self._field("", Tick("Force", id="lab-force", compact=True))
        yield from self._field("", Button("Allocate", id="lab-go", compact=True, variant="primary"))
        yield Static(id="lab-wrong", markup=False)

    @staticmethod
    def _field(label: str, widget: Input | Select[str] | Checkbox | Button) -> ComposeResult:
        with Horizontal(classes="lab-field"):
            yield Label(label, markup=False)
            yield widget

    def form(self) -> lab.Form:
        """What is typed."""
        heap = self.query_one("#lab-heap", Select).value
        return lab.Form(
            heap=heap if isinstance(heap, str) else None,
            size=self.query_one("#lab-size", Input).value,
            count=self.query_one("#lab-count", Input).value,
            name=self.query_one("#lab-name", Input).value,
            pattern=str(self.query_one("#lab-pattern", Select).value),
            force=self.query_one("#lab-force", Checkbox).value,
        )

    def set_heaps(self, names: tuple[str, ...]) -> None:
        """Offer these heaps; the chosen one stays chosen."""
        select = self.query_one("#lab-heap", Select)
        chosen = select.value
        select.set_options([(Content(printable(name)), name) for name in names])
        if names:
            select.value = chosen if chosen in names else names[0]


class LabView(View):
    """The form at the left, what is held at the right, results below."""

    title = "Lab"
    number = 6
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("a", "ask", "allocate"),
        Binding("f", "free", "free"),
        Binding("F", "free_all", "free all"),
        Binding("x", "content", "content"),
        Binding("escape", "leave", "Leave the form", show=False),
    ]
    DEFAULT_CSS = """
    LabView {
        & #lab-hint { height: 1; padding: 0 1; color: $text-muted; }
        & #lab-top { height: 1fr; min-height: 9; }
        & AllocationForm { width: 34; height: 100%; padding: 0 1; }
        & .lab-field { height: 1; }
        & .lab-field Label { width: 8; color: $text-muted; }
        & .lab-field Input, & .lab-field Select { width: 1fr; }
        & #lab-wrong { height: auto; color: $orphan; }
        & #lab-results { height: 30%; min-height: 5; border-top: hkey $panel; padding: 0 1; }
    }
    """

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002 - Textual's own name for it
        super().__init__(id=id)
        self.table: Table[lab.HeldRow] = Table(lab.COLUMNS, lambda row: row.allocation.inode, id="lab-held")
        self._heaps: tuple[str, ...] = ()
        self._results: deque[Line] = deque(maxlen=RESULTS_MAX)
        self._series: Worker[None] | None = None

    def compose(self) -> ComposeResult:
        """Hint, form, list, results."""
        yield Static(lab.HINT, id="lab-hint", markup=False)
        with Horizontal(id="lab-top"):
            yield AllocationForm()
            yield self.table
        with VerticalScroll(id="lab-results", can_focus=False):
            yield Static(id="lab-log", markup=False)

    @property
    def form(self) -> AllocationForm:
        """The form."""
        return self.query_one(AllocationForm)

    def on_mount(self) -> None:
        """Ask the source for its heaps."""
        self._ask_heaps()

    @work(exclusive=True, group="heaps")
    async def _ask_heaps(self) -> None:
        allocator = self.shell.allocator
        if allocator is None:
            return
        heaps = tuple(await asyncio.wrap_future(self.shell.submit(lambda _: tuple(allocator.heaps()))))
        if heaps != self._heaps:
            self._heaps = heaps
            self.form.set_heaps(heaps)

    def show(self, update: Update) -> None:
        """Draw what is held."""
        now, seen = self.shell.now(), update.history.first_seen
        rows = [
            lab.HeldRow(allocation, max(0.0, now - seen.get(allocation.inode, now)))
            for allocation in self.shell.held.allocations
        ]
        self.table.set_rows(rows, empty="no test buffer is held: press a to fill in the form, Enter to allocate")
        names = tuple(heap.name for heap in update.snapshot.heaps)
        if set(names) != set(self._heaps):
            self._ask_heaps()
        self._check()

    def status_text(self) -> str:
        """What is held."""
        return lab.held_text(self.shell.held.allocations)

    def focus_content(self) -> None:
        """Enter allocates at once; the fields are one key away."""
        self.query_one("#lab-go", Button).focus()

    def _check(self) -> lab.Order | None:
        """Say what is wrong with the form, and offer Allocate where nothing is."""
        update = self.shell.update
        order, wrong = None, ""
        if update is not None and self._heaps:
            try:
                order = lab.order_of(self.form.form(), update.snapshot)
            except UsageError as error:
                wrong = str(error)
        self.query_one("#lab-wrong", Static).update(printable(wrong))
        return order

    def on_input_changed(self) -> None:
        """Check while it is typed."""
        self._check()

    def on_select_changed(self) -> None:
        """Check while it is chosen."""
        self._check()

    def on_checkbox_changed(self) -> None:
        """Check when it is forced."""
        self._check()

    def on_input_submitted(self) -> None:
        """Enter in a field allocates."""
        self.action_allocate()

    def on_button_pressed(self) -> None:
        """Allocate, or stop."""
        self.action_allocate()

    def action_allocate(self) -> None:
        """Carry out what the form says; while an order of many goes on, stop it."""
        if self._series is not None and self._series.is_running:
            self._series.cancel()
            return
        order, allocator = self._check(), self.shell.allocator
        if order is not None and allocator is not None:
            worker = self.run_worker(self._carry_out(order, allocator), group="allocate")
            self._series = worker if order.count > 1 else None

    async def _carry_out(self, order: lab.Order, allocator: Allocator) -> None:
        """Batch by batch in the poller's thread, so that scans go on in between."""
        button = self.query_one("#lab-go", Button)
        done = 0
        try:
            while done < order.count:
                if order.count > 1:
                    button.label = f"Stop ({done} of {order.count})"
                future = self.shell.submit(partial(allocate, allocator, order, order.count - done))
                try:
                    batch = await asyncio.wrap_future(future)
                except asyncio.CancelledError:
                    future.add_done_callback(give_back)
                    raise
                if not self.app.is_running:  # it is being taken down: nobody is left to hold them
                    batch.close()
                    return
                done += len(batch.given)
                self._take(batch, order, done)
                if batch.error is not None:
                    return
        finally:
            button.label = "Allocate"

    def _take(self, batch: Batch, order: lab.Order, done: int) -> None:
        lines = lab.success_lines(self._clock, batch.given)
        if batch.error is not None:
            update = self.shell.update
            snapshot = None if update is None else update.snapshot
            lines = lab.failure_lines(self._clock, batch.error, order, done, snapshot) + lines
        if batch.given:
            self.shell.held.add(*batch.given)
        self._note(lines)

    @property
    def _clock(self) -> str:
        return clock_time(self.shell.now())

    def _note(self, lines: list[Line]) -> None:
        self._results.extendleft(reversed(lines))
        self.query_one("#lab-log", Static).update(content_of(tuple(self._results)))
        self.query_one("#lab-results").scroll_home(animate=False)
        self.shell.redraw()

    def action_ask(self) -> None:
        """Fill in the form."""
        self.query_one("#lab-size", Input).focus()

    def action_leave(self) -> None:
        """From the form to the list."""
        self.table.focus()

    def action_free(self) -> None:
        """Free the buffer under the cursor."""
        row = self.table.cursor_row
        if row is not None and self.shell.held.free(row.allocation.inode):
            self._note([((f"{self._clock} ", "dim"), ("- ", "gone"), (f"inode {row.allocation.inode} is free", ""))])

    def action_free_all(self) -> None:
        """Free all."""
        count = self.shell.held.free_all()
        if count:
            plural = "" if count == 1 else "s"
            self._note([((f"{self._clock} ", "dim"), ("- ", "gone"), (f"{count} buffer{plural} freed", ""))])

    def action_content(self) -> None:
        """Look into the buffer under the cursor."""
        if (row := self.table.cursor_row) is not None:
            self.shell.show_content(row.allocation.inode)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:  # noqa: ARG002
        """Esc leaves the form, and is the app's own outside; what is not held cannot be freed."""
        if action == "leave":
            return self.is_mounted and self.form.has_focus_within
        if action == "content" and self.shell.content_reader is None:
            return False
        if action in {"free", "free_all", "content"}:
            return True if len(self.shell.held) else None
        return True
