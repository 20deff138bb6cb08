"""The address space of a process at one moment: which code is where, and the rule of each address."""

from bisect import bisect_right
from collections.abc import Sequence
from typing import Final

from heaptop.errors import ParseError
from heaptop.parse import maps
from heaptop.parse.maps import Vma
from heaptop.stacks.machine import Machine
from heaptop.stacks.memory import Memory
from heaptop.stacks.modules import VDSO, Module, Modules
from heaptop.stacks.unwind import Rule, Rules

STACK_BYTES: Final = 16 << 10
STACK_BYTES_MAX: Final = 256 << 10


class _Loaded:
    """Mappings of one file that follow one another: one library, opened when it is first asked for."""

    __slots__ = ("bias", "first", "has_code", "is_asked", "module")

    def __init__(self, first: Vma) -> None:
        self.first = first
        self.module: Module | None = None
        self.bias = 0
        self.is_asked = False
        self.has_code = False

    def open(self, memory: Memory, modules: Modules) -> None:
        """Find the file, and where it was loaded to."""
        self.is_asked = True
        module = modules.of(self.first, memory)
        if module is None:
            return
        bias = module.elf.bias(self.first.start, self.first.offset - module.begin)
        if bias is not None:
            self.module, self.bias = module, bias


class Space(Rules):
    """Rules by address in memory, from the tables of the files that are mapped there."""

    def __init__(self, text: bytes, memory: Memory, modules: Modules) -> None:
        """`text` is /proc/PID/maps; a line that cannot be understood ends it."""
        super().__init__()
        self.memory = memory
        self.stack_bytes = STACK_BYTES
        """How much of a stack is copied: more, once a walk ended for want of it."""
        self.is_old = False
        """Whether a walk met code that was not mapped when this was made: libraries are loaded at any time."""
        self.interpreter: object = NotImplemented
        """Of the program's language, once it was looked for (python.py)."""
        self._modules = modules
        self._code = _code(text)
        self._starts = [start for start, _, _ in self._code]

    def find(self, pc: int) -> Rule | None:
        """The rule for an address in memory."""
        found = self.place(pc)
        return None if found is None else found[0].rule(found[1])

    def is_code(self, pc: int) -> bool:
        """Whether code is mapped there."""
        at = bisect_right(self._starts, pc) - 1
        return at >= 0 and pc < self._code[at][1]

    def place(self, pc: int) -> tuple[Module, int] | None:
        """The module that an address lies in, and the address as linked there."""
        at = bisect_right(self._starts, pc) - 1
        if at < 0 or pc >= self._code[at][1]:
            return None
        loaded = self._code[at][2]
        if not loaded.is_asked:
            loaded.open(self.memory, self._modules)
        return None if loaded.module is None else (loaded.module, pc - loaded.bias)

    def files(self) -> Sequence[bytes]:
        """Paths of all code that is mapped, each once."""
        return tuple(dict.fromkeys(loaded.first.path for _, _, loaded in self._code))

    def loaded(self, path: bytes) -> tuple[Module, int] | None:
        """The module of this path, and what is added to its addresses."""
        for start, _, loaded in self._code:
            if loaded.first.path == path:
                found = self.place(start)
                return None if found is None else (found[0], loaded.bias)
        return None

    def machine(self, pc: int) -> Machine | None:
        """Of the code at an address."""
        found = self.place(pc)
        return None if found is None else found[0].machine


def _code(text: bytes) -> list[tuple[int, int, _Loaded]]:
    """Where code is mapped, rising, and what it belongs to. Code without a file has a `_Loaded` that finds none."""
    code: list[tuple[int, int, _Loaded]] = []
    loaded: _Loaded | None = None
    for vma in _vmas(text):
        if vma.path.startswith(b"/") or vma.path == VDSO:
            same = loaded is not None and (vma.path, vma.inode) == (loaded.first.path, loaded.first.inode)
            # An offset of 0 begins the same file anew: it is loaded twice.
            if loaded is None or not same or (vma.offset == 0 and loaded.has_code):
                loaded = _Loaded(vma)
            owner = loaded
        else:
            owner = _Loaded(vma)
            owner.is_asked = True
        if "x" in vma.perms:
            owner.has_code = True
            code.append((vma.start, vma.end, owner))
    return code


def _vmas(text: bytes) -> Sequence[Vma]:
    try:
        return maps.parse(text)
    except ParseError:
        pass
    vmas: list[Vma] = []
    for line in text.splitlines(keepends=True):
        try:
            vmas += maps.parse(line)
        except ParseError:
            break
    return vmas
