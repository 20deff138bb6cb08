"""What stands behind options and operands: numbers, sizes, durations, names, each with its limits."""

import re
from typing import Final

from heaptop.errors import UsageError
from heaptop.units import parse_duration, parse_rate, parse_size, printable

INTERVAL_S_MIN: Final = 0.1
INTERVAL_S_MAX: Final = 86_400.0
HOLD_S_MAX: Final = 365 * 86_400.0
LATENCY_S_MAX: Final = 3600.0
SETTLE_S_MAX: Final = 3_600.0
COUNT_MAX: Final = 1_000_000
NAME_BYTES_MAX: Final = 31
"""A buffer's name without its NUL: DMA_BUF_NAME_LEN is 32 (uapi/linux/dma-buf.h, 5.3 to 7.3)."""


def interval(text: str) -> float:
    """Seconds between two looks.

    Raises:
        UsageError: not a duration, or outside 100 ms to one day.
    """
    seconds = _duration("--interval", text)
    if not INTERVAL_S_MIN <= seconds <= INTERVAL_S_MAX:
        raise UsageError(
            f"--interval {text}", "an interval is at least 100 ms and at most 1 d", "write one like 500ms, 2s or 1m"
        )
    return seconds


def hold(text: str) -> float:
    """Seconds to hold test buffers.

    Raises:
        UsageError: not a duration, or longer than a year.
    """
    seconds = _duration("--hold", text)
    if seconds > HOLD_S_MAX:
        raise UsageError(f"--hold {text}", "more than a year", "leave it out to hold until interrupted")
    return seconds


def duration(text: str) -> float:
    """Seconds to watch.

    Raises:
        UsageError: not a duration.
    """
    return _duration("--for", text)


def latency(text: str) -> float:
    """Seconds that an allocation takes longer.

    Raises:
        UsageError: not a duration, or more than an hour.
    """
    seconds = _duration("--latency", text)
    if seconds > LATENCY_S_MAX:
        raise UsageError(f"--latency {text}", "more than an hour", "write one like 5ms or 2s")
    return seconds


def settle(text: str) -> float:
    """Seconds to wait for what a cycle left to go.

    Raises:
        UsageError: not a duration, or longer than an hour.
    """
    seconds = _duration("--settle", text)
    if seconds > SETTLE_S_MAX:
        raise UsageError(f"--settle {text}", "more than an hour", "a few seconds will do")
    return seconds


def timeout(text: str) -> float:
    """Seconds that a run of a command may take.

    Raises:
        UsageError: not a duration, or none at all.
    """
    seconds = _duration("--timeout", text)
    if seconds <= 0:
        raise UsageError(f"--timeout {text}", "no command is that quick", "write one like 30s or 5m")
    return seconds


def warmup(text: str) -> int:
    """How many cycles do not count.

    Raises:
        UsageError: not a whole number from 0 to a million.
    """
    return 0 if text == "0" else _count("--warmup", text)


def _duration(option: str, text: str) -> float:
    try:
        return parse_duration(text)
    except (ValueError, OverflowError) as error:
        raise UsageError(option, printable(str(error))) from error


def bound(option: str, text: str) -> int:
    """Bytes that an option bounds something to.

    Raises:
        UsageError: not a size.
    """
    try:
        return parse_size(text)
    except (ValueError, OverflowError) as error:
        raise UsageError(option, printable(str(error))) from error


def rate(option: str, text: str) -> float:
    """Bytes per minute.

    Raises:
        UsageError: not a rate.
    """
    try:
        return parse_rate(text)
    except (ValueError, OverflowError) as error:
        raise UsageError(option, printable(str(error))) from error


def span(option: str, text: str) -> float:
    """Seconds that an option bounds something to.

    Raises:
        UsageError: not a duration, or none at all.
    """
    seconds = _duration(option, text)
    if seconds <= 0:
        raise UsageError(f"{option} {printable(text)}", "that is no time at all", "write one like 10m, 2h or 3d")
    return seconds


def size(text: str) -> int:
    """Bytes of a buffer to allocate.

    Raises:
        UsageError: not a size, 0, negative, or more than a heap can be asked for.
    """
    if text.startswith("-"):
        raise UsageError(f"SIZE {printable(text)}", "a size cannot be negative", "write one like 4096, 64K or 1.5M")
    try:
        size_bytes = parse_size(text)
    except (ValueError, OverflowError) as error:
        raise UsageError("SIZE", printable(str(error))) from error
    if size_bytes == 0:
        raise UsageError(f"SIZE {printable(text)}", "a buffer has at least 1 byte (a heap answers EINVAL to 0)")
    return size_bytes


def count(text: str) -> int:
    """How many: buffers to allocate, cycles to run.

    Raises:
        UsageError: not a whole number from 1 to a million.
    """
    return _count("--count", text)


def _count(option: str, text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,7}", text, re.ASCII) or not 1 <= int(text) <= COUNT_MAX:
        raise UsageError(f"{option} {printable(text)}", f"not a whole number from 1 to {COUNT_MAX}")
    return int(text)


def whole_number(text: str) -> int:
    """A number of an inode, of pixels or of bytes: decimal, or hex with 0x.

    Raises:
        UsageError: neither, negative, or more than 64 bits.
    """
    if not re.fullmatch(r"0x[0-9a-f]{1,16}|[0-9]{1,19}", text, re.ASCII | re.IGNORECASE):
        raise UsageError(f"{printable(text)!r} is not a number", remedy="write one like 4096 or 0x1000")
    return int(text, 0 if text[:2].lower() == "0x" else 10)


def offset(text: str) -> int:
    """A place in a buffer: a number, or a size.

    Raises:
        UsageError: neither, or negative.
    """
    return 0 if text == "0" else whole_number(text) if text[:2].lower() == "0x" else size(text)


def buffer_name(text: str) -> bytes:
    """A buffer's name, as the bytes the shell gave.

    Raises:
        UsageError: longer than the kernel takes.
    """
    name = text.encode("utf-8", "surrogateescape")
    if len(name) > NAME_BYTES_MAX:
        raise UsageError("--name", f"{len(name)} bytes; a buffer's name has at most {NAME_BYTES_MAX}")
    return name
