"""Fills a test buffer with a pattern, as a CPU client would: mapped, between SYNC start and end."""

import errno
import mmap
from typing import Final, NamedTuple

from heaptop.backend import uapi
from heaptop.errors import AllocationError, UsageError
from heaptop.units import printable

CHUNK_BYTES: Final = 1 << 20
HEX_BYTES_MAX: Final = 4096


class Pattern(NamedTuple):
    """What to fill with: `unit` again and again; an empty one counts 32-bit little-endian words from 0."""

    unit: bytes

    def bytes_at(self, offset_bytes: int, count_bytes: int) -> bytes:
        """What stands at `offset_bytes`, a multiple of 4."""
        if not self.unit:
            first, words = offset_bytes // 4, -(-count_bytes // 4)
            text = b"".join((word & 0xFFFFFFFF).to_bytes(4, "little") for word in range(first, first + words))
            return text[:count_bytes]
        skip = offset_bytes % len(self.unit)
        return (self.unit * (-(-(skip + count_bytes) // len(self.unit))))[skip : skip + count_bytes]


def parse_pattern(text: str) -> Pattern:
    """A pattern of `zero`, `ff`, `count` (32-bit words from 0), or bytes in hex, with or without 0x.

    Raises:
        UsageError: none of these, or more than 4096 bytes.
    """
    word = text.strip().lower()
    if word in {"zero", "count"}:
        return Pattern(b"\0" if word == "zero" else b"")
    try:
        unit = bytes.fromhex(word.removeprefix("0x"))
    except ValueError:
        unit = b""
    if not unit:
        raise UsageError(
            f"pattern {printable(text)!r}", "not known", "take zero, ff, count, or bytes in hex like deadbeef"
        )
    if len(unit) > HEX_BYTES_MAX:
        raise UsageError(f"pattern of {len(unit)} bytes", f"at most {HEX_BYTES_MAX}")
    return Pattern(unit)


def fill(fd: int, size_bytes: int, pattern: Pattern) -> None:
    """Write `pattern` over the whole buffer.

    Raises:
        AllocationError: it cannot be mapped for writing (a secure heap; no memory).
    """
    try:
        with (
            mmap.mmap(fd, size_bytes, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE) as memory,
            uapi.synced(fd, uapi.SYNC_WRITE),
        ):
            for offset in range(0, size_bytes, CHUNK_BYTES):
                part = pattern.bytes_at(offset, min(CHUNK_BYTES, size_bytes - offset))
                memory[offset : offset + len(part)] = part
    except OSError as error:
        raise AllocationError(
            "the buffer cannot be filled", error.errno or errno.EIO, "leave the pattern out"
        ) from error
