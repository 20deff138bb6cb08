"""The detail pane: at the right from 120 columns, below the list on Enter where there is less room."""

from collections.abc import Sequence
from typing import ClassVar

from rich.cells import cell_len
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content

from heaptop.tui.renderables.details import Line
from heaptop.tui.widgets.said import Said
from heaptop.units import printable

_STYLES = {
    "strong": "bold",
    "title": "bold $primary",
    "dim": "$text-muted",
    "": "",
}


def content_of(lines: Sequence[Line]) -> Content:
    """Lines as Textual draws them. Text from outside is made printable and is never markup."""
    drawn = [
        Content.assemble(*((printable(text), _STYLES.get(style, f"${style}")) for text, style in line if text))
        for line in lines
    ]
    return Content("\n").join(drawn)


class DetailPane(VerticalScroll):
    """Scrolls by itself while it has the keys (Enter gives them, Esc takes them back)."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("j", "scroll_down", "Down", show=False),
        Binding("k", "scroll_up", "Up", show=False),
    ]

    def __init__(self) -> None:
        self._shown = Said()
        super().__init__(self._shown)
        self._lines: Sequence[Line] | None = None

    def tell(self, lines: Sequence[Line], *, other: bool) -> None:
        """Show these lines; `other` than before scrolls back to the top."""
        if lines != self._lines:
            before, self._lines = self._lines, lines
            self._shown.update(content_of(lines), layout=not self._is_as_high(before or (), lines))
        if other:
            self.scroll_home(animate=False)

    def _is_as_high(self, before: Sequence[Line], now: Sequence[Line]) -> bool:
        """Whether it takes as many lines on the screen: an age that goes on need not lay out all widgets again."""
        width = self._shown.size.width
        return len(before) == len(now) and all(
            old == new or (_length(old) <= width and _length(new) <= width)
            for old, new in zip(before, now, strict=True)
        )

    @property
    def text(self) -> str:
        """What it says, as plain text."""
        return content_of(self._lines or ()).plain


def _length(line: Line) -> int:
    return sum(cell_len(printable(text)) for text, _ in line)
