"""ELF files that processes run from, each opened once for all of them."""

import contextlib
import os
import stat
from collections import OrderedDict
from collections.abc import Callable
from typing import Final, NamedTuple

from heaptop.parse.maps import Vma
from heaptop.stacks.cfi import Table
from heaptop.stacks.cursor import DamageError
from heaptop.stacks.elf import MAGIC, Elf, Read
from heaptop.stacks.machine import BY_ELF, Machine
from heaptop.stacks.memory import Memory
from heaptop.stacks.unwind import RULES_MAX, Rule, rule_of

MODULES_MAX: Final = 200
"""How many files are kept open."""
VDSO: Final = b"[vdso]"
_DELETED: Final = b" (deleted)"


class Module:
    """One ELF file that code runs from: where its functions' callers are found, and what names it.

    `path` is as /proc/PID/maps has it; the ELF file is at `begin` in that file: libraries may run from within an
    archive (Android's packages). Without a table there are no rules, with one that is damaged fewer.
    """

    def __init__(self, path: bytes, elf: Elf, begin: int) -> None:
        self.path = path
        self.begin = begin
        self.elf = elf
        self.machine: Machine | None = BY_ELF.get(elf.machine)
        self._rules: dict[int, Rule | None] = {}
        self._table: Table | None = None
        with contextlib.suppress(DamageError):
            self._table = Table(elf)

    @property
    def build_id(self) -> str:
        """In hexadecimal; empty where it has none."""
        return (self.elf.build_id or b"").hex()

    def rule(self, address: int) -> Rule | None:
        """The rule for an address as linked."""
        if address in self._rules:
            return self._rules[address]
        if len(self._rules) >= RULES_MAX:
            self._rules.clear()
        found = self._rules[address] = self._find(address)
        return found

    def _find(self, address: int) -> Rule | None:
        if self._table is None or self.machine is None:
            return None
        try:
            row = self._table.row(address)
            return None if row is None else rule_of(row, self.machine)
        except DamageError:
            return None


class _Opened(NamedTuple):
    read: Read
    begin: int
    fd: int = -1


class Modules:
    """Those in use, by the file's identity. A file that is replaced or deleted meanwhile is still what was opened."""

    def __init__(self) -> None:
        self._known: OrderedDict[object, tuple[Module, int]] = OrderedDict()

    def of(self, first: Vma, memory: Memory) -> Module | None:
        """The module whose first mapping this is; None where it can be read nowhere."""
        if first.path == VDSO:
            text = memory.read(first.start, first.length)
            return self._kept(("vdso", text), first.path, lambda: _Opened(_slices(text), first.offset), is_loaded=True)
        key: object = (first.dev, first.inode, first.offset)
        found = self._kept(key, first.path, lambda: _open(first, memory.pid), is_loaded=False)
        if found is not None:
            return found
        # The file is gone. What was loaded of it is there as long as the process is.
        key = (memory.pid, first.start, first.dev, first.inode)
        return self._kept(key, first.path, lambda: _Opened(_memory(first.start, memory), first.offset), is_loaded=True)

    def _kept(self, key: object, path: bytes, opened: Callable[[], _Opened], *, is_loaded: bool) -> Module | None:
        if key in self._known:
            self._known.move_to_end(key)
            return self._known[key][0]
        fd = -1
        try:
            read, begin, fd = opened()
            module = Module(path, Elf(read, is_loaded=is_loaded), begin)
        except (OSError, DamageError):
            _close(fd)
            return None
        self._known[key] = module, fd
        if len(self._known) > MODULES_MAX:
            _, (_, old) = self._known.popitem(last=False)
            _close(old)
        return module

    def close(self) -> None:
        """Close all files. May be called twice."""
        while self._known:
            _, (_, fd) = self._known.popitem()
            _close(fd)


def _close(fd: int) -> None:
    if fd >= 0:
        os.close(fd)


def _slices(data: bytes) -> Read:
    return lambda offset, length: data[offset : offset + length] if length > 0 else b""


def _memory(start: int, memory: Memory) -> Read:
    return lambda offset, length: memory.read(start + offset, length)


def _open(vma: Vma, pid: int) -> _Opened:
    """The file that is mapped, whatever is at its path by now. Raises OSError where it cannot be had."""
    begin = vma.offset
    try:
        fd = os.open(f"/proc/{pid}/map_files/{vma.start:x}-{vma.end:x}", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:  # it takes CAP_CHECKPOINT_RESTORE (5.9 on; before CAP_SYS_ADMIN), and the process
        try:
            fd = _open_path(os.path.join(f"/proc/{pid}/root".encode(), vma.path.lstrip(b"/")), vma)
        except OSError:  # the process has ended; most see the same files as this one
            fd = _open_path(vma.path, vma)
    if begin and os.pread(fd, 4, begin) != MAGIC:
        begin = 0  # the file's first mapping is not of its start

    def read(offset: int, length: int) -> bytes:
        try:
            return os.pread(fd, max(0, length), begin + offset)
        except (OSError, OverflowError) as error:
            raise DamageError(str(error)) from error

    return _Opened(read, begin, fd)


def _open_path(path: bytes, vma: Vma) -> int:
    """The file at a path, where it is the one that was mapped.

    The device is not compared: btrfs and overlayfs show another in maps (their anonymous devices).
    """
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    found = os.fstat(fd)
    if found.st_ino != vma.inode or not stat.S_ISREG(found.st_mode) or vma.path.endswith(_DELETED):
        os.close(fd)
        raise FileNotFoundError(path)
    return fd
