"""All live events that are kept, over the whole screen, the newest first; where a CMA area failed, its map then."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.screen import ModalScreen

from heaptop.tui.event_log import EventLog
from heaptop.tui.renderables.chrome import Piece, key_line, spread
from heaptop.tui.renderables.events import columns, empty_text, head_pieces, map_pieces
from heaptop.tui.watcher import Seen
from heaptop.tui.widgets.cma_map import CmaMap
from heaptop.tui.widgets.line import Line
from heaptop.tui.widgets.table import Table


class EventScreen(ModalScreen[int | None]):
    """See the module. Ends with the inode to go to, or with None."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "dismiss(None)", "close", key_display="Esc"),
        Binding("q,E", "dismiss(None)", "Close", show=False),
        Binding("e", "app.events", "on/off"),
        Binding("space", "app.pause", "pause", key_display="Space"),
        Binding("enter", "buffer", "to the buffer"),
        Binding("o", "buffer", "To the buffer", show=False),
    ]
    DEFAULT_CSS = """
    EventScreen {
        layout: vertical; align: left top; background: $background;
        & #event-title, & #event-footer { background: $panel; }
        & CmaMap { height: 40%; padding: 0 1; display: none; }
        & #event-map { display: none; }
        &.failed CmaMap, &.failed #event-map { display: block; }
    }
    """

    def __init__(self, page_bytes: int) -> None:
        super().__init__()
        self._page_bytes = page_bytes
        self.table: Table[Seen] = Table(columns(page_bytes), lambda seen: seen.number)
        self.map = CmaMap()

    def compose(self) -> ComposeResult:
        """Title, events, the map, keys."""
        yield Line("event-title")
        yield self.table
        yield self.map
        yield Line("event-map")
        yield Line("event-footer")

    def on_mount(self) -> None:
        """The table has the keys."""
        self.table.focus()
        self.bindings_updated_signal.subscribe(self, lambda _screen: self._draw_footer())

    def tell(self, log: EventLog, events: Sequence[Seen]) -> None:
        """Draw this log; `events` are those of it that match the filter."""
        if self.is_mounted:
            self.table.set_rows(tuple(reversed(events)), empty=empty_text(log))
            self.query_one("#event-title", Line).tell(lambda width: spread(head_pieces(log), [], width))
            self._draw_map()

    def on_table_highlighted(self) -> None:
        """Another event."""
        self._draw_map()

    def on_table_chosen(self) -> None:
        """A double click."""
        self.action_buffer()

    def _draw_map(self) -> None:
        seen = self.table.cursor_row
        self.set_class(seen is not None and seen.area is not None, "failed")
        if seen is not None and seen.area is not None:
            if self.map.area is not seen.area:
                self.map.set_area(seen.area, self._page_bytes)
            draw: Callable[[int], tuple[Piece, ...]] = partial(spread, map_pieces(seen, self._page_bytes), [])
            self.query_one("#event-map", Line).tell(draw)

    def action_buffer(self) -> None:
        """To the buffer of the event under the cursor."""
        seen = self.table.cursor_row
        if seen is not None and seen.event.inode is not None:
            self.dismiss(seen.event.inode)

    def _draw_footer(self) -> None:
        keys = [
            (self.app.get_key_display(active.binding), active.binding.description, active.binding.action)
            for active in self.active_bindings.values()
            if active.binding.show and active.enabled
        ]
        self.query_one("#event-footer", Line).tell(partial(key_line, keys))
