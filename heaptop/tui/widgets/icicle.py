"""The icicle of call sites: draws the rows in sight, has a cursor on one box, and zooms to it."""

from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from heaptop.analysis.sites import By, Node
from heaptop.tui.renderables.icicle import Box, Path, at, find, label, rows, style

_STYLES = ("even", "odd", "plumbing", "above")


class Icicle(ScrollView, can_focus=True):
    """Callers above, callees below. Arrows, hjkl and the mouse move; Enter and a double click zoom in."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left,h", "side(-1)", "Left", show=False),
        Binding("right,l", "side(1)", "Right", show=False),
        Binding("up,k", "depth(-1)", "To the caller", show=False),
        Binding("down,j", "depth(1)", "To the largest callee", show=False),
        Binding("home", "whole", "All of it", show=False),
        Binding("enter", "zoom", "zoom in"),
        Binding("plus", "zoom", "Zoom in", show=False, key_display="+"),
        Binding("minus", "out", "zoom out", key_display="-"),
    ]
    COMPONENT_CLASSES: ClassVar[set[str]] = {*(f"icicle--{name}" for name in _STYLES), "icicle--cursor"}
    DEFAULT_CSS = """
    Icicle {
        scrollbar-size-vertical: 1;
        overflow-x: hidden;
        & .icicle--even { color: $text; background: $primary-muted; }
        & .icicle--odd { color: $text; background: $secondary-muted; }
        & .icicle--plumbing { color: $text-muted; background: $surface; }
        & .icicle--above { color: $text-muted; background: $panel; }
        & .icicle--cursor { text-style: reverse bold; }
    }
    """

    class Moved(Message):
        """The cursor is on another place, or the tree is another one."""

    def __init__(self) -> None:
        super().__init__()
        self.root: Node | None = None
        self.by = By.BYTES
        self.path: Path = ()
        self.zoom: Path = ()
        self._rows: list[list[Box]] = []

    def tell(self, root: Node, by: By) -> None:
        """Draw this tree from now on. Cursor and zoom stay on the places where they are."""
        self.root, self.by = root, by
        self._lay_out()

    @property
    def node(self) -> Node | None:
        """What the cursor is on."""
        return None if self.root is None else find(self.root, self.path)[1]

    def _lay_out(self) -> None:
        if self.root is None:
            return
        self.zoom, _ = find(self.root, self.zoom)
        self.path, _ = find(self.root, self.path)
        if self.path[: len(self.zoom)] != self.zoom:
            self.path = self.zoom
        width = max(1, self.size.width)
        self._rows = rows(self.root, self.zoom, width, self.by)
        self.virtual_size = Size(width, len(self._rows))
        self.refresh()
        self._moved()

    def _moved(self) -> None:
        row = len(self.path)
        self.scroll_to(y=max(0, min(self.scroll_offset.y, row), row - self.size.height + 1), animate=False, force=True)
        self.refresh()
        self.post_message(self.Moved())

    def on_resize(self) -> None:
        """The same for another width."""
        self._lay_out()

    def render_line(self, y: int) -> Strip:
        """One row."""
        base, width = self.rich_style, self.size.width
        number = y + int(self.scroll_offset.y)
        if number >= len(self._rows):
            return Strip.blank(width, base)
        segments: list[Segment] = []
        done = 0
        for index, box in enumerate(self._rows[number]):
            if box.left > done:
                segments.append(Segment(" " * (box.left - done), base))
            segments.append(Segment(label(box), base + self._style(box, index)))
            done = box.left + box.width
        return Strip(segments).adjust_cell_length(width, base)

    def _style(self, box: Box, index: int) -> Style:
        found = self.get_component_rich_style(f"icicle--{style(box, index + len(box.path))}", partial=True)
        if box.path == self.path:
            found += self.get_component_rich_style("icicle--cursor", partial=True)
        return found

    def _row(self) -> list[Box]:
        return self._rows[len(self.path)] if len(self.path) < len(self._rows) else []

    def action_side(self, step: int) -> None:
        """The next box of the row."""
        row = self._row()
        here = next((index for index, box in enumerate(row) if box.path == self.path), None)
        if here is not None and 0 <= here + step < len(row):
            self.path = row[here + step].path
            self._moved()

    def action_depth(self, step: int) -> None:
        """The caller, or the largest callee."""
        if step < 0:
            self.path = self.path[:-1]
            if len(self.path) < len(self.zoom):
                self.zoom = self.path
                self._lay_out()
                return
        else:
            depth = len(self.path) + 1
            below = self._rows[depth] if depth < len(self._rows) else []
            inside = [box for box in below if box.path[:-1] == self.path]
            if not inside:
                return
            self.path = max(inside, key=lambda box: box.width).path
        self._moved()

    def action_zoom(self) -> None:
        """Give the place under the cursor the whole width."""
        self.zoom = self.path
        self._lay_out()

    def action_out(self) -> None:
        """One step back."""
        self.zoom = self.zoom[:-1]
        self._lay_out()

    def action_whole(self) -> None:
        """All of it again."""
        self.zoom = self.path = ()
        self._lay_out()

    def on_click(self, event: events.Click) -> None:
        """To the box under the mouse; twice, zoom to it."""
        number = event.y + int(self.scroll_offset.y)
        box = at(self._rows[number], event.x) if number < len(self._rows) else None
        if box is not None:
            self.path = box.path
            if event.chain > 1:
                self.action_zoom()
            else:
                self._moved()
