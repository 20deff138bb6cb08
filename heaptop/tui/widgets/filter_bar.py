"""The filter as it is typed: live, with what is wrong and where; the last good one stays on."""

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.message import Message
from textual.widgets import Input, Static

from heaptop.errors import FilterError
from heaptop.tui.widgets.said import Said


class FilterBar(Horizontal):
    """`/` opens it, Enter leaves it on and goes back to the list, Esc clears and closes it."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "app.clear_filter", "clear", key_display="Esc")]

    class Changed(Message):
        """Another text stands in it."""

        def __init__(self, text: str) -> None:
            super().__init__()
            self.text = text

    class Done(Message):
        """Enter: back to the list."""

    def __init__(self, id: str) -> None:  # noqa: A002 - Textual's own name for it
        super().__init__(id=id)
        self._error = Said(id="filter-error")

    def compose(self) -> ComposeResult:
        """`/`, the text, what is wrong with it."""
        yield Static("/", id="filter-slash")
        yield Input(placeholder="camera size>1M and not orphan", compact=True, select_on_focus=False)
        yield self._error

    def on_mount(self) -> None:
        """Closed at first."""
        self.display = False

    def show_text(self, text: str) -> None:
        """Show it with this text."""
        self.display = True
        field = self.query_one(Input)
        field.value = text
        field.cursor_position = len(text)

    def open(self, text: str) -> None:
        """Show it with this text and give it the keys, at once: the next one may be on its way."""
        self.show_text(text)
        self.screen.set_focus(self.query_one(Input))

    def close(self) -> None:
        """Empty and hide it."""
        self.display = False
        self.query_one(Input).value = ""

    def say(self, error: FilterError | None) -> None:
        """Point at what is wrong."""
        text = "" if error is None else f"col {error.position + 1}: {error.what}"
        self._error.update(text)

    def on_input_changed(self, event: Input.Changed) -> None:
        """Live."""
        event.stop()
        self.post_message(self.Changed(event.input.value))  # not the event's: that may be of before a clearing

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Enter."""
        event.stop()
        self.post_message(self.Done())
