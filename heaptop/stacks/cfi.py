"""The unwind tables of an ELF file: `.eh_frame` by its index `.eh_frame_hdr`. Pure.

Formats: Linux Standard Base Core 5.0, section 10.6; DWARF 5, section 6.4. One entry is decoded, up to one address, when
that address is asked for: a library has thousands, a program calls through a few.
"""

from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from enum import IntEnum
from typing import Final, NamedTuple

from heaptop.stacks.cursor import U64_MASK, Cursor, DamageError
from heaptop.stacks.elf import Elf

PROGRAM_BYTES_MAX: Final = 1 << 16
SAVED_STATES_MAX: Final = 64
SCANNED_ENTRIES_MAX: Final = 200_000
"""How many entries of a table without an index are looked at."""

INDEX_BYTES_MAX: Final = 64 << 20

_RECORD_BYTES: Final = 256
"""How much is read of an entry at first: nearly all are shorter."""
_OMITTED: Final = 0xFF
_FORMAT, _RELATIVE = 0x0F, 0x70
_PC_RELATIVE, _DATA_RELATIVE = 0x10, 0x30
_SORTED_TABLE: Final = 0x3B
"""Data-relative four-byte pairs: what every linker writes, as only these can be searched."""


class How(IntEnum):
    """Where the caller's value of a register is."""

    SAVED = 0
    """In memory, at the CFA and an offset."""
    IS_OFFSET = 1
    """It is the CFA and an offset."""
    REGISTER = 2
    """In another register."""
    UNDEFINED = 3
    """Nowhere; for the return address: there is no caller."""
    SAVED_BY_EXPRESSION = 4
    IS_EXPRESSION = 5


_Where = tuple[How, int | bytes]
"""How, and the offset, number or expression that belongs to it."""


class Row(NamedTuple):
    """How to get from a frame to its caller's, at one address. A register without a rule keeps its value.

    `cfa` (canonical frame address: the caller's stack pointer) is a register and an offset, or an expression.
    """

    cfa: tuple[int, int] | bytes
    registers: Mapping[int, _Where]
    return_register: int
    is_signal: bool


class _Cie(NamedTuple):
    """What entries have in common."""

    code_factor: int
    data_factor: int
    return_register: int
    encoding: int
    is_signal: bool
    has_augmentation: bool
    program: Cursor


class _Entry(NamedTuple):
    """The rules of one function, or of a part of it."""

    start: int
    length_bytes: int
    cie: _Cie
    program: Cursor


class Table:
    """The unwind table of one ELF file."""

    def __init__(self, elf: Elf) -> None:
        """Raises DamageError where there is none, or it cannot be searched."""
        self._elf = elf
        self._cies: dict[int, _Cie] = {}
        self._starts: Sequence[int]
        self._entries: Sequence[int]
        self._base = 0
        if not self._use_index():
            self._scan_section()

    def _use_index(self) -> bool:
        """Use .eh_frame_hdr; false where it has no table to search."""
        header = self._elf.eh_frame_hdr
        if header is None:
            return False
        cursor = self._elf.at(header.address, min(header.length_bytes, INDEX_BYTES_MAX))
        version, frame_encoding, count_encoding, table_encoding = cursor.bytes(4)
        if version != 1 or count_encoding == _OMITTED or table_encoding != _SORTED_TABLE:
            return False
        self._pointer(cursor, frame_encoding, header.address)
        count = self._pointer(cursor, count_encoding, header.address) or 0
        cursor.limit(8 * count)
        pairs = memoryview(cursor.data)[cursor.at : cursor.end].cast("i")
        self._starts, self._entries, self._base = pairs[0::2], pairs[1::2], header.address
        return True

    def _scan_section(self) -> None:
        """Read the whole section where there is no index of it."""
        found = self._elf.section(b".eh_frame")
        if found is None:
            raise DamageError("no unwind table")
        address, length = found
        end = address + length
        pairs = []
        for _ in range(SCANNED_ENTRIES_MAX):
            if address >= end or (size := (cursor := self._elf.at(address, 8)).u32()) == 0:
                break
            if cursor.u32() != 0:
                pairs.append((self._entry(address).start, address))
            address += 4 + size
        pairs.sort()
        self._starts = [start for start, _ in pairs]
        self._entries = [entry for _, entry in pairs]

    def row(self, pc: int) -> Row | None:
        """The row for an address; None where no entry covers it.

        Raises:
            DamageError: the entry cannot be understood.
        """
        at = bisect_right(self._starts, pc - self._base) - 1
        if at < 0:
            return None
        entry = self._entry(self._entries[at] + self._base)
        if not 0 <= pc - entry.start < entry.length_bytes:
            return None
        return _Program(self, entry, pc).run()

    def _entry(self, address: int) -> "_Entry":
        """The entry at this address."""
        cursor = self._record(address)
        at_cie = cursor.address
        cie = self._cie(at_cie - cursor.u32())
        start = self.pointer(cursor, cie) or 0
        length = self._pointer(cursor, cie.encoding & _FORMAT, None) or 0
        if cie.has_augmentation:
            cursor.skip(cursor.uleb())
        return _Entry(start, length, cie, cursor)

    def _record(self, address: int) -> Cursor:
        """What the length at this address says: an entry, or what entries have in common."""
        cursor = self._elf.at(address, _RECORD_BYTES)
        size = cursor.u32()
        if size > PROGRAM_BYTES_MAX:
            raise DamageError(f"an entry of {size} bytes")
        if size > cursor.end - cursor.at:
            cursor = self._elf.at(address, 4 + size)
            cursor.skip(4)
        cursor.limit(size)
        return cursor

    def pointer(self, cursor: Cursor, cie: "_Cie") -> int | None:
        """An address of code, as this common part says that it is written."""
        return self._pointer(cursor, cie.encoding, None)

    def _cie(self, address: int) -> "_Cie":
        known = self._cies.get(address)
        if known is None:
            known = self._cies[address] = self._read_cie(address)
        return known

    def _read_cie(self, address: int) -> "_Cie":
        cursor = self._record(address)
        if cursor.u32() != 0:
            raise DamageError("an entry without a common part")
        version = cursor.u8()
        augmentation = _string(cursor)
        if version >= 4:
            cursor.skip(2)  # sizes of an address and of a segment selector
        code_factor, data_factor = cursor.uleb(), cursor.sleb()
        return_register = cursor.u8() if version == 1 else cursor.uleb()
        encoding = 0
        if augmentation.startswith(b"z"):
            length = cursor.uleb()
            after = cursor.at + length
            for letter in augmentation[1:]:
                match letter:
                    case 0x52:  # R
                        encoding = cursor.u8()
                    case 0x50:  # P: the personality, of no use here
                        self._pointer(cursor, cursor.u8() & _FORMAT, None)
                    case 0x4C:  # L
                        cursor.u8()
            cursor.at = after
        elif augmentation:
            raise DamageError("an augmentation of unknown length")
        cursor.limit(cursor.end - cursor.at)
        return _Cie(
            code_factor, data_factor, return_register, encoding, b"S" in augmentation, bool(augmentation), cursor
        )

    def _pointer(self, cursor: Cursor, encoding: int, data_base: int | None) -> int | None:
        """A DW_EH_PE pointer."""
        if encoding == _OMITTED:
            return None
        address = cursor.address
        kind, relative = encoding & _FORMAT, encoding & _RELATIVE
        if kind == 0:
            value = cursor.word(self._elf.word_bytes)
        elif (read := _FORMATS.get(kind)) is not None:
            value = read(cursor)
        else:
            raise DamageError(f"unknown encoding {encoding:#x} of an address")
        if relative == _PC_RELATIVE:
            value += address
        elif relative == _DATA_RELATIVE and data_base is not None:
            value += data_base
        elif relative:
            raise DamageError(f"unknown encoding {encoding:#x} of an address")
        return value & (U64_MASK if self._elf.word_bytes == 8 else 0xFFFFFFFF)


def _string(cursor: Cursor) -> bytes:
    text = bytearray()
    while byte := cursor.u8():
        text.append(byte)
        if len(text) > 16:
            raise DamageError("an augmentation that does not end")
    return bytes(text)


_FORMATS: Final[Mapping[int, Callable[[Cursor], int]]] = {
    1: Cursor.uleb,
    2: Cursor.u16,
    3: Cursor.u32,
    4: Cursor.u64,
    9: Cursor.sleb,
    10: Cursor.i16,
    11: Cursor.i32,
    12: Cursor.i64,
}


class _Program:
    """The instructions of one entry, run up to an address."""

    def __init__(self, table: Table, entry: _Entry, pc: int) -> None:
        self._table = table
        self._entry = entry
        self._pc = pc
        self.location = entry.start
        self.cfa: tuple[int, int] | bytes | None = None
        self.registers: dict[int, _Where] = {}
        self.initial: dict[int, _Where] = {}
        self.states: list[tuple[tuple[int, int] | bytes | None, dict[int, _Where]]] = []

    def run(self) -> Row:
        common = self._entry.cie.program
        begin = common.at
        self._execute(common, up_to=U64_MASK)
        common.at = begin
        self.initial = dict(self.registers)
        self._execute(self._entry.program, up_to=self._pc)
        if self.cfa is None:
            raise DamageError("an entry without a frame address")
        return Row(self.cfa, self.registers, self._entry.cie.return_register, self._entry.cie.is_signal)

    def _execute(self, cursor: Cursor, *, up_to: int) -> None:
        self.cursor = cursor
        code_factor, data_factor = self._entry.cie.code_factor, self._entry.cie.data_factor
        while cursor.at < cursor.end:
            operation = cursor.u8()
            low = operation & 0x3F
            match operation & 0xC0:
                case 0x40:  # advance_loc
                    if self.location + low * code_factor > up_to:
                        return
                    self.location += low * code_factor
                case 0x80:  # offset
                    self.registers[low] = How.SAVED, cursor.uleb() * data_factor
                case 0xC0:  # restore
                    self.restore(low)
                case _:
                    self._other(operation, up_to)

    def _other(self, operation: int, up_to: int) -> None:
        advance = _ADVANCES.get(operation)
        if advance is not None:
            moved = self.location + advance(self.cursor) * self._entry.cie.code_factor
        elif operation == 0x01:  # set_loc
            moved = self._table.pointer(self.cursor, self._entry.cie) or 0
        else:
            run = _OPERATIONS.get(operation)
            if run is None:
                raise DamageError(f"unknown unwind instruction {operation:#x}")
            run(self)
            return
        if moved > up_to:
            self.cursor.at = self.cursor.end
        else:
            self.location = moved

    def factored(self) -> int:
        return self.cursor.uleb() * self._entry.cie.data_factor

    def factored_signed(self) -> int:
        return self.cursor.sleb() * self._entry.cie.data_factor

    def expression(self) -> bytes:
        return self.cursor.bytes(self.cursor.uleb())

    def rule(self, how: How, value: Callable[[], int | bytes]) -> None:
        register = self.cursor.uleb()
        self.registers[register] = how, value()

    def restore(self, register: int) -> None:
        if register in self.initial:
            self.registers[register] = self.initial[register]
        else:
            self.registers.pop(register, None)

    def keep(self) -> None:
        self.registers.pop(self.cursor.uleb(), None)

    def pass_over(self) -> None:
        self.cursor.uleb()

    def define(self, offset: Callable[[], int]) -> None:
        register = self.cursor.uleb()
        self.cfa = register, offset()

    def define_register(self) -> None:
        self.cfa = self.cursor.uleb(), self._cfa()[1]

    def define_offset(self, offset: Callable[[], int]) -> None:
        self.cfa = self._cfa()[0], offset()

    def define_expression(self) -> None:
        self.cfa = self.expression()

    def _cfa(self) -> tuple[int, int]:
        if not isinstance(self.cfa, tuple):
            raise DamageError("a part of a frame address that is none")
        return self.cfa

    def remember(self) -> None:
        if len(self.states) >= SAVED_STATES_MAX:
            raise DamageError("too many remembered states")
        self.states.append((self.cfa, dict(self.registers)))

    def recall(self) -> None:
        if not self.states:
            raise DamageError("no remembered state")
        self.cfa, self.registers = self.states.pop()


_ADVANCES: Final[Mapping[int, Callable[[Cursor], int]]] = {0x02: Cursor.u8, 0x03: Cursor.u16, 0x04: Cursor.u32}
_OPERATIONS: Final[Mapping[int, Callable[[_Program], None]]] = {
    0x00: lambda _: None,
    0x05: lambda program: program.rule(How.SAVED, program.factored),
    0x06: lambda program: program.restore(program.cursor.uleb()),
    0x07: lambda program: program.rule(How.UNDEFINED, int),
    0x08: _Program.keep,
    0x09: lambda program: program.rule(How.REGISTER, program.cursor.uleb),
    0x0A: _Program.remember,
    0x0B: _Program.recall,
    0x0C: lambda program: program.define(program.cursor.uleb),
    0x0D: _Program.define_register,
    0x0E: lambda program: program.define_offset(program.cursor.uleb),
    0x0F: _Program.define_expression,
    0x10: lambda program: program.rule(How.SAVED_BY_EXPRESSION, program.expression),
    0x11: lambda program: program.rule(How.SAVED, program.factored_signed),
    0x12: lambda program: program.define(program.factored_signed),
    0x13: lambda program: program.define_offset(program.factored_signed),
    0x14: lambda program: program.rule(How.IS_OFFSET, program.factored),
    0x15: lambda program: program.rule(How.IS_OFFSET, program.factored_signed),
    0x16: lambda program: program.rule(How.IS_EXPRESSION, program.expression),
    0x2D: lambda _: None,  # AARCH64_negate_ra_state: return addresses are masked in any case
    0x2E: _Program.pass_over,  # GNU_args_size
}
