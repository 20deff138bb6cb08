"""Files and lines, and what was inlined where: DWARF through pyelftools, one compilation unit at a time.

The units of a C library take seconds to read, the one of an address a twentieth of one. So they are found by
`.debug_aranges`, or where the compiler wrote none by their first entries only, and kept once they are read.
"""

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from elftools.dwarf.compileunit import CompileUnit
from elftools.dwarf.die import DIE
from elftools.dwarf.dwarfinfo import DWARFInfo
from elftools.dwarf.lineprogram import LineProgram
from elftools.dwarf.ranges import BaseAddressEntry

UNITS_KEPT_MAX: Final = 64
DEPTH_MAX: Final = 100
_SCOPES: Final = frozenset(
    {"DW_TAG_namespace", "DW_TAG_structure_type", "DW_TAG_class_type", "DW_TAG_union_type", "DW_TAG_module"}
)
"""Entries that functions with code can lie in."""
_NAMING: Final = _SCOPES | {"DW_TAG_subprogram"}
_BLOCKS: Final = frozenset(
    {"DW_TAG_lexical_block", "DW_TAG_inlined_subroutine", "DW_TAG_try_block", "DW_TAG_catch_block"}
)


class Line(NamedTuple):
    """A place in source. `function` is mangled, or None where nothing tells."""

    function: str | None
    file: str | None
    line: int | None


class _Row(NamedTuple):
    address: int
    file: int
    line: int
    is_end: bool


@dataclass(slots=True)
class _Unit:
    """What was read of one compilation unit."""

    unit: CompileUnit
    program: LineProgram | None
    rows: list[_Row]
    functions: list[tuple[int, int, DIE]] = field(default_factory=list)
    passes: int = 0

    def function(self, address: int) -> DIE | None:
        """The function that an address lies in. Most lie in a scope; lambdas and such, in other functions, which takes
        to read all entries of the unit.
        """
        while True:
            found = next((die for low, high, die in self.functions if low <= address < high), None)
            if found is not None or self.passes == 2:
                return found
            self.passes += 1
            if self.passes == 1:
                _collect(self, self.unit.get_top_DIE(), 0)
            else:
                inner = (die for die in self.unit.iter_DIEs() if die.tag == "DW_TAG_subprogram")
                self.functions = [(low, high, die) for die in inner for low, high in _ranges_of(die)]


class Lines:
    """The lines of one file with DWARF. Raises whatever a damaged file makes pyelftools raise."""

    def __init__(self, dwarf: DWARFInfo) -> None:
        self._dwarf = dwarf
        aranges = dwarf.get_aranges()
        self._aranges = aranges if aranges is not None and aranges.entries else None
        self._ranges: list[tuple[int, int, int]] = []
        self._rest: Iterator[CompileUnit] | None = None
        self._units: dict[int, _Unit] = {}

    def at(self, address: int) -> tuple[Line, ...]:
        """The place of an address, innermost first: what was inlined, and the function it was inlined to."""
        unit = self._unit(address)
        if unit is None:
            return ()
        here = _line(unit, address)
        chain = list(self._functions(unit, address))
        places = []
        for die in reversed(chain):
            places.append(Line(_name(die), *here))
            here = _called_at(unit, die)
        return tuple(places) or ((Line(None, *here),) if here[1] is not None else ())

    def _unit(self, address: int) -> _Unit | None:
        offset = None
        if self._aranges is not None:
            offset = self._aranges.cu_offset_at_addr(address)
        if offset is None:
            offset = self._search(address)
        if offset is None:
            return None
        if offset not in self._units:
            if len(self._units) >= UNITS_KEPT_MAX:
                self._units.clear()
            unit = self._dwarf.get_CU_at(offset)
            program = self._dwarf.line_program_for_CU(unit)
            self._units[offset] = _Unit(unit, program, [] if program is None else _rows(program))
        return self._units[offset]

    def _search(self, address: int) -> int | None:
        """By the first entry of each unit, in order, as far as need be."""
        for low, high, offset in self._ranges:
            if low <= address < high:
                return offset
        if self._rest is None:
            self._rest = self._dwarf.iter_CUs()
        for unit in self._rest:
            found = None
            for low, high in _ranges_of(unit.get_top_DIE()):
                self._ranges.append((low, high, unit.cu_offset))
                if low <= address < high:
                    found = unit.cu_offset
            if found is not None:
                return found
        return None

    def _functions(self, unit: _Unit, address: int) -> Iterator[DIE]:
        """The function of an address, and what was inlined to it there, outermost first."""
        found = unit.function(address) if unit.rows else None
        depth = 0
        while found is not None and depth < DEPTH_MAX:
            if found.tag in ("DW_TAG_subprogram", "DW_TAG_inlined_subroutine"):
                yield found
            found = next(
                (
                    child
                    for child in _children(found)
                    if child.tag in _BLOCKS and any(low <= address < high for low, high in _ranges_of(child))
                ),
                None,
            )
            depth += 1


def _children(die: DIE) -> Iterator[DIE]:
    """The entries below one. A damaged file could lead back: offsets must rise."""
    at = die.offset
    for child in die.iter_children():
        if child.offset <= at:
            return
        at = child.offset
        yield child


def _collect(unit: _Unit, die: DIE, depth: int) -> None:
    for child in _children(die):
        if child.tag == "DW_TAG_subprogram":
            unit.functions += [(low, high, child) for low, high in _ranges_of(child)]
        elif child.tag in _SCOPES and depth < DEPTH_MAX:
            _collect(unit, child, depth + 1)


def _ranges_of(die: DIE) -> list[tuple[int, int]]:
    """Addresses of an entry's code, as [first, end)."""
    attributes = die.attributes
    if "DW_AT_ranges" in attributes:
        return list(_listed(die, attributes["DW_AT_ranges"].value))
    low, high = attributes.get("DW_AT_low_pc"), attributes.get("DW_AT_high_pc")
    if low is None or high is None:
        return []
    is_address = high.form in ("DW_FORM_addr", "DW_FORM_addrx")
    return [(low.value, high.value if is_address else low.value + high.value)]


def _listed(die: DIE, offset: int) -> Iterator[tuple[int, int]]:
    lists, unit = die.dwarfinfo.range_lists(), die.cu
    if lists is None or not isinstance(unit, CompileUnit):
        return
    base = unit.get_top_DIE().attributes.get("DW_AT_low_pc")
    start = base.value if base is not None else 0
    for entry in lists.get_range_list_at_offset(offset, unit):
        if isinstance(entry, BaseAddressEntry):
            start = entry.base_address
        elif entry.is_absolute:
            yield entry.begin_offset, entry.end_offset
        else:
            yield start + entry.begin_offset, start + entry.end_offset


def _rows(program: LineProgram) -> list[_Row]:
    rows = []
    for entry in program.get_entries():
        state = entry.state
        if state is not None:
            rows.append(_Row(state.address, state.file, state.line, state.end_sequence))
    rows.sort(key=lambda row: (row.address, not row.is_end))
    return rows


def _line(unit: _Unit, address: int) -> tuple[str | None, int | None]:
    at = bisect_right(unit.rows, address, key=lambda row: row.address) - 1
    if at < 0 or unit.rows[at].is_end:
        return None, None
    row = unit.rows[at]
    return _file(unit, row.file), row.line or None


def _file(unit: _Unit, number: int) -> str | None:
    """The path of a file by its number, which begins at 1 up to DWARF 4 and at 0 from DWARF 5 on."""
    if unit.program is None:
        return None
    header = unit.program.header
    is_new = header["version"] >= 5
    index = number if is_new else number - 1
    files, folders = header["file_entry"], header["include_directory"]
    if not 0 <= index < len(files):
        return None
    entry = files[index]
    name = _text(entry.name)
    folder = entry.dir_index if is_new else entry.dir_index - 1
    if name.startswith("/") or not 0 <= folder < len(folders):
        return name
    return f"{_text(folders[folder])}/{name}"


def _called_at(unit: _Unit, die: DIE) -> tuple[str | None, int | None]:
    """Where an inlined function was called."""
    attributes = die.attributes
    file, line = attributes.get("DW_AT_call_file"), attributes.get("DW_AT_call_line")
    return (None if file is None else _file(unit, file.value)), (None if line is None else line.value)


def _name(die: DIE) -> str | None:
    """The name of a function, which may be at the entry that this one is a copy of: mangled where it is, else with the
    names of what it lies in.
    """
    named = None
    for _ in range(DEPTH_MAX):
        attributes = die.attributes
        for key in ("DW_AT_linkage_name", "DW_AT_MIPS_linkage_name"):
            if key in attributes:
                return _text(attributes[key].value)
        if "DW_AT_name" in attributes:
            named = die
        link = next((key for key in ("DW_AT_abstract_origin", "DW_AT_specification") if key in attributes), None)
        if link is None:
            break
        die = die.get_DIE_from_attribute(link)
    return None if named is None else _qualified(named)


def _qualified(die: DIE) -> str:
    """`main::<lambda(int)>::operator()`: DWARF has no mangled name for what no other file can name."""
    parts = [_text(die.attributes["DW_AT_name"].value)]
    above = die.get_parent()
    for _ in range(DEPTH_MAX):
        if above is None or above.tag not in _NAMING:
            break
        name = above.attributes.get("DW_AT_name")
        if name is None and "DW_AT_specification" in above.attributes:
            name = above.get_DIE_from_attribute("DW_AT_specification").attributes.get("DW_AT_name")
        parts.append("{unnamed}" if name is None else _text(name.value))
        above = above.get_parent()
    return "::".join(reversed(parts))


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
