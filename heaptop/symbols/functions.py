"""Functions by their symbols: `.symtab` and `.dynsym`, read in one go.

pyelftools finds the tables; to make an object of each symbol of a C library would take it half a second.
"""

import struct
from array import array
from bisect import bisect_right
from collections.abc import Iterable
from typing import Final

from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

from heaptop.pattern import pattern

SYMBOLS_MAX: Final = 4_000_000
_SYMBOL32: Final = struct.Struct("<IIIBBH")
_SYMBOL64: Final = struct.Struct("<IBBHQQ")
_CLONE: Final = pattern(r"(?:\.(?:isra|part|constprop|cold|lto_priv|llvm)(?:\.[0-9]+)*)+$")
"""What compilers add to the name of a function that they copied or split."""
_FUNCTIONS: Final = (2, 10)
"""STT_FUNC and STT_GNU_IFUNC."""


class Functions:
    """The functions of one ELF file. Raises whatever a damaged file makes pyelftools raise."""

    def __init__(self, elf: ELFFile) -> None:
        found: dict[int, tuple[int, bytes]] = {}
        for name in (".dynsym", ".symtab"):
            section = elf.get_section_by_name(name)
            if isinstance(section, SymbolTableSection) and section["sh_type"] != "SHT_NOBITS":
                found.update(_read(section, elf.elfclass == 64))
        ordered = sorted(found.items())
        self._starts = array("Q", (start for start, _ in ordered))
        self._rest = [rest for _, rest in ordered]

    def at(self, address: int) -> str | None:
        """The function that an address lies in, mangled. One without a size goes on to the next."""
        at = bisect_right(self._starts, address) - 1
        if at < 0:
            return None
        size, name = self._rest[at]
        if size and address - self._starts[at] >= size:
            return None
        return _CLONE.sub("", name.decode("utf-8", "replace").partition("@")[0])


def _read(section: SymbolTableSection, is_wide: bool) -> Iterable[tuple[int, tuple[int, bytes]]]:
    layout = _SYMBOL64 if is_wide else _SYMBOL32
    data = section.data()
    names = section.stringtable.data()
    symbols = layout.iter_unpack(data[: min(len(data) // layout.size, SYMBOLS_MAX) * layout.size])
    for symbol in symbols:
        if is_wide:
            name, info, _, place, value, size = symbol
        else:
            name, value, size, info, _, place = symbol
        if info & 15 in _FUNCTIONS and place:
            yield value, (size, names[name : names.find(b"\0", name)])
