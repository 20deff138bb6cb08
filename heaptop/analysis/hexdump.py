"""Bytes as a hex dump: an offset, sixteen bytes, and their ASCII."""

from typing import Final

LINE_BYTES: Final = 16
OFFSET_DIGITS_MIN: Final = 8
_ASCII: Final = "".join(chr(byte) if 0x20 <= byte < 0x7F else "." for byte in range(256))


def offset_digits(size_bytes: int) -> int:
    """How many hex digits the offsets of a buffer of this size need, at least 8."""
    return max(OFFSET_DIGITS_MIN, len(f"{max(0, size_bytes - 1):x}"))


def hex_line(offset: int, data: bytes, digits: int = OFFSET_DIGITS_MIN) -> tuple[str, str, str]:
    """Offset, hex and ASCII of up to 16 bytes; hex is padded to the width of 16.

    >>> hex_line(16, b"heap")[0::2]
    ('00000010', 'heap')
    """
    halves = data[:8].hex(" "), data[8:].hex(" ")
    return f"{offset:0{digits}x}", "  ".join(f"{half:23}" for half in halves), ascii_of(data)


def ascii_of(data: bytes) -> str:
    """Printable ASCII as itself, all else as a dot: nothing in it can steer a terminal."""
    return "".join(map(_ASCII.__getitem__, data))


def dump(offset: int, data: bytes, digits: int = OFFSET_DIGITS_MIN) -> str:
    """Lines as `hexdump -C` prints them, each with its newline."""
    lines = (hex_line(offset + at, data[at : at + LINE_BYTES], digits) for at in range(0, len(data), LINE_BYTES))
    return "".join(f"{where}  {digits_}  |{text}|\n" for where, digits_, text in lines)
