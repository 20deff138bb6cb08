"""Styles by name for widgets that draw their own lines, from the theme's variables.

Textual would have each name as a component class, with a rule, and a node for every widget: with fifty names that takes
longer than all the rest of a first frame.
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import Final

from rich.color import Color as RichColor
from rich.style import Style
from textual.color import Color

from heaptop.tui.themes import VARIABLES

Look = tuple[str, str, str]
"""Variables of foreground and background (empty: what lies below), and attributes as Rich spells them."""

LINE: Final[Mapping[str, Look]] = {
    "title": ("primary", "", "bold"),
    "strong": ("", "", "bold"),
    "dim": ("text-muted", "", ""),
    "warning": ("warning", "", "bold"),
    "tab": ("text-muted", "", ""),
    "tab-current": ("block-cursor-foreground", "primary", "bold"),
    "key": ("accent", "", "bold"),
    "label": ("foreground", "", ""),
    "trend": ("trend", "", ""),
}
"""The lines of the shell (`renderables.chrome.STYLES`)."""

TABLE: Final[Mapping[str, Look]] = {
    "header": ("text-muted", "", "bold"),
    "sorted": ("foreground", "", "bold"),
    "cursor": ("block-cursor-foreground", "block-cursor-background", "bold"),
    "cursor-blurred": ("", "surface", ""),
    "new": ("new", "", ""),
    "gone": ("gone", "", "dim"),
    "grown": ("grown", "", ""),
    "shrunk": ("shrunk", "", ""),
    "suspect": ("suspect", "", ""),
    "orphan": ("orphan", "", ""),
    "unknown": ("unknown", "", ""),
    "own": ("own", "", ""),
    "dim": ("text-muted", "", ""),
    "strong": ("", "", "bold"),
    "match": ("", "", "underline"),
    "bar": ("bar", "", ""),
    "bar-rest": ("bar-rest", "", ""),
    "trend": ("trend", "", ""),
    "name": ("foreground", "", ""),
    "size": ("", "", "bold"),
    "link": ("", "", "underline"),
    "cma": ("cma", "", ""),
}
"""Tables: `renderables.table.STYLES`, and their own parts."""

MAP: Final[Mapping[str, Look]] = {
    "free": ("free", "", ""),
    "part": ("part", "", ""),
    "used": ("used", "", ""),
    "room": ("room", "", ""),
    "unknown": ("unknown", "", ""),
    "owner": ("accent", "", "bold"),
    **{f"owner-{number}": (f"owner-{number}", "", "") for number in range(1, 7)},
    "label": ("unknown", "", ""),
    "heading": ("", "", "bold"),
    "cursor": ("accent", "panel", "bold"),
    "cursor-blurred": ("", "", "underline"),
}
"""The map of a CMA area."""


class Palette:
    """Some looks, as the theme has them."""

    def __init__(self, looks: Mapping[str, Look]) -> None:
        self._looks = looks
        self._variables: Mapping[str, str] | None = None
        self._styles: Mapping[str, Style] = {}

    def styles(self, variables: Mapping[str, str]) -> Mapping[str, Style]:
        """Styles by name: the same object until `variables` (the theme's, see `App.theme_variables`) are others."""
        if variables is not self._variables:
            self._variables = variables
            self._styles = {
                name: _style(_value(variables, colour), _value(variables, background), attributes)
                for name, (colour, background, attributes) in self._looks.items()
            }
        return self._styles


def _value(variables: Mapping[str, str], name: str) -> str:
    if not name:
        return ""
    return variables[name] if name in variables else variables[VARIABLES[name]]


@lru_cache(maxsize=256)
def _style(colour: str, background: str, attributes: str) -> Style:
    return Style.parse(attributes) + Style(color=_colour(colour), bgcolor=_colour(background))


def _colour(value: str) -> RichColor | None:
    """A variable's colour, opaque; `auto` is white, for it stands on strong backgrounds."""
    name = value.rpartition(" ")[0] if value.endswith("%") else value
    if not name:
        return None
    colour = Color(255, 255, 255) if name == "auto" else Color.parse(name)
    return colour.rich_color if colour.a else None
