"""Where allocations come from: the stack of a thread is copied while it stands, and walked later.

Copying is all that the allocating program pays for. What cannot wait are the frames of an interpreter, which are data
that change: they are read while the thread stands.
"""

import os
import platform
from collections import OrderedDict
from typing import Final, NamedTuple

from heaptop.call_stack import NamedFrame
from heaptop.stacks import python
from heaptop.stacks.machine import ARM64, X86_64, Machine, Registers
from heaptop.stacks.memory import Memory, identity
from heaptop.stacks.modules import Modules
from heaptop.stacks.python import Interpreter
from heaptop.stacks.registers import decode, parked
from heaptop.stacks.space import STACK_BYTES_MAX, Space
from heaptop.stacks.unwind import End, Walk, unwind

SPACES_MAX: Final = 64
MAPS_BYTES_MAX: Final = 32 << 20
_READ_BYTES: Final = 1 << 17
_NATIVE: Final = {"x86_64": X86_64, "aarch64": ARM64}


class Copy(NamedTuple):
    """What was taken of a thread: enough to walk its stack when it has long gone on."""

    space: Space
    machine: Machine
    registers: Registers
    stack: bytes
    interpreter: Interpreter | None = None
    calls: tuple[tuple[NamedFrame, ...], ...] = ()
    """Of an interpreter's frames, those that each of its calls runs, innermost first."""

    def walk(self) -> Walk:
        """Its frames. Where the copy was too short, the next one from this process is longer."""
        walk = unwind(self.machine, self.registers, self.stack, self.space)
        if walk.end is End.SHORT:
            self.space.stack_bytes = min(4 * self.space.stack_bytes, STACK_BYTES_MAX)
        if walk.end is not End.WHOLE and not all(map(self.space.is_code, walk.addresses)):
            self.space.is_old = True
        return walk


class Spaces:
    """The address spaces of the processes that were met lately. Used by one thread."""

    def __init__(self) -> None:
        self.modules = Modules()
        self._known: OrderedDict[int, tuple[bytes, Space]] = OrderedDict()

    def of(self, pid: int) -> Space | None:
        """Of a process, as it is at this moment: after execve(2) it is another, and where code turned up that was not
        mapped before, it is looked at again. None where the process is gone or cannot be looked at.
        """
        now = identity(pid)
        if not now:
            return None
        known, space = self._known.get(pid, (b"", None))
        if space is None or known != now or space.is_old:
            text = _maps(pid)
            if text is None:
                return None
            before, space = space, Space(text, Memory(pid), self.modules)
            if before is not None and known == now:
                space.stack_bytes = before.stack_bytes
            self._known[pid] = now, space
            if len(self._known) > SPACES_MAX:
                self._known.popitem(last=False)
        self._known.move_to_end(pid)
        return space

    def close(self) -> None:
        """Close all files. May be called twice."""
        self._known.clear()
        self.modules.close()


def of_stopped(spaces: Spaces, tid: int, registers: bytes) -> Copy | None:
    """The stack of a thread that stands still, by its general registers as ptrace(2) gives them; None where it is gone,
    or of an unknown machine.
    """
    decoded = decode(registers)
    space = None if decoded is None else spaces.of(tid)
    return None if decoded is None or space is None else _copied(space, tid, *decoded)


def of_parked(spaces: Spaces, tid: int) -> Copy | None:
    """The stack of a thread that waits in a call, by the two registers that /proc tells of; None where it tells none.

    It is whole where the program keeps no frame pointers.
    """
    machine = _NATIVE.get(platform.machine())
    space = None if machine is None else spaces.of(tid)
    if machine is None or space is None:
        return None
    registers = parked(tid, machine)
    return None if registers is None else _copied(space, tid, machine, registers)


def of_sample(spaces: Spaces, pid: int, machine: Machine, registers: Registers, stack: bytes) -> Copy | None:
    """A stack that perf copied, of a process as it is now; None where that is gone."""
    space = spaces.of(pid)
    return None if space is None else Copy(space, machine, registers, stack)


def _copied(space: Space, tid: int, machine: Machine, registers: Registers) -> Copy:
    memory = Memory(tid)
    stack = memory.read(registers[machine.sp] or 0, space.stack_bytes)
    interpreter = python.of(space)
    calls = () if interpreter is None else python.frames(interpreter, memory, tid)
    return Copy(space, machine, registers, stack, interpreter, calls)


def _maps(pid: int) -> bytes | None:
    """The text of /proc/PID/maps; None where it cannot be read."""
    parts: list[bytes] = []
    try:
        fd = os.open(f"/proc/{pid}/maps", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        while (part := os.read(fd, _READ_BYTES)) and len(parts) * _READ_BYTES < MAPS_BYTES_MAX:
            parts.append(part)
    except OSError:
        return None
    finally:
        os.close(fd)
    return b"".join(parts)
