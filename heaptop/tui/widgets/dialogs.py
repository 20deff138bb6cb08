"""What stands over the screen for a moment: a choice, a question, help, a text. Esc closes each."""

from collections.abc import Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Input, OptionList, Static
from textual.widgets.option_list import Option

from heaptop.tui.renderables.details import Line
from heaptop.tui.widgets.detail import content_of

Choice = tuple[str, Line]
"""What choosing it returns, and how it reads."""


class Choose(ModalScreen[str | None]):
    """One of several; returns its id, or None."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "dismiss(None)", "Close"),
        Binding("j", "down", "Down", show=False),
        Binding("k", "up", "Up", show=False),
    ]

    def __init__(self, title: str, choices: Sequence[Choice], current: str = "") -> None:
        super().__init__()
        self._title = title
        self._choices = choices
        self._current = current

    def compose(self) -> ComposeResult:
        """The list, with the current one under the cursor."""
        options = [Option(content_of([line])) for _, line in self._choices]
        with Vertical(classes="dialog") as box:
            box.border_title = self._title
            yield OptionList(*options, markup=False)

    def on_mount(self) -> None:
        """Begin at the current one."""
        ids = [id_ for id_, _ in self._choices]
        self.query_one(OptionList).highlighted = ids.index(self._current) if self._current in ids else 0

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """That one."""
        self.dismiss(self._choices[event.option_index][0])

    def action_down(self) -> None:
        """As the arrow does."""
        self.query_one(OptionList).action_cursor_down()

    def action_up(self) -> None:
        """As the arrow does."""
        self.query_one(OptionList).action_cursor_up()


class Ask(ModalScreen[str | None]):
    """A line of text; returns it, or None."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "dismiss(None)", "Close")]

    def __init__(self, title: str, hint: str, value: str) -> None:
        super().__init__()
        self._title = title
        self._hint = hint
        self._value = value

    def compose(self) -> ComposeResult:
        """The question with its proposal."""
        with Vertical(classes="dialog") as box:
            box.border_title = self._title
            yield Input(self._value, select_on_focus=False)
            yield Static(self._hint, markup=False, classes="hint")

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Enter takes it."""
        self.dismiss(event.value.strip() or None)


class Sheet(ModalScreen[None]):
    """Text to read: help, gaps."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,enter,q,question_mark", "dismiss(None)", "Close")]

    def __init__(self, title: str, lines: Sequence[Line]) -> None:
        super().__init__()
        self._title = title
        self._lines = lines

    def compose(self) -> ComposeResult:
        """The text, which scrolls."""
        with VerticalScroll(classes="dialog sheet") as box:
            box.border_title = self._title
            box.border_subtitle = "Esc closes"
            yield Static(content_of(self._lines), markup=False)

    def on_mount(self) -> None:
        """Arrows scroll at once."""
        self.query_one(VerticalScroll).focus()
