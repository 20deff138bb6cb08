"""What the terminal can show."""

import unicodedata
from collections.abc import Mapping

from rich.segment import Segment
from textual.color import Color
from textual.filter import LineFilter

_ASCII = str.maketrans(
    {
        **dict.fromkeys("█▉▊▋", "#"), "▓": "+", **dict.fromkeys("▌▍▎▏▒", "="), "░": ":",
        **dict.fromkeys("▁▂", "_"), **dict.fromkeys("▃▄", "-"), **dict.fromkeys("▅▆", "="), **dict.fromkeys("▇", "#"),
        **dict.fromkeys("│┃┆▕▎║", "|"), **dict.fromkeys("─━┄═▔", "-"), **dict.fromkeys("┌┐└┘├┤┬┴┼╭╮╰╯╔╗╚╝", "+"),
        **dict.fromkeys("▲↑△", "^"), **dict.fromkeys("▼▾↓▽", "v"), **dict.fromkeys("▸▶→►", ">"),
        **dict.fromkeys("◂◀←", "<"),
        **dict.fromkeys("●◉•✓", "*"), **dict.fromkeys("○◌", "o"), "·": "-", "…": "~", "–": "-", "—": "-",
        **dict.fromkeys("×✕✗", "x"), "⏎": "<", "µ": "u", "“": '"', "”": '"', "‘": "'", "’": "'",
    }
)  # fmt: skip


class _OneForOne(dict[int, str]):
    """Everything else: `?` for each cell, so that columns stay where they are; combining marks go."""

    def __missing__(self, code: int) -> str:
        if code < 0x80:
            text = chr(code)
        elif unicodedata.combining(chr(code)):
            text = ""
        else:
            text = "??" if unicodedata.east_asian_width(chr(code)) in "WF" else "?"
        self[code] = text
        return text


_TABLE = _OneForOne({key: str(value) for key, value in _ASCII.items()})


def to_ascii(text: str) -> str:
    """Text of the same width in ASCII: drawing characters by their likes, others as `?`."""
    return text if text.isascii() else text.translate(_TABLE)


class AsciiFilter(LineFilter):
    """Translates all that is drawn, Textual's own frames too: no view needs to know."""

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:  # noqa: ARG002
        """Translate a line."""
        return [Segment(to_ascii(text), style, control) for text, style, control in segments]


def speaks_unicode(environ: Mapping[str, str]) -> bool:
    """Whether the locale's charset is UTF-8; the first of LC_ALL, LC_CTYPE and LANG that is set decides (POSIX).

    With none set a terminal is taken to be one of today's, unless it is a plain serial line's.
    """
    for name in ("LC_ALL", "LC_CTYPE", "LANG"):
        if value := environ.get(name):
            return "utf" in value.lower()
    return environ.get("TERM", "") not in ("dumb", "vt100", "vt102", "vt220", "ansi")
