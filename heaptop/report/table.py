"""Aligned plain-text tables that fit a width. Cells are made safe here: nothing from outside reaches a terminal raw."""

import unicodedata
from collections.abc import Sequence
from typing import Final, NamedTuple

from heaptop.units import printable

_FLEX_MIN: Final = 8
"""Cells that a flexible column keeps before whole columns drop."""

BOLD: Final = "1"
DIM: Final = "2"
YELLOW: Final = "33"


class Look(NamedTuple):
    """How to draw: `width` in cells (None: nothing is cut), ANSI `colour`, whether the output takes `unicode`."""

    width: int | None = None
    colour: bool = False
    unicode: bool = False

    def paint(self, text: str, code: str) -> str:
        """`text` in an ANSI attribute, or as it is."""
        return f"\x1b[{code}m{text}\x1b[0m" if self.colour and code and text else text


class Column(NamedTuple):
    """A column. A `flexible` one is cut before any drops; among the others the one of least `worth` drops first."""

    title: str
    right: bool = False
    flexible: bool = False
    worth: int = 9


class Row(NamedTuple):
    """A row's cells, and the ANSI attribute of the whole row."""

    cells: tuple[str, ...]
    code: str = ""


def width_of(text: str) -> int:
    """Terminal cells that printable `text` takes."""
    if text.isascii():
        return len(text)
    return sum(_cells(char) for char in text)


def _cells(char: str) -> int:
    if unicodedata.category(char) in {"Mn", "Me"}:
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def cut(text: str, width: int, *, unicode: bool) -> str:
    """`text` in at most `width` cells; the end shows where something is missing."""
    if width_of(text) <= width:
        return text
    ending = "…" if unicode else "~"
    kept, room = "", width - 1
    for char in text:
        room -= _cells(char)
        if room < 0:
            break
        kept += char
    return kept + ending if width > 0 else ""


def draw(columns: Sequence[Column], rows: Sequence[Row], look: Look) -> str:
    """The table as text, a line per row below a line of titles."""
    safe = [Row(tuple(printable(cell) for cell in row.cells), row.code) for row in rows]
    table = [Row(tuple(column.title for column in columns), BOLD), *safe]
    widths = [max(width_of(row.cells[index]) for row in table) for index in range(len(columns))]
    shown = list(range(len(columns)))
    if look.width is not None:
        shown = _fit(columns, widths, look.width)
    lines = []
    for row in table:
        cells = [_pad(row.cells[index], widths[index], columns[index], look) for index in shown]
        lines.append(look.paint(" ".join(cells).rstrip(), row.code))
    return "\n".join(lines) + "\n"


def _pad(text: str, width: int, column: Column, look: Look) -> str:
    text = cut(text, width, unicode=look.unicode)
    space = " " * (width - width_of(text))
    return space + text if column.right else text + space


def _fit(columns: Sequence[Column], widths: list[int], width: int) -> list[int]:
    """Cut `widths` in place until the columns fit; returns those that are left."""
    shown = list(range(len(columns)))
    while True:
        over = sum(widths[index] + 1 for index in shown) - 1 - width
        if over <= 0:
            return shown
        flexible = [index for index in shown if columns[index].flexible and widths[index] > _FLEX_MIN]
        if sum(widths[index] - _FLEX_MIN for index in flexible) >= over:
            for _ in range(over):
                widths[max(flexible, key=lambda index: widths[index])] -= 1
            return shown
        if len(shown) == 1:
            widths[shown[0]] = max(width, 1)
            return shown
        shown.remove(min(shown, key=lambda index: (columns[index].worth, -index)))
