"""What one file of BTF has: its types by number and by name. The plain twin of the compiled _btf_part.pyx.

Format: include/uapi/linux/btf.h. A record's place depends on the lengths of all before it, so one pass numbers them.
"""

import struct
from array import array
from typing import Final, NamedTuple

_MAGIC: Final = 0xEB9F
_HEADER: Final = struct.Struct("<HBBIIIII")
_RECORD: Final = struct.Struct("<III")
_TAIL_BYTES: Final = (0, 4, 0, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 4, 0, 0)
"""What follows a record of each kind (int, array, var, decl tag) …"""
_ITEM_BYTES: Final = (0, 0, 0, 0, 12, 12, 8, 0, 0, 0, 0, 0, 0, 8, 0, 12, 0, 0, 0, 12)
"""… and for each of its items (members, enumerators, parameters, variables)."""


class BtfError(Exception):
    """Not type information, or it lacks what is asked for; says what."""


class Type(NamedTuple):
    """A type's kind, and its size in bytes or the number of the type that it refers to."""

    kind: int
    size_or_type: int


class Member(NamedTuple):
    """A member of a struct or union; `width_bits` is 0 for one that is no bit-field."""

    is_named: bool
    type_id: int
    start_bits: int
    width_bits: int


class Part:
    """The types after those of `base`; its strings go on where those of `base` end."""

    def __init__(self, data: bytes, base: "Part | None" = None) -> None:
        """Number the types.

        Raises:
            BtfError: the data are not BTF of a little-endian machine, or damaged.
        """
        if len(data) < _HEADER.size or _HEADER.unpack_from(data)[0] != _MAGIC:
            raise BtfError("not BTF")
        _, _, _, header, type_start, type_bytes, string_at, string_bytes = _HEADER.unpack_from(data)
        first, strings = header + type_start, header + string_at
        if max(first + type_bytes, strings + string_bytes) > len(data):
            raise BtfError("damaged BTF")
        self._data = bytes(data)
        self._strings = self._data[strings : strings + string_bytes]
        if self._strings and not self._strings.endswith(b"\0"):
            raise BtfError("damaged BTF")
        self._base = base
        self.before: int = 0 if base is None else base.last
        self.string_start: int = 0 if base is None else base.string_end
        self._places = _places(self._data, first, first + type_bytes)

    @property
    def last(self) -> int:
        """Its last type's number."""
        return self.before + len(self._places)

    @property
    def string_end(self) -> int:
        """The first offset after its strings."""
        return self.string_start + len(self._strings)

    def type(self, number: int) -> Type:
        """The type of a number that is its own."""
        _, info, size = self._record(number)
        return Type(info >> 24 & 31, size)

    def find(self, name: bytes, kind: int) -> int | None:
        """The number of its first type of that name (not an empty one) and kind (struct, union or function)."""
        if not name:
            return None
        offsets = self.offsets_of(name)
        for number, place in enumerate(self._places, self.before + 1):
            found, info, _ = _RECORD.unpack_from(self._data, place)
            if found in offsets and info >> 24 & 31 == kind:
                return number
        return None

    def members(self, number: int, name: bytes) -> list[Member]:
        """Of a struct or union that is its own: the members of that name, and those without one."""
        _, info, _ = self._record(number)
        start = self._places[number - self.before - 1] + _RECORD.size
        found = []
        for name_offset, type_id, bits in _RECORD.iter_unpack(
            self._data[start : start + _RECORD.size * (info & 0xFFFF)]
        ):
            is_named = name_offset != 0 and self.string(name_offset) == name
            if is_named or name_offset == 0:
                placed = (bits & 0xFFFFFF, bits >> 24) if info >> 31 else (bits, 0)
                found.append(Member(is_named, type_id, *placed))
        return found

    def string(self, offset: int) -> bytes:
        """The string at an offset, its own or that of what it is based on."""
        if offset < self.string_start and self._base is not None:
            return self._base.string(offset)
        at = offset - self.string_start
        end = self._strings.find(b"\0", at)
        return self._strings[at:] if end < 0 else self._strings[at:end]

    def _record(self, number: int) -> tuple[int, int, int]:
        name, info, size = _RECORD.unpack_from(self._data, self._places[number - self.before - 1])
        return name, info, size

    def offsets_of(self, name: bytes) -> set[int]:
        """Where a name stands among the strings. A module's strings may begin with one, and do not repeat those of
        vmlinux; a string may be the end of another.
        """
        found = set() if self._base is None else self._base.offsets_of(name)
        at, wanted = -1, name + b"\0"
        while (at := self._strings.find(wanted, at + 1)) >= 0:
            found.add(self.string_start + at)
        return found


def _places(data: bytes, place: int, end: int) -> "array[int]":
    """Where each type's record starts; the first is that of type 1."""
    places = array("I")
    add, kinds = places.append, len(_TAIL_BYTES)
    tails, items, unpack = _TAIL_BYTES, _ITEM_BYTES, struct.Struct("<I").unpack_from
    while place + _RECORD.size <= end:
        add(place)
        (info,) = unpack(data, place + 4)
        kind = info >> 24 & 31
        if kind >= kinds:
            break
        place += _RECORD.size + tails[kind] + items[kind] * (info & 0xFFFF)
    if place != end:
        raise BtfError("damaged BTF")
    return places
