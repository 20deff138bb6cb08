"""One line of pieces: header, tabs, state and footer are each one of these."""

from collections.abc import Callable

from rich.cells import cell_len
from rich.segment import Segment
from textual import events
from textual.strip import Strip

from heaptop.tui.palette import LINE
from heaptop.tui.renderables.chrome import Piece
from heaptop.tui.widgets.drawn import Drawn

Draw = Callable[[int], tuple[Piece, ...]]
"""Pieces for a width in cells."""


class Line(Drawn):
    """Draws what it was last told to, for any width; a click runs the action of the piece under it."""

    LOOKS = LINE
    ALLOW_SELECT = False

    def __init__(self, id: str) -> None:  # noqa: A002 - Textual's own name for it
        super().__init__(id=id)
        self._draw: Draw = lambda _width: ()
        self._drawn: tuple[int, tuple[Piece, ...]] = (0, ())

    def tell(self, draw: Draw) -> None:
        """Draw this from now on; nothing is drawn where it says the same as before."""
        self._draw = draw
        width, pieces = self._drawn
        if width == self.size.width and (now := draw(width)) != pieces:
            self._drawn = (width, now)
            self.refresh()

    @property
    def _pieces(self) -> tuple[Piece, ...]:
        """For the width that it has now: the first frame is drawn before anybody hears of a size."""
        width = self.size.width
        if width != self._drawn[0]:
            self._drawn = (width, self._draw(width))
        return self._drawn[1]

    @property
    def text(self) -> str:
        """What it says, as plain text."""
        return "".join(piece.text for piece in self._pieces)

    def depends_on(self) -> tuple[object, ...]:
        """See Drawn."""
        return (*super().depends_on(), self._pieces)

    def draw_line(self, y: int) -> Strip:
        """The one line."""
        base, looks, width = self.base, self.looks, self.size.width
        if y > 0:
            return Strip.blank(width, base)
        segments = [Segment(piece.text, base + looks[piece.style] if piece.style else base) for piece in self._pieces]
        return Strip(segments).adjust_cell_length(width, base)

    async def on_click(self, event: events.Click) -> None:
        """Run the action of the piece under the mouse."""
        x = event.x
        for piece in self._pieces:
            length = cell_len(piece.text)
            if 0 <= x < length:
                if piece.action:
                    await self.app.run_action(piece.action)
                return
            x -= length
