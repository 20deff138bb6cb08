"""A widget that draws its own lines, in looks of the palette, and draws a line again only where it looks different."""

from collections.abc import Mapping
from typing import ClassVar, Self

from rich.style import Style
from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget

from heaptop.tui.palette import Look, Palette


class Drawn(Widget):
    """Subclasses set `LOOKS` and write `draw_line`, with `base` and the `looks` laid over it.

    They name it after another base class, since Textual takes the style sheets of the first alone.
    """

    LOOKS: ClassVar[Mapping[str, Look]]
    _base: Style | None = None
    _palette: Palette | None = None
    _lines: dict[int, Strip] | None = None
    _lines_of: tuple[object, ...] = ()

    @property
    def looks(self) -> Mapping[str, Style]:
        """Styles by name, as the theme has them."""
        if self._palette is None:
            self._palette = Palette(self.LOOKS)
        return self._palette.styles(self.app.theme_variables)

    @property
    def base(self) -> Style:
        """The widget's own style: asked once while lines are drawn, as Textual looks at all parents to tell it."""
        return self._base or self.rich_style

    def draw_line(self, y: int) -> Strip:
        """Line `y` of the widget."""
        raise NotImplementedError

    def depends_on(self) -> tuple[object, ...]:
        """What every line depends on, apart from what is drawn. Subclasses add to it."""
        return self.size, self.scroll_offset, self.has_focus, self.looks, self.base

    def redraw(self) -> None:
        """What is drawn may be other than before: draw those lines in sight that look different."""
        if not self._lines or self._lines_of != self.depends_on():
            self.refresh()
            return
        before, self._base = self._lines, self.rich_style
        self._lines = {y: self.draw_line(y) for y in before}
        self._base = None
        for y, strip in self._lines.items():
            if strip != before[y]:
                self.refresh(Region(0, y, self.size.width, 1))

    def refresh(self, *regions: Region, repaint: bool = True, layout: bool = False, recompose: bool = False) -> Self:
        """As Textual's. Where no region is named, nothing is kept of what was drawn before."""
        if repaint and not regions:
            self._lines = None
        return super().refresh(*regions, repaint=repaint, layout=layout, recompose=recompose)

    def render_lines(self, crop: Region) -> list[Strip]:
        """Lines in sight."""
        self._forget()
        self._base = self.rich_style
        try:
            return super().render_lines(crop)
        finally:
            self._base = None

    def render_line(self, y: int) -> Strip:
        """Line `y`: as it was drawn, where it was."""
        if self._base is None:
            self._forget()
        lines = self._lines
        if lines is None:
            lines = self._lines = {}
        if y not in lines:
            lines[y] = self.draw_line(y)
        return lines[y]

    def _forget(self) -> None:
        state = self.depends_on()
        if state != self._lines_of:
            self._lines_of, self._lines = state, None
