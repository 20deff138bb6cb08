"""The newest live events, below whatever view is shown: a line about them, and some of them, the newest last."""

from collections.abc import Sequence
from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.strip import Strip
from textual.widget import Widget

from heaptop.tui.event_log import EventLog
from heaptop.tui.renderables.chrome import Piece, spread
from heaptop.tui.renderables.events import columns, head_pieces
from heaptop.tui.renderables.table import STYLES, draw_row, fit, place
from heaptop.tui.watcher import Seen
from heaptop.tui.widgets.line import Line


class EventLines(Widget):
    """As many of the newest as there is room for."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {f"events--{name}" for name in ("new", "gone", "suspect", "dim")}

    def __init__(self) -> None:
        super().__init__()
        self._events: Sequence[Seen] = ()
        self._page_bytes = 4096
        self._empty = ""

    def tell(self, events: Sequence[Seen], page_bytes: int, empty: str) -> None:
        """Draw the last ones of these."""
        self._events, self._page_bytes, self._empty = events, page_bytes, empty
        self.refresh()

    def render_line(self, y: int) -> Strip:
        """The newest event stands in the last line that is taken."""
        width, base = self.size.width, self.rich_style
        first = max(0, len(self._events) - self.size.height)
        if first + y >= len(self._events):
            return Strip([Segment(fit(f" {self._empty}" if y == 0 else "", width), base)], width)
        styles = {name: self._style(name) for name in STYLES if f"events--{name}" in self.COMPONENT_CLASSES}
        placed = place(columns(self._page_bytes), max(1, width - 1))
        row = draw_row(placed, self._events[first + y], max(1, width - 1), base, styles)
        return Strip([Segment(" ", base), *row], width)

    def _style(self, name: str) -> Style:
        return self.get_component_rich_style(f"events--{name}", partial=True)


class EventPanel(Vertical):
    """See the module."""

    DEFAULT_CSS = """
    EventPanel {
        height: 25%;
        min-height: 2;
        max-height: 11;
        background: $surface;
        &.-off { display: none; }
        & #events-head { background: $panel; }
        & EventLines { height: 1fr; background: $surface; }
        & .events--new { color: $new; }
        & .events--gone { color: $gone; }
        & .events--suspect { color: $suspect; text-style: bold; }
    }
    """

    def compose(self) -> ComposeResult:
        """The line, the events."""
        yield Line("events-head")
        yield EventLines()

    def tell(self, log: EventLog, events: Sequence[Seen], page_bytes: int) -> None:
        """Draw this log; `events` are those of it that match the filter."""
        keys = [Piece("e off  E list ", "dim", "app.event_list")]
        self.query_one("#events-head", Line).tell(lambda width: spread(head_pieces(log), keys, width))
        self.query_one(EventLines).tell(events, page_bytes, "" if events or log.error else "nothing yet")
