"""The theme files that heaptop brings: all read, all complete, all legible."""

import pytest
from textual.color import Color
from textual.theme import Theme

from heaptop.tui.themes import VARIABLES, load_themes

THEMES = {theme.name: theme for theme in load_themes().themes}
TEXT = ("cma", "used", "room", "new", "grown", "shrunk", "suspect", "orphan", "own", "unknown", "trend", "text-muted")
FAINT = ("free", "part", "gone", "bar", "text-disabled")
CONTRAST_TEXT, CONTRAST_FAINT = 4.5, 2.7

OKABE_ITO = {"#56b4e9", "#cc79a7", "#f0e442", "#e69f00", "#0072b2"}
LIGHTENED = {"#e8743b", "#00b384"}
"""Vermillion and bluish green, lightened until they are read on black."""


def test_all_are_read() -> None:
    assert load_themes().troubles == ()
    assert set(THEMES) == {"heaptop-dark", "heaptop-light", "heaptop-colour-blind", "heaptop-ansi16"}
    assert [name for name, theme in THEMES.items() if not theme.dark] == ["heaptop-light"]


@pytest.mark.parametrize("theme", THEMES.values(), ids=lambda theme: theme.name)
def test_all_of_heaptops_colours_are_set(theme: Theme) -> None:
    assert VARIABLES.keys() <= theme.variables.keys()
    for name in VARIABLES:
        Color.parse(theme.variables[name])


def luminance(color: Color) -> float:
    """Relative luminance (WCAG 2)."""
    linear = [part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in color.normalized]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    high, low = sorted((luminance(Color.parse(one)), luminance(Color.parse(other))), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("name", ["heaptop-dark", "heaptop-light", "heaptop-colour-blind"])
def test_all_is_legible(name: str) -> None:
    theme = THEMES[name]
    assert theme.background is not None
    faint = {}
    for variables, least in ((TEXT, CONTRAST_TEXT), (FAINT, CONTRAST_FAINT)):
        for variable in variables:
            found = contrast(theme.variables[variable], theme.background)
            if found < least:
                faint[variable] = round(found, 2)
    assert faint == {}


def test_sixteen_colours_are_the_terminals_own() -> None:
    theme = THEMES["heaptop-ansi16"]
    assert theme.ansi
    colours = [
        theme.primary,
        theme.secondary,
        theme.accent,
        theme.foreground,
        theme.background,
        theme.surface,
        theme.panel,
    ]
    colours += [theme.success, theme.warning, theme.error]
    colours += [value for name, value in theme.variables.items() if not name.endswith("-text-style")]
    assert [colour for colour in colours if colour is None or not colour.startswith("ansi_")] == []


def test_the_colour_blind_theme_is_okabe_and_itos() -> None:
    variables = THEMES["heaptop-colour-blind"].variables
    greys = {name for name, colour in variables.items() if Color.parse(colour).hsl.s < 0.2}
    assert {colour for name, colour in variables.items() if name not in greys} <= OKABE_ITO | LIGHTENED
