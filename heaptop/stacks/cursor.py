"""Reading binary data in order. Pure and total: what lies outside is a `DamageError`, never an IndexError."""

import struct
from typing import Final

LEB_BYTES_MAX: Final = 16
"""The longest number in LEB128 that is read: no address or offset takes more than ten bytes."""
U64_MASK: Final = (1 << 64) - 1

_U16: Final = struct.Struct("<H")
_I16: Final = struct.Struct("<h")
_U32: Final = struct.Struct("<I")
_I32: Final = struct.Struct("<i")
_U64: Final = struct.Struct("<Q")
_I64: Final = struct.Struct("<q")


class DamageError(ValueError):
    """The data are not of the shape that their format asks for."""


class Cursor:
    """A place in little-endian data, from which values are read one after the other. `base` is the address of the
    data's first byte.
    """

    __slots__ = ("at", "base", "data", "end")

    def __init__(self, data: bytes, base: int = 0) -> None:
        self.data = data
        self.end = len(data)
        self.at = 0
        self.base = base

    @property
    def address(self) -> int:
        """Of the byte that is read next."""
        return self.base + self.at

    def limit(self, count_bytes: int) -> None:
        """Read no further than so many bytes from here. Raises DamageError where there are fewer."""
        if not 0 <= count_bytes <= self.end - self.at:
            raise DamageError(f"cut at {self.end}")
        self.end = self.at + count_bytes

    def _take(self, layout: struct.Struct) -> int:
        at = self.at
        self.at = at + layout.size
        if self.at > self.end:
            raise DamageError(f"cut at {self.end}")
        (value,) = layout.unpack_from(self.data, at)
        return int(value)

    def u8(self) -> int:
        """One byte."""
        at = self.at
        if at >= self.end:
            raise DamageError(f"cut at {self.end}")
        self.at = at + 1
        return self.data[at]

    def i8(self) -> int:
        """One byte with its sign."""
        return (self.u8() ^ 0x80) - 0x80

    def u16(self) -> int:
        """Two bytes."""
        return self._take(_U16)

    def i16(self) -> int:
        """Two bytes with their sign."""
        return self._take(_I16)

    def u32(self) -> int:
        """Four bytes."""
        return self._take(_U32)

    def i32(self) -> int:
        """Four bytes with their sign."""
        return self._take(_I32)

    def u64(self) -> int:
        """Eight bytes."""
        return self._take(_U64)

    def i64(self) -> int:
        """Eight bytes with their sign."""
        return self._take(_I64)

    def word(self, word_bytes: int) -> int:
        """An address of 4 or 8 bytes."""
        return self.u64() if word_bytes == 8 else self.u32()

    def uleb(self) -> int:
        """A number in unsigned LEB128 (DWARF 5, section 7.6)."""
        data, at, end = self.data, self.at, self.end
        value = shift = 0
        while at < end and shift < 7 * LEB_BYTES_MAX:
            byte = data[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                self.at = at
                return value
        raise DamageError(f"a number without end at {self.at}")

    def sleb(self) -> int:
        """A number in signed LEB128."""
        begin = self.at
        value = self.uleb()
        last = self.data[self.at - 1]
        return value - (1 << 7 * (self.at - begin)) if last & 0x40 else value

    def skip(self, count_bytes: int) -> None:
        """Pass over bytes."""
        if not 0 <= count_bytes <= self.end - self.at:
            raise DamageError(f"cut at {self.end}")
        self.at += count_bytes

    def bytes(self, count_bytes: int) -> bytes:
        """So many bytes."""
        at = self.at
        self.skip(count_bytes)
        return bytes(self.data[at : self.at])
