"""A widget that draws its own lines, in looks of the palette."""

from collections.abc import Mapping
from typing import ClassVar

from rich.style import Style
from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget

from heaptop.tui.palette import Look, Palette


class Drawn(Widget):
    """Subclasses set `LOOKS` and write `render_line`, with `base` and the `looks` laid over it.

    They name it after another base class, since Textual takes the style sheets of the first alone.
    """

    LOOKS: ClassVar[Mapping[str, Look]]
    _base: Style | None = None
    _palette: Palette | None = None

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

    def render_lines(self, crop: Region) -> list[Strip]:
        """Lines in sight."""
        self._base = self.rich_style
        try:
            return super().render_lines(crop)
        finally:
            self._base = None
