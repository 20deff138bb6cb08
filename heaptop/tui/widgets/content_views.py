"""What shows a buffer's bytes: lines of hex, and a picture. Both draw what they are given and ask for more."""

from dataclasses import dataclass
from typing import ClassVar

from rich.color import Color
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget

from heaptop.analysis.hexdump import LINE_BYTES, offset_digits
from heaptop.tui.renderables.content import Rgb, half_blocks, hex_row, shades

WHEEL_LINES = 3


class HexView(Widget, can_focus=True):
    """A page of a buffer in hex. It asks for the bytes of the page (`Wanted`) and gets them by `tell`."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "lines(-1)", "Line up", show=False),
        Binding("down,j", "lines(1)", "Line down", show=False),
        Binding("pageup,b", "pages(-1)", "Page up", show=False),
        Binding("pagedown,space", "pages(1)", "page", key_display="PgDn"),
        Binding("home", "go(0)", "Start", show=False),
        Binding("end", "edge", "End", show=False),
    ]
    COMPONENT_CLASSES: ClassVar[set[str]] = {"hex--offset", "hex--text", "hex--zero"}
    DEFAULT_CSS = """
    HexView {
        height: 1fr;
        & .hex--offset { color: $text-muted; }
        & .hex--zero { color: $text-disabled; }
    }
    """

    class Wanted(Message):
        """Another page is to be shown."""

    def __init__(self) -> None:
        super().__init__()
        self.offset_bytes = 0
        self._size_bytes = 0
        self._base = 0
        self._data = b""

    @property
    def page_bytes(self) -> int:
        """What is on the screen."""
        return max(1, self.size.height) * LINE_BYTES

    def tell(self, size_bytes: int, base: int, data: bytes) -> None:
        """Draw these bytes, which begin at `base`, of a buffer of this size."""
        self._size_bytes, self._base, self._data = size_bytes, base, data
        self.refresh()

    def action_go(self, offset: int) -> None:
        """To the page that begins with the line of this byte; the last one is as full as can be."""
        lines = -(-self._size_bytes // LINE_BYTES)
        last = max(0, lines - max(1, self.size.height))
        self.offset_bytes = max(0, min(offset // LINE_BYTES, last)) * LINE_BYTES
        self.post_message(self.Wanted())

    def action_lines(self, lines: int) -> None:
        """Some lines up or down."""
        self.action_go(self.offset_bytes + lines * LINE_BYTES)

    def action_pages(self, pages: int) -> None:
        """Some pages up or down."""
        self.action_go(self.offset_bytes + pages * self.page_bytes)

    def action_edge(self) -> None:
        """To the last page."""
        self.action_go(self._size_bytes)

    def on_resize(self) -> None:
        """More or fewer lines."""
        self.action_go(self.offset_bytes)

    def on_mouse_scroll_up(self) -> None:
        """The wheel."""
        self.action_lines(-WHEEL_LINES)

    def on_mouse_scroll_down(self) -> None:
        """The wheel."""
        self.action_lines(WHEEL_LINES)

    def render_line(self, y: int) -> Strip:
        """One line."""
        width, base = self.size.width, self.rich_style
        offset = self.offset_bytes + y * LINE_BYTES
        if offset >= self._size_bytes:
            return Strip.blank(width, base)
        pieces = hex_row(self._data, self._base, offset, offset_digits(self._size_bytes))
        styles = {name: self.get_component_rich_style(f"hex--{name}", partial=True) for _, name in pieces}
        segments = [Segment(text, base + styles[name]) for text, name in pieces]
        return Strip(segments).adjust_cell_length(width, base)


@dataclass(frozen=True, slots=True)
class Pixels:
    """A picture at the size of the screen: rows of red, green, blue."""

    rows: tuple[bytes, ...] = ()


class PictureView(Widget, can_focus=True):
    """A picture in half blocks, or in shades where there are no colours."""

    DEFAULT_CSS = "PictureView { height: 1fr; }"

    class Resized(Message):
        """There is another amount of room for it."""

    def __init__(self) -> None:
        super().__init__()
        self._pixels = Pixels()
        self.plain = False

    @property
    def room(self) -> tuple[int, int]:
        """Pixels across and down that there is room for."""
        return max(1, self.size.width), max(1, 2 * self.size.height)

    def tell(self, pixels: Pixels) -> None:
        """Draw these."""
        self._pixels = pixels
        self.refresh()

    def on_resize(self, _: events.Resize) -> None:
        """Ask for as many pixels as there is room for."""
        self.post_message(self.Resized())

    def render_line(self, y: int) -> Strip:
        """Two rows of pixels."""
        width, base, rows = self.size.width, self.rich_style, self._pixels.rows
        if 2 * y >= len(rows):
            return Strip.blank(width, base)
        upper, lower = rows[2 * y], rows[2 * y + 1] if 2 * y + 1 < len(rows) else b""
        if self.plain:
            segments = [Segment(shades(upper, lower), base)]
        else:
            segments = [
                Segment(text, base + Style(color=_colour(top), bgcolor=_colour(bottom)))
                for text, top, bottom in half_blocks(upper, lower)
            ]
        return Strip(segments).adjust_cell_length(width, base)


def _colour(rgb: Rgb | None) -> Color | None:
    return None if rgb is None else Color.from_rgb(*rgb)
