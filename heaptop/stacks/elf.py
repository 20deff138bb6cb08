"""As much of an ELF file as unwinding takes: where its parts lie, its build id, and its unwind tables. Pure and total.

Sections may be stripped and files may be gone, so only what the loader itself needs is relied on: program headers. The
same reader takes a file and the memory that it was loaded to. Files are read piece by piece, never mapped: one that is
truncated meanwhile would end heaptop with SIGBUS.
"""

import struct
from bisect import bisect_right
from collections.abc import Callable
from typing import Final, NamedTuple

from heaptop.stacks.cursor import Cursor, DamageError

MAGIC: Final = b"\x7fELF"
EM_386, EM_X86_64, EM_AARCH64 = 3, 62, 183
HEADERS_MAX: Final = 256
NOTES_BYTES_MAX: Final = 1 << 16
SECTIONS_MAX: Final = 1 << 13
_PT_LOAD, _PT_NOTE, _PT_GNU_EH_FRAME = 1, 4, 0x6474E550
_NT_GNU_BUILD_ID: Final = 3
_SHT_PROGBITS: Final = 1
_PAGE_MASK: Final = 0xFFF
_SECTION32: Final = struct.Struct("<10I")
_SECTION64: Final = struct.Struct("<IIQQQQIIQQ")

Read = Callable[[int, int], bytes]
"""The bytes at an offset, so many or fewer."""


class Segment(NamedTuple):
    """A part that is loaded: where it is in the file, its address as linked, and its length in the file."""

    offset: int
    address: int
    length_bytes: int


class _Header(NamedTuple):
    kind: int
    offset: int
    address: int
    length_bytes: int


class Elf:
    """One ELF file of a little-endian machine. Addresses are those as linked."""

    def __init__(self, read: Read, *, is_loaded: bool = False) -> None:
        """`is_loaded`: what is read is memory, from the first loaded byte on, instead of the file.

        Raises:
            DamageError: it is no such file.
        """
        self._read = read
        self.is_loaded = is_loaded
        start = read(0, 64)
        if start[:4] != MAGIC or len(start) < 52 or start[4] not in (1, 2) or start[5] != 1:
            raise DamageError("not an ELF file of a little-endian machine")
        self._start = start
        self.word_bytes = 4 * start[4]
        self.machine = int.from_bytes(start[18:20], "little")
        headers = self._headers()
        base = next((header.address & ~_PAGE_MASK for header in headers if header.kind == _PT_LOAD), 0)
        if is_loaded:
            headers = [header._replace(offset=header.address - base) for header in headers]
        self.segments = tuple(Segment(*header[1:]) for header in headers if header.kind == _PT_LOAD)
        self._by_address = sorted((segment.address, index) for index, segment in enumerate(self.segments))
        self.eh_frame_hdr = next((header for header in headers if header.kind == _PT_GNU_EH_FRAME), None)
        notes = (header for header in headers if header.kind == _PT_NOTE)
        self.build_id = next((found for header in notes if (found := self._build_id(header)) is not None), None)

    def _field(self, wide: tuple[str, int], narrow: tuple[str, int]) -> int:
        layout, at = wide if self.word_bytes == 8 else narrow
        if at + struct.calcsize(layout) > len(self._start):
            raise DamageError("the header is cut")
        (value,) = struct.unpack_from(layout, self._start, at)
        return int(value)

    def _headers(self) -> list[_Header]:
        wide = self.word_bytes == 8
        start = self._field(("<Q", 32), ("<I", 28))
        size, count = self._field(("<H", 54), ("<H", 42)), self._field(("<H", 56), ("<H", 44))
        text = self._read(start, size * count)
        if size < (56 if wide else 32) or count > HEADERS_MAX or len(text) < size * count:
            raise DamageError("no program headers")
        headers = []
        for at in range(0, size * count, size):
            if wide:
                kind, _, offset, address, _, length = struct.unpack_from("<IIQQQQ", text, at)
            else:
                kind, offset, address, _, length = struct.unpack_from("<IIIII", text, at)
            headers.append(_Header(kind, offset, address, length))
        return headers

    def _build_id(self, header: _Header) -> bytes | None:
        """The build id among the notes there, if it is."""
        cursor = Cursor(self._read(header.offset, min(header.length_bytes, NOTES_BYTES_MAX)))
        try:
            while cursor.at < cursor.end:
                name_bytes, value_bytes, kind = cursor.u32(), cursor.u32(), cursor.u32()
                name = cursor.bytes(name_bytes)
                cursor.skip(-name_bytes & 3)
                value = cursor.bytes(value_bytes)
                if kind == _NT_GNU_BUILD_ID and name == b"GNU\0" and 0 < len(value) <= 64:
                    return value
                cursor.skip(-value_bytes & 3)
        except DamageError:
            pass
        return None

    def at(self, address: int, length_bytes: int) -> Cursor:
        """The bytes at an address: so many, or fewer where the file ends before.

        Raises:
            DamageError: nothing of the file is loaded there.
        """
        index = bisect_right(self._by_address, (address, len(self._by_address))) - 1
        if index >= 0:
            segment = self.segments[self._by_address[index][1]]
            within = address - segment.address
            if within < segment.length_bytes:
                length = min(length_bytes, segment.length_bytes - within)
                return Cursor(self._read(segment.offset + within, length), address)
        raise DamageError(f"address {address:#x} is not in the file")

    def bias(self, start: int, file_offset: int) -> int | None:
        """Address in memory less address as linked, of a file of which `file_offset` on is mapped at `start`."""
        for segment in self.segments:
            if segment.offset & ~_PAGE_MASK <= file_offset < segment.offset + max(1, segment.length_bytes):
                return start - (segment.address + file_offset - segment.offset)
        return None

    def section(self, wanted: bytes, kind: int = _SHT_PROGBITS) -> tuple[int, int] | None:
        """Address and length of a section; None where there is none, as in memory and in stripped files."""
        layout = _SECTION64 if self.word_bytes == 8 else _SECTION32
        start = self._field(("<Q", 40), ("<I", 32))
        count, names = self._field(("<H", 60), ("<H", 48)), self._field(("<H", 62), ("<H", 50))
        if not start or count > SECTIONS_MAX or names >= count:
            return None
        text = self._read(start, count * layout.size)
        if len(text) < count * layout.size:
            return None
        sections = list(layout.iter_unpack(text))
        for name, its_kind, _, address, _, length, *_ in sections:
            where = sections[names][4] + name
            if its_kind == kind and self._read(where, len(wanted) + 1) == wanted + b"\0":
                return address, length
        return None
