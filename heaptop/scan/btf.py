"""The kernel's own type information (BTF): where a member lies in a struct, by its name, and a type's number.

Only what is asked for is decoded. A module's BTF (5.11 on) is split: its types and its strings go on where those of
vmlinux end (Documentation/bpf/btf.rst).
"""

import mmap
import os
from contextlib import suppress
from typing import TYPE_CHECKING, Final, Protocol

from heaptop.scan.btf_part import BtfError, Member, Type
from heaptop.scan.files import read_file

if TYPE_CHECKING:
    from heaptop.scan.btf_part import Part
else:
    try:
        from heaptop.scan._btf_part import Part
    except ImportError:  # there may be no compiled part
        from heaptop.scan.btf_part import Part

VMLINUX: Final = "sys/kernel/btf/vmlinux"
STRUCT: Final = 4
UNION: Final = 5
FUNC: Final = 12

_QUALIFIERS: Final = frozenset({8, 9, 10, 11, 18})
"""Typedef, volatile, const, restrict, type tag: the type proper is what they refer to."""
_DEPTH_MAX: Final = 64
"""No kernel's structs are so deep in one another: these are damaged."""

__all__ = ["FUNC", "STRUCT", "UNION", "VMLINUX", "Btf", "BtfError", "Types", "has_function", "has_struct", "read_btf"]


class Types(Protocol):
    """What programs are made from. Each raises BtfError where there is no such thing."""

    def id_of(self, name: str, kind: int) -> int:
        """A type's number."""

    def size(self, name: str) -> int:
        """Bytes of a struct."""

    def offset(self, name: str, *path: str) -> int:
        """Bytes from the start of a struct to its member; see `Btf.offset`."""


def has_struct(types: Types, name: str) -> bool:
    """Whether these types have a struct of that name."""
    with suppress(BtfError):
        return types.id_of(name, STRUCT) > 0
    return False


def has_function(types: Types, name: str) -> bool:
    """Whether these types have a function of that name."""
    with suppress(BtfError):
        return types.id_of(name, FUNC) > 0
    return False


class Btf:
    """The types of one kernel, or those of one of its modules over it."""

    def __init__(self, data: bytes | mmap.mmap, base: "Btf | None" = None) -> None:
        """Number the types. `data` is /sys/kernel/btf/vmlinux or, with that as `base`, a module's file beside it.

        Raises:
            BtfError: the data are not BTF of a little-endian machine.
        """
        below = () if base is None else base.parts
        self.parts: tuple[Part, ...] = (*below, Part(data, below[-1] if below else None))  # type: ignore[arg-type]

    def id_of(self, name: str, kind: int) -> int:
        """A type's number; a module's own type comes first.

        Raises:
            BtfError: there is none of that name and kind.
        """
        for part in reversed(self.parts):
            if (number := part.find(name.encode(), kind)) is not None:
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
            found = self._member(type_id, member.encode())
            if found is None:
                raise BtfError(f"no {member} in struct {name}")
            offset, type_id = offset + found[0], found[1]
        return offset

    def _member(self, type_id: int, name: bytes, depth: int = 0) -> tuple[int, int] | None:
        """Offset and type of a member."""
        if depth > _DEPTH_MAX:
            raise BtfError("damaged BTF")
        outer = self._type(type_id)
        if outer.kind in _QUALIFIERS:
            return self._member(outer.size_or_type, name, depth + 1)
        for member in self._members(type_id, name) if outer.kind in (STRUCT, UNION) else ():
            if member.is_named:
                is_whole = not (member.width_bits or member.start_bits % 8)
                return (member.start_bits // 8, member.type_id) if is_whole else None
            if (found := self._member(member.type_id, name, depth + 1)) is not None:
                return member.start_bits // 8 + found[0], found[1]
        return None

    def _type(self, type_id: int) -> Type:
        part = self._part(type_id)
        return Type(0, 0) if part is None else part.type(type_id)

    def _members(self, type_id: int, name: bytes) -> list[Member]:
        part = self._part(type_id)
        return [] if part is None else part.members(type_id, name)

    def _part(self, type_id: int) -> "Part | None":
        return next((part for part in self.parts if part.before < type_id <= part.last), None)


def read_btf(path: str) -> Btf:
    """The types in a kernel's own file, which is mapped where it can be (6.16 on).

    Raises:
        BtfError: it is not there, or not BTF.
    """
    with suppress(OSError, ValueError):
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            return Btf(mmap.mmap(file, os.fstat(file).st_size, mmap.MAP_PRIVATE, mmap.PROT_READ))
        finally:
            os.close(file)
    data = read_file(path)
    if not isinstance(data, bytes):
        raise BtfError("no BTF of this kernel")
    return Btf(data)
