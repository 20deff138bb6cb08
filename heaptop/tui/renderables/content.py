"""A buffer's content as it is drawn: hex lines, and pictures in half blocks or shades. No app needed."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Final

from heaptop.analysis.hexdump import LINE_BYTES, hex_line
from heaptop.analysis.picture import Picture
from heaptop.errors import UsageError
from heaptop.units import parse_size, printable

Rgb = tuple[int, int, int]
Cell = tuple[str, Rgb | None, Rgb | None]
"""Text, its colour, and the colour behind it; None is the screen's own."""

HALF: Final = "▀"
"""The upper half of a cell in its colour, the lower one in the colour behind it: two pixels, both square."""
SHADES: Final = " .:-=+*#%@"


def hex_row(data: bytes, base: int, offset: int, digits: int) -> tuple[tuple[str, str], ...]:
    """The line at `offset`, of bytes that begin at `base`, as pieces with their styles; nulls step back."""
    part = data[offset - base : offset - base + LINE_BYTES] if offset >= base else b""
    if not part:
        return ((f" {offset:0{digits}x}", "offset"),)
    where, digits_, text = hex_line(offset, part, digits)
    style = "text" if any(part) else "zero"
    return (f" {where}  ", "offset"), (digits_, style), (f"  {text}", style)


def half_blocks(upper: bytes, lower: bytes) -> Iterator[Cell]:
    """One line of the screen from two rows of pixels; the lower one may be missing."""
    tops, bottoms = _pixels(upper), _pixels(lower) if lower else [None] * (len(upper) // 3)
    for colours, run in groupby(zip(tops, bottoms, strict=True)):
        yield HALF * sum(1 for _ in run), *colours


def shades(upper: bytes, lower: bytes) -> str:
    """The same for a terminal without colours: the brighter, the more ink."""
    both = [upper, lower or upper]
    lumas = [sum(_luma(row[at], row[at + 1], row[at + 2]) for row in both) // 2 for at in range(0, len(upper), 3)]
    return "".join(SHADES[luma * len(SHADES) // 256] for luma in lumas)


def _pixels(row: bytes) -> list[Rgb]:
    return list(zip(row[0::3], row[1::3], row[2::3], strict=True))


def _luma(red: int, green: int, blue: int) -> int:
    """BT.601."""
    return (77 * red + 150 * green + 29 * blue) >> 8


def place_of(text: str) -> int:
    """A place in a buffer as it is typed: `0x1000`, `4096` or `4K`.

    Raises:
        UsageError: none of these.
    """
    word = text.strip()
    try:
        return int(word, 16) if word[:2].lower() == "0x" else parse_size(word)
    except ValueError as error:
        raise UsageError(f"{printable(word)!r} is no offset", "", "write one like 0x1000, 4096 or 4K") from error


def picture_of(format_: str, typed: Mapping[str, str], size_bytes: int) -> Picture:
    """The picture that is typed: width, height, stride, offset.

    Raises:
        UsageError: a field is no number, or it does not fit the buffer.
    """
    for name in ("width", "height", "stride"):
        if not (typed[name].strip().isascii() and typed[name].strip().isdecimal()):
            raise UsageError(f"{name} {printable(typed[name])!r}", "not a number")
    width, height, stride = (int(typed[name]) for name in ("width", "height", "stride"))
    picture = Picture(format_, width, height, stride, place_of(typed["offset"] or "0"))
    picture.check(size_bytes)
    return picture


def position_text(offset: int, shown_bytes: int, size_bytes: int) -> str:
    """`0x1000 to 0x115f of 0x800000, 0.1 %`."""
    last = max(offset, min(size_bytes, offset + shown_bytes) - 1)
    return f"{offset:#x} to {last:#x} of {size_bytes:#x}, {100 * (last + 1) / max(1, size_bytes):.1f} %"


def picture_text(picture: Picture, guesses: Sequence[Picture]) -> str:
    """`guess 2 of 17`, where it is one."""
    number = guesses.index(picture) + 1 if picture in guesses else 0
    return f"guess {number} of {len(guesses)}" if number else "as typed"
