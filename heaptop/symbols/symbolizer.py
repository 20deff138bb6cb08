"""Names of frames, found when they are asked for and kept."""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, TypeVar

from elftools.elf.elffile import ELFFile

from heaptop.call_stack import CallStack, CodeFrame, Frame, Location, NamedFrame
from heaptop.symbols.demangle import demangled, is_mangled
from heaptop.symbols.files import Places, find
from heaptop.symbols.functions import Functions
from heaptop.symbols.lines import Line, Lines

MODULES_KEPT_MAX: Final = 64
FRAMES_KEPT_MAX: Final = 1 << 16
_Given = TypeVar("_Given")
_Found = TypeVar("_Found")


@dataclass(slots=True)
class _Module:
    """What is open of one module: its files by worth, their lines and functions once they are needed."""

    elves: list[ELFFile]
    notes: list[str]
    lines: list[Lines] | None = None
    functions: list[Functions] = field(default_factory=list)

    def close(self) -> None:
        """Close its files."""
        for elf in self.elves:
            elf.close()


class Symbolizer:
    """Names frames. Used by one thread at a time. It never fails: what has no name keeps its address."""

    def __init__(self, places: Places = Places()) -> None:  # noqa: B008  (frozen)
        self._places = places
        self._modules: OrderedDict[tuple[str, str], _Module] = OrderedDict()
        self._known: dict[Frame, tuple[Location, ...]] = {}

    def name(self, frame: Frame) -> tuple[Location, ...]:
        """The frame's places in source, innermost first: more than one where functions were inlined."""
        known = self._known.get(frame)
        if known is None:
            if len(self._known) >= FRAMES_KEPT_MAX:
                self._known.clear()
            known = self._known[frame] = self._name(frame)
        return known

    def names(self, stack: CallStack) -> tuple[Location, ...]:
        """All places of a stack, innermost first."""
        return tuple(location for frame in stack.frames for location in self.name(frame))

    def notes(self) -> tuple[str, ...]:
        """Why some names are not known: files that are missing, of another build, or damaged."""
        return tuple(dict.fromkeys(note for module in self._modules.values() for note in module.notes))

    def close(self) -> None:
        """Close all files. May be called twice."""
        while self._modules:
            self._modules.popitem()[1].close()

    def _name(self, frame: Frame) -> tuple[Location, ...]:
        if isinstance(frame, NamedFrame):
            return (Location(frame.function, frame.file, frame.line, ""),)
        if not frame.path:
            return (Location(None, None, None, "", frame.address),)
        module = self._module(frame)
        lines = self._lines_at(module, frame.address)
        symbol = self._symbol_at(module, frame.address)
        if not lines:
            return (self._located(frame, Line(symbol, None, None)),)
        # The symbol of what is not inlined has the whole name, which DWARF lacks for lambdas.
        if symbol is not None and (lines[-1].function is None or is_mangled(symbol)):
            lines = (*lines[:-1], lines[-1]._replace(function=symbol))
        return tuple(self._located(frame, line, is_inlined=line is not lines[-1]) for line in lines)

    def _located(self, frame: CodeFrame, line: Line, *, is_inlined: bool = False) -> Location:
        function = None if line.function is None else demangled(line.function)
        return Location(function, line.file, line.line, frame.path, frame.address, is_inlined)

    def _module(self, frame: CodeFrame) -> _Module:
        key = frame.build_id, frame.path
        module = self._modules.get(key)
        if module is None:
            found = find(*key, self._places)
            module = self._modules[key] = _Module(found.elves, found.notes)
            if len(self._modules) > MODULES_KEPT_MAX:
                self._modules.popitem(last=False)[1].close()
        self._modules.move_to_end(key)
        return module

    def _lines_at(self, module: _Module, address: int) -> tuple[Line, ...]:
        if module.lines is None:
            module.lines = []
            for elf in module.elves:
                if elf.has_dwarf_info(strict=True):
                    lines = _tried(module, _lines_of, elf)
                    module.lines += [] if lines is None else [lines]
        for lines in module.lines:
            found = _tried(module, lines.at, address)
            if found:
                return found
        return ()

    def _symbol_at(self, module: _Module, address: int) -> str | None:
        if not module.functions:
            for elf in module.elves:
                functions = _tried(module, Functions, elf)
                module.functions += [] if functions is None else [functions]
        for functions in module.functions:
            found = functions.at(address)
            if found is not None:
                return found
        return None


def _lines_of(elf: ELFFile) -> Lines:
    return Lines(elf.get_dwarf_info(follow_links=False))


def _tried(module: _Module, read: Callable[[_Given], _Found], given: _Given) -> _Found | None:
    """What pyelftools finds; None where a damaged file makes it raise, whatever that is."""
    try:
        return read(given)
    except Exception as error:  # noqa: BLE001
        module.notes.append(f"debug information is damaged or of an unknown kind ({type(error).__name__}: {error})")
        return None
