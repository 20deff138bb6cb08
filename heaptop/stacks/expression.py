"""DWARF expressions, as far as unwind tables use them: signal frames, PLT entries, realigned stacks. Pure and total."""

import operator
from collections.abc import Callable, Mapping
from typing import Final

from heaptop.stacks.cursor import U64_MASK, Cursor, DamageError
from heaptop.stacks.machine import Registers

STEPS_MAX: Final = 1000
DEPTH_MAX: Final = 64

Read = Callable[[int], int]
"""The word at an address. Raises DamageError where it is not known."""


def evaluate(code: bytes, registers: Registers, read: Read, *start: int) -> int:
    """What an expression leaves on top of its stack, on which `start` lies.

    Raises:
        DamageError: it cannot be evaluated, or does not end.
    """
    return _Machine(code, registers, read, list(start)).run()


class _Machine:
    """A stack machine (DWARF 5, section 2.5)."""

    def __init__(self, code: bytes, registers: Registers, read: Read, stack: list[int]) -> None:
        self.code = Cursor(code)
        self.registers = registers
        self.read = read
        self.stack = stack

    def run(self) -> int:
        for _ in range(STEPS_MAX):
            if self.code.at >= self.code.end:
                return self.pop()
            if len(self.stack) > DEPTH_MAX:
                break
            self._step(self.code.u8())
        raise DamageError("an expression without end")

    def _step(self, operation: int) -> None:
        if 0x30 <= operation <= 0x4F:  # lit0..31
            self.push(operation - 0x30)
        elif 0x70 <= operation <= 0x8F:  # breg0..31
            self.push(self.register(operation - 0x70) + self.code.sleb())
        elif operation in _CONSTANTS:
            self.push(_CONSTANTS[operation](self.code))
        elif operation in _BINARY:
            above = self.pop()
            self.push(_BINARY[operation](self.pop(), above))
        elif operation in _OTHERS:
            _OTHERS[operation](self)
        else:
            raise DamageError(f"unknown operation {operation:#x} in an expression")

    def push(self, value: int) -> None:
        self.stack.append(value & U64_MASK)

    def pop(self) -> int:
        if not self.stack:
            raise DamageError("an expression takes more than it has")
        return self.stack.pop()

    def register(self, number: int) -> int:
        value = self.registers[number] if number < len(self.registers) else None
        if value is None:
            raise DamageError(f"register {number} is not known")
        return value

    def dereference(self) -> None:
        self.push(self.read(self.pop()))

    def duplicate(self) -> None:
        self.stack.append(self.peek(0))

    def drop(self) -> None:
        self.pop()

    def over(self) -> None:
        self.stack.append(self.peek(1))

    def pick(self) -> None:
        self.stack.append(self.peek(self.code.u8()))

    def swap(self) -> None:
        above, below = self.pop(), self.pop()
        self.stack += [above, below]

    def peek(self, depth: int) -> int:
        if depth >= len(self.stack):
            raise DamageError("an expression takes more than it has")
        return self.stack[-1 - depth]

    def branch(self) -> None:
        if self.pop():
            self.skip()
        else:
            self.code.i16()

    def skip(self) -> None:
        target = self.code.i16() + self.code.at
        if not 0 <= target <= self.code.end:
            raise DamageError("an expression jumps out of itself")
        self.code.at = target

    def based(self) -> None:
        number = self.code.uleb()
        self.push(self.register(number) + self.code.sleb())


def _signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value


def _shifted(value: int, count: int) -> int:
    return value << count if count < 64 else 0


_CONSTANTS: Final[Mapping[int, Callable[[Cursor], int]]] = {
    0x03: Cursor.u64,  # addr
    0x08: Cursor.u8,
    0x09: Cursor.i8,
    0x0A: Cursor.u16,
    0x0B: Cursor.i16,
    0x0C: Cursor.u32,
    0x0D: Cursor.i32,
    0x0E: Cursor.u64,
    0x0F: Cursor.i64,
    0x10: Cursor.uleb,
    0x11: Cursor.sleb,
}
_BINARY: Final[Mapping[int, Callable[[int, int], int]]] = {
    0x1A: operator.and_,
    0x1C: operator.sub,
    0x1E: operator.mul,
    0x21: operator.or_,
    0x22: operator.add,
    0x24: _shifted,
    0x25: lambda value, count: value >> min(count, 64),
    0x26: lambda value, count: _signed(value) >> min(count, 64),
    0x27: operator.xor,
    0x29: operator.eq,
    0x2A: lambda left, right: _signed(left) >= _signed(right),
    0x2B: lambda left, right: _signed(left) > _signed(right),
    0x2C: lambda left, right: _signed(left) <= _signed(right),
    0x2D: lambda left, right: _signed(left) < _signed(right),
    0x2E: operator.ne,
}
_OTHERS: Final[Mapping[int, Callable[[_Machine], None]]] = {
    0x06: _Machine.dereference,
    0x12: _Machine.duplicate,
    0x13: _Machine.drop,
    0x14: _Machine.over,
    0x15: _Machine.pick,
    0x16: _Machine.swap,
    0x1F: lambda machine: machine.push(-machine.pop()),
    0x20: lambda machine: machine.push(~machine.pop()),
    0x23: lambda machine: machine.push(machine.pop() + machine.code.uleb()),
    0x28: _Machine.branch,
    0x2F: _Machine.skip,
    0x92: _Machine.based,
    0x96: lambda _: None,
}
