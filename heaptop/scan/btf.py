"""The kernel's own type information (BTF): where a member lies in a struct, by its name, and a type's number.

Format: include/uapi/linux/btf.h. Only what is asked for is decoded; one pass numbers the types, since a record's place
depends on the lengths of all before it. A module's BTF (5.11 on) is split: its types and its strings go on where those
of vmlinux end (Documentation/bpf/btf.rst).
"""

import struct
from array import array
from bisect import bisect_left
from typing import Final, NamedTuple

VMLINUX: Final = "sys/kernel/btf/vmlinux"
STRUCT: Final = 4
UNION: Final = 5
FUNC: Final = 12

_MAGIC: Final = 0xEB9F
_HEADER: Final = struct.Struct("<HBBIIIII")
_RECORD: Final = struct.Struct("<III")
_QUALIFIERS: Final = frozenset({8, 9, 10, 11, 18})
"""Typedef, volatile, const, restrict, type tag: the type proper is what they refer to."""
_TAIL_BYTES: Final = (0, 4, 0, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 4, 0, 0)
"""What follows a record of each kind (int, array, var, decl tag) …"""
_ITEM_BYTES: Final = (0, 0, 0, 0, 12, 12, 8, 0, 0, 0, 0, 0, 0, 8, 0, 12, 0, 0, 0, 12)
"""… and for each of its items (members, enumerators, parameters, variables)."""


class BtfError(Exception):
    """Not type information, or it lacks what is asked for; says what."""


class _Type(NamedTuple):
    name_offset: int
    kind: int
    item_count: int
    has_bitfields: bool
    size_or_type: int
    data: bytes
    body: int


_VOID: Final = _Type(0, 0, 0, has_bitfields=False, size_or_type=0, data=b"", body=0)


class _Part:
    """What one file has: the types after number `before`, and the strings from offset `string_start` on."""

    def __init__(self, data: bytes, before: int, string_start: int) -> None:
        if len(data) < _HEADER.size or _HEADER.unpack_from(data)[0] != _MAGIC:
            raise BtfError("not BTF")
        _, _, _, header, type_start, type_bytes, string_at, string_bytes = _HEADER.unpack_from(data)
        self._data = data
        self._first = header + type_start
        self._end = self._first + type_bytes
        self._strings = data[header + string_at : header + string_at + string_bytes]
        self.before = before
        self.string_start = string_start
        if self._end > len(data):
            raise BtfError("damaged BTF")
        try:
            self._places = _places(data, self._first, self._end)
        except (struct.error, IndexError) as error:
            raise BtfError("damaged BTF") from error

    @property
    def last(self) -> int:
        """Its last type's number."""
        return self.before + len(self._places)

    @property
    def string_end(self) -> int:
        """The first offset after its strings."""
        return self.string_start + len(self._strings)

    def type(self, number: int) -> _Type:
        """The type of a number that is its own."""
        place = self._places[number - self.before - 1]
        name, info, size = _RECORD.unpack_from(self._data, place)
        return _Type(name, info >> 24 & 31, info & 0xFFFF, bool(info >> 31), size, self._data, place + _RECORD.size)

    def string(self, offset: int) -> str:
        """The string at an offset that is its own."""
        at = offset - self.string_start
        return self._strings[at : self._strings.find(b"\0", at)].decode("latin-1")

    def offset_of(self, name: bytes) -> int | None:
        """Where a name stands among its strings. A module's may begin with one; vmlinux's begin with the empty one."""
        if self._strings.startswith(name + b"\0"):
            return self.string_start
        at = self._strings.find(b"\0" + name + b"\0")
        return None if at < 0 else self.string_start + at + 1

    def find(self, name_offset: int, kind: int) -> int | None:
        """The number of its type of that name and kind."""
        wanted = struct.pack("<I", name_offset)
        place = self._first - 1
        while (place := self._data.find(wanted, place + 1, self._end)) >= 0:
            index = bisect_left(self._places, place)
            number = self.before + index + 1
            if index < len(self._places) and self._places[index] == place and self.type(number).kind == kind:
                return number
        return None


class Btf:
    """The types of one kernel, or those of one of its modules over it."""

    def __init__(self, data: bytes, base: "Btf | None" = None) -> None:
        """Number the types. `data` is /sys/kernel/btf/vmlinux or, with that as `base`, a module's file beside it.

        Raises:
            BtfError: the data are not BTF of a little-endian machine.
        """
        below = () if base is None else base.parts
        before, string_start = (below[-1].last, below[-1].string_end) if below else (0, 0)
        self.parts: tuple[_Part, ...] = (*below, _Part(data, before, string_start))

    def id_of(self, name: str, kind: int) -> int:
        """A type's number; a module's own type comes first.

        Raises:
            BtfError: there is none of that name and kind.
        """
        # A module's types may have names that stand among the strings of vmlinux: they are not repeated.
        offsets = [at for part in self.parts if (at := part.offset_of(name.encode())) is not None]
        for part in reversed(self.parts):
            for offset in offsets:
                if (number := part.find(offset, kind)) is not None:
                    return number
        raise BtfError(f"no {name} in this kernel's BTF")

    def size(self, name: str) -> int:
        """Bytes of a struct. Raises BtfError where there is none."""
        return self._type(self.id_of(name, STRUCT)).size_or_type

    def offset(self, name: str, *path: str) -> int:
        """Bytes from the start of struct `name` to its member `path[0]`, in that to `path[1]` …; members of anonymous
        structs and unions count as the outer one's own, as in C.

        Raises:
            BtfError: there is no such struct or member, or it is a bit-field.
        """
        offset, type_id = 0, self.id_of(name, STRUCT)
        for member in path:
            try:
                found = self._member(type_id, member)
            except (struct.error, RecursionError) as error:
                raise BtfError("damaged BTF") from error
            if found is None:
                raise BtfError(f"no {member} in struct {name}")
            offset, type_id = offset + found[0], found[1]
        return offset

    def _member(self, type_id: int, name: str) -> tuple[int, int] | None:
        """Offset and type of a member."""
        outer = self._type(type_id)
        if outer.kind in _QUALIFIERS:
            return self._member(outer.size_or_type, name)
        if outer.kind not in (STRUCT, UNION):
            return None
        for name_offset, member_type, bits in _RECORD.iter_unpack(
            outer.data[outer.body : outer.body + _RECORD.size * outer.item_count]
        ):
            start, width = (bits & 0xFFFFFF, bits >> 24) if outer.has_bitfields else (bits, 0)
            if self._name(name_offset) == name:
                return None if width or start % 8 else (start // 8, member_type)
            if name_offset == 0 and (found := self._member(member_type, name)) is not None:
                return start // 8 + found[0], found[1]
        return None

    def _name(self, offset: int) -> str:
        return next((part.string(offset) for part in reversed(self.parts) if offset >= part.string_start), "")

    def _type(self, type_id: int) -> _Type:
        part = next((part for part in self.parts if part.before < type_id <= part.last), None)
        return _VOID if part is None else part.type(type_id)


def _places(data: bytes, place: int, end: int) -> "array[int]":
    """Where each type's record starts; the first is that of type 1."""
    places = array("I")
    add = places.append
    tails, items, unpack = _TAIL_BYTES, _ITEM_BYTES, struct.Struct("<I").unpack_from
    while place < end:
        add(place)
        (info,) = unpack(data, place + 4)
        kind = info >> 24 & 31
        place += 12 + tails[kind] + items[kind] * (info & 0xFFFF)
    return places
