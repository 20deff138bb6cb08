"""Themes from `themes/*.toml`: base colours of a Textual theme and heaptop's own variables.

A bad file is told, not fatal. A theme file:

name = "night"
dark = true
primary = "#7aa2f7"      # also secondary, warning, error, success, accent, foreground, background, surface, panel
[variables]
orphan = "#bb9af7"       # any of `VARIABLES`, or one of Textual's
"""

import os
import tomllib
from dataclasses import dataclass, fields

from textual.color import Color, ColorParseError
from textual.theme import Theme

FOLDER = os.path.join(os.path.dirname(os.path.dirname(__file__)), "themes")
DEFAULT = "heaptop-dark"

VARIABLES = {
    "new": "text-success",
    "gone": "text-disabled",
    "grown": "text-warning",
    "shrunk": "text-success",
    "suspect": "text-error",
    "orphan": "text-accent",
    "unknown": "text-muted",
    "own": "text-primary",
    "bar": "primary",
    "bar-rest": "surface-lighten-2",
    "trend": "secondary",
    "cma": "text-secondary",
    "used": "primary",
    "part": "text-primary",
    "free": "text-disabled",
    "room": "text-success",
    "owner-1": "text-warning",
    "owner-2": "text-secondary",
    "owner-3": "text-success",
    "owner-4": "text-error",
    "owner-5": "text-accent",
    "owner-6": "foreground",
}
"""heaptop's variables, and which of Textual's stands for each in a theme that does not set it."""

_COLOURS = frozenset(("primary", "secondary", "warning", "error", "success", "accent")) | frozenset(
    ("foreground", "background", "surface", "panel", "boost")
)
_OTHER = frozenset(field.name for field in fields(Theme)) - _COLOURS - {"name", "variables"}


@dataclass(frozen=True, slots=True)
class Themes:
    """The themes that could be read, and a line for each file that could not."""

    themes: tuple[Theme, ...]
    troubles: tuple[str, ...]


def load_theme(name: str) -> Theme | None:
    """The theme in the file of this name; None where there is none that can be read."""
    try:
        return theme_of(_read(f"{name}.toml"), name)
    except (ValueError, OSError):
        return None


def load_themes() -> Themes:
    """Read all theme files of the package."""
    themes, troubles = [], []
    for name in sorted(name for name in os.listdir(FOLDER) if name.endswith(".toml")):
        try:
            themes.append(theme_of(_read(name), name))
        except (ValueError, OSError) as error:
            troubles.append(f"theme {name} is left out: {error}")
    return Themes(tuple(themes), tuple(troubles))


def _read(name: str) -> bytes:
    with open(os.path.join(FOLDER, name), "rb") as file:
        return file.read()


def theme_of(raw: bytes, file_name: str) -> Theme:
    """One theme file.

    Raises:
        ValueError: not TOML, an unknown key, a value of the wrong type, or not a colour; the message says which.
    """
    told = tomllib.loads(raw.decode())
    variables = told.pop("variables", {})
    name = told.pop("name", file_name.removesuffix(".toml"))
    if unknown := told.keys() - _COLOURS - _OTHER:
        raise ValueError(f"unknown key {min(unknown)!r}")
    if "primary" not in told:
        raise ValueError("no primary colour")
    if not isinstance(variables, dict) or not all(isinstance(value, str) for value in variables.values()):
        raise ValueError("[variables] must be strings")
    for key in told.keys() & _COLOURS:
        if not _is_colour(told[key]):
            raise ValueError(f"{key}: {told[key]!r} is not a colour")
    for key in told.keys() & _OTHER:
        if not isinstance(told[key], bool if key in ("dark", "ansi") else float | int):
            raise ValueError(f"{key}: {told[key]!r} is of the wrong type")  # noqa: TRY004 - all troubles of a file are one kind
    return Theme(name=name, variables=dict(variables), **told)


def _is_colour(value: object) -> bool:
    if not isinstance(value, str):
        return False
    try:
        Color.parse(value)
    except ColorParseError:
        return False
    return True
