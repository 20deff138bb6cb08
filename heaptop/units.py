"""Sizes, durations and text from outside: the one place that formats and reads them.

Pure. Sizes are bytes, IEC units (1 KiB = 1024 bytes), three digits that matter.
"""

import re
from typing import Final

from heaptop.pattern import pattern

_UNITS: Final = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")
_SIZE: Final = pattern(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([kmgtpe]?)(?:i?b)?\s*", re.IGNORECASE | re.ASCII)
_DURATION: Final = pattern(r"\s*([0-9]+(?:\.[0-9]+)?)\s*(ms|s|m|min|h|d)?\s*", re.ASCII)
_SECONDS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}

SIZE_BYTES_MAX: Final = (1 << 64) - 1
"""The largest length an ALLOC request can hold: `len` is a `__u64` (uapi/linux/dma-heap.h, 5.6 to 7.3)."""


def format_size(size_bytes: float | None) -> str:
    """Bytes as `1.50 MiB`; `~` where the size is not known.

    >>> format_size(1572864)
    '1.50 MiB'
    """
    if size_bytes is None:
        return "~"
    size = float(abs(size_bytes))
    sign = "-" if size_bytes < 0 else ""
    unit = 0
    while size >= 999.5 and unit + 1 < len(_UNITS):
        size /= 1024
        unit += 1
    if unit == 0:
        return f"{sign}{size:.0f} B"
    digits = 2 if size < 9.995 else 1 if size < 99.95 else 0
    return f"{sign}{size:.{digits}f} {_UNITS[unit]}"


def format_delta(size_bytes: float | None) -> str:
    """A difference in bytes, always with its sign: `+4.00 MiB`, `-16.0 KiB`, `0 B`.

    >>> format_delta(-16384)
    '-16.0 KiB'
    """
    if size_bytes is None:
        return "~"
    return ("+" if size_bytes > 0 else "") + format_size(size_bytes)


def parse_size(text: str) -> int:
    """Bytes of `4096`, `4K`, `1.5MiB`: suffixes are powers of 1024, case does not matter.

    Raises:
        ValueError: not a size, negative, or above 2**64 - 1. The message says what to write instead.
    """
    match = _SIZE.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not a size: write bytes or a number with K, M, G or T, like 4096, 64K or 1.5M")
    number, suffix = match.groups()
    factor = 1024 ** " kmgtpe".index(suffix.lower() or " ")
    # Compared as a float first: a number of any length is then a refusal, not an overflow.
    is_too_large = float(number) * factor > 2.0 * SIZE_BYTES_MAX
    size_bytes = 0 if is_too_large else int(number) * factor if "." not in number else int(float(number) * factor)
    if is_too_large or size_bytes > SIZE_BYTES_MAX:
        raise ValueError(f"{text!r} is more than a heap can be asked for (2^64 - 1 bytes)")
    return size_bytes


def parse_duration(text: str) -> float:
    """Seconds of `10`, `10s`, `500ms`, `5m`, `2h`, `3d`.

    Raises:
        ValueError: not a duration. The message says what to write instead.
    """
    match = _DURATION.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not a duration: write seconds or a number with ms, s, m, h or d, like 10s or 2m")
    number, suffix = match.groups()
    return float(number) * _SECONDS[suffix or "s"]


def parse_rate(text: str) -> float:
    """Bytes per minute of `8M/min`, `100K/s`, `1G/h`.

    Raises:
        ValueError: not a rate. The message says what to write instead.
    """
    size, slash, unit = text.partition("/")
    unit_s = _SECONDS.get(unit.strip())
    if not slash or unit_s is None:
        raise ValueError(f"{text!r} is not a rate: write a size by s, min, h or d, like 8M/min")
    return parse_size(size) * 60 / unit_s


def format_age(age_s: float | None) -> str:
    """Seconds as `3 s`, `2:11`, `1:02:03`, `3d 04h`; `~` where not known.

    >>> format_age(131)
    '2:11'
    """
    if age_s is None:
        return "~"
    seconds = max(0, int(age_s))
    if seconds < 60:
        return f"{seconds} s"
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    if hours == 0:
        return f"{minutes}:{seconds:02d}"
    days, hours_left = divmod(hours, 24)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if days == 0 else f"{days}d {hours_left:02d}h"


def text_of(raw: bytes) -> str:
    """Kernel bytes as text without loss: UTF-8, and each byte that is not as a surrogate (PEP 383).

    The kernel checks neither a buffer's name (dma_buf_set_name) nor a comm (prctl PR_SET_NAME).
    """
    return raw.decode("utf-8", "surrogateescape")


_SHORT_ESCAPES: Final = {"\t": "\\t", "\n": "\\n", "\r": "\\r"}
_BIDI: Final = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def printable(text: str) -> str:
    r"""Text from outside made safe to show on one line of a terminal.

    Control characters, invalid UTF-8, line separators and characters that turn the writing direction become
    escapes (`\n`, `\x1b`, `\xff`, `\u202e`). Everything else stays. Rich markup is not touched: what draws this
    must take it as plain text.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(char if char.isprintable() and char not in _BIDI else _escape(char) for char in text)


def _escape(char: str) -> str:
    code = ord(char)
    if char in _SHORT_ESCAPES:
        return _SHORT_ESCAPES[char]
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
