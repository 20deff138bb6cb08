"""From a thread's registers and a copy of its stack to its frames. Pure: bytes in, addresses out.

Each address has one rule, found once (`Rules`); a frame then costs a few additions. Where code has no rule, the chain
of frame pointers is followed, as long as it leads to code. Nothing here fails: a walk that cannot go on says why.
"""

import struct
from enum import StrEnum
from typing import Final, NamedTuple

from heaptop.stacks.cfi import How, Row
from heaptop.stacks.cursor import DamageError
from heaptop.stacks.expression import evaluate
from heaptop.stacks.machine import Machine, Registers

DEPTH_MAX: Final = 200
RULES_MAX: Final = 1 << 16
"""Addresses of which rules are kept: far more than a program calls through."""

_ARM64_CONTEXT_BYTES: Final = 312
"""From the stack pointer of a signal's trampoline to x0: siginfo, and ucontext up to the registers (struct rt_sigframe
of arch/arm64/kernel/signal.c; x0 to x30, sp and pc follow one another).
"""
_WORD: Final = {8: struct.Struct("<Q").unpack_from, 4: struct.Struct("<I").unpack_from}


class End(StrEnum):
    """Why a walk ended."""

    WHOLE = "the outermost frame"
    DEEP = "too many frames"
    SHORT = "the copy of the stack ends"
    NO_RULE = "code without unwind rules"
    DAMAGED = "damaged unwind rules or stack"
    NOT_KNOWN = "a register that is not known"


class Rule(NamedTuple):
    """A row as it is used most: the CFA is a register and an offset, and all that the caller wants is saved.

    `row` is there, and all else is meaningless, where it is not as simple.
    """

    cfa_register: int
    cfa_offset: int
    return_offset: int
    saved: tuple[tuple[int, int], ...]
    row: Row | None = None


class Rules(dict[int, Rule | None]):
    """Rules by address in memory; None where there is none. Those not yet known are looked for once."""

    def __missing__(self, pc: int) -> Rule | None:
        if len(self) >= RULES_MAX:
            self.clear()
        rule = self[pc] = self.find(pc)
        return rule

    def find(self, pc: int) -> Rule | None:
        """The rule for an address that was not asked for before."""
        raise NotImplementedError

    def is_code(self, pc: int) -> bool:
        """Whether this can be a return address."""
        raise NotImplementedError


class Walk(NamedTuple):
    """Addresses of the frames, innermost first: where the thread is, and then where each caller's call ends, less one:
    a call may be the last instruction of a function, and its line is not that of the next.
    """

    addresses: tuple[int, ...]
    end: End


def rule_of(row: Row, machine: Machine) -> Rule:
    """A row in the form that is quick to use."""
    registers = {number: how for number, how in row.registers.items() if number < machine.register_count}
    how, offset = registers.pop(row.return_register, (None, 0))
    if row.is_signal or not isinstance(row.cfa, tuple) or how is not How.SAVED or not isinstance(offset, int):
        return Rule(0, 0, 0, (), row)
    saved = []
    for number, (way, value) in registers.items():
        if way is not How.SAVED or not isinstance(value, int):
            return Rule(0, 0, 0, (), row)
        saved.append((number, value))
    if row.return_register == machine.link:
        saved.append((machine.link, offset))
    if row.cfa[0] >= machine.register_count:
        raise DamageError(f"a frame address of register {row.cfa[0]}")
    return Rule(*row.cfa, offset, tuple(saved))


def unwind(machine: Machine, registers: Registers, stack: bytes, rules: Rules) -> Walk:
    """Walk from the innermost frame outwards. `registers` are those of the thread, `stack` the memory from its stack
    pointer on.
    """
    walker = _Walker(machine, registers, stack, rules)
    try:
        end = walker.run()
    except (DamageError, struct.error, OverflowError):
        end = End.DAMAGED
    return Walk(tuple(walker.addresses), end)


class _Stop(Exception):  # noqa: N818  (no error: how a walk ends)
    def __init__(self, end: End) -> None:
        self.end = end


class _Walker:
    def __init__(self, machine: Machine, registers: Registers, stack: bytes, rules: Rules) -> None:
        self._machine = machine
        self._registers = (list(registers) + [None] * machine.register_count)[: machine.register_count]
        self._stack = stack
        self._base = self._registers[machine.sp] or 0
        self._top = self._base + len(stack) - machine.word_bytes
        self._rules = rules
        self._word = _WORD[machine.word_bytes]
        self.addresses: list[int] = []

    def run(self) -> End:
        machine, rules, addresses = self._machine, self._rules, self.addresses
        pc = self._registers[machine.pc]
        if not pc:
            return End.NOT_KNOWN
        try:
            while len(addresses) < DEPTH_MAX:
                addresses.append(pc)
                rule = rules[pc]
                if rule is None:
                    pc = self._by_frame_pointer() - 1
                elif rule.row is None:
                    pc = self._by_rule(rule) - 1
                else:
                    back = self._by_row(rule.row)
                    pc = back if rule.row.is_signal else back - 1
                if pc <= 0:
                    return End.WHOLE
        except _Stop as stop:
            return stop.end
        return End.DEEP

    def _by_rule(self, rule: Rule) -> int:
        """The return address; registers become the caller's."""
        registers, base, top = self._registers, self._base, self._top
        register, offset, return_offset, saved, _ = rule
        value = registers[register]
        if value is None:
            raise _Stop(End.NOT_KNOWN)
        cfa = value + offset
        at = cfa + return_offset
        if not base <= at <= top:
            raise _Stop(End.SHORT if at > top else End.DAMAGED)
        stack, word = self._stack, self._word
        (back,) = word(stack, at - base)
        for number, distance in saved:
            at = cfa + distance
            registers[number] = word(stack, at - base)[0] if base <= at <= top else None
        self._check_rise(cfa)
        registers[self._machine.sp] = cfa
        return int(back) & self._machine.address_mask

    def _by_row(self, row: Row) -> int:
        """As `_by_rule`, for whatever a row can say."""
        machine, before = self._machine, self._registers
        if row.is_signal and machine.link is not None:
            return self._interrupted()
        cfa = self._cfa(row)
        how, _ = row.registers.get(row.return_register, (None, 0))
        if how is How.UNDEFINED:
            raise _Stop(End.WHOLE)
        if row.return_register >= machine.register_count or (how is None and row.return_register != machine.link):
            raise _Stop(End.DAMAGED)
        after = list(before)
        after[machine.sp] = cfa
        if machine.link is not None:
            after[machine.link] = None  # only the innermost function can still have it there
        for number, (way, value) in row.registers.items():
            if number < machine.register_count:
                after[number] = self._value(way, value, cfa)
        back = before[row.return_register] if how is None else after[row.return_register]
        if back is None:
            raise _Stop(End.NOT_KNOWN if how is None else End.SHORT)
        if not row.is_signal:
            self._check_rise(cfa)
        self._registers = after
        return back & machine.address_mask

    def _interrupted(self) -> int:
        """Where a signal interrupted an arm64 thread. Its frame record, which unwind rules lead to, has no program
        counter (arch/arm64/kernel/signal.c): the context that the kernel saved has all.
        """
        machine = self._machine
        begin = (self._registers[machine.sp] or 0) + _ARM64_CONTEXT_BYTES
        values = [self._read(begin + index * machine.word_bytes) for index in range(machine.register_count)]
        self._registers = list(values)
        return values[machine.pc] & machine.address_mask

    def _cfa(self, row: Row) -> int:
        if isinstance(row.cfa, bytes):
            return evaluate(row.cfa, self._registers, self._read)
        register, offset = row.cfa
        value = self._registers[register] if register < self._machine.register_count else None
        if value is None:
            raise _Stop(End.NOT_KNOWN)
        return value + offset

    def _value(self, how: How, value: int | bytes, cfa: int) -> int | None:
        if isinstance(value, bytes):
            found = evaluate(value, self._registers, self._read, cfa)
            return self._peek(found) if how is How.SAVED_BY_EXPRESSION else found
        match how:
            case How.SAVED:
                return self._peek(cfa + value)
            case How.IS_OFFSET:
                return cfa + value
            case How.REGISTER if value < self._machine.register_count:
                return self._registers[value]
            case _:
                return None

    def _peek(self, address: int) -> int | None:
        if not self._base <= address <= self._top:
            return None
        (value,) = self._word(self._stack, address - self._base)
        return int(value)

    def _read(self, address: int) -> int:
        value = self._peek(address)
        if value is None:
            raise _Stop(End.SHORT if address > self._top else End.DAMAGED)
        return value

    def _check_rise(self, sp: int) -> None:
        """Callers lie above: anything else is damage, and could go on for ever."""
        before = self._registers[self._machine.sp]
        if before is not None and (sp < before or (sp == before and self._machine.link is None)):
            raise _Stop(End.DAMAGED)

    def _by_frame_pointer(self) -> int:
        """The return address by the frame pointer: x86 and arm64 keep the caller's and the return address side by side.

        A function may not have set it up yet, and code may use the register for something else: so the chain must lead
        upwards, and to code.
        """
        machine, registers = self._machine, self._registers
        link = None
        if machine.link is not None:
            link, registers[machine.link] = registers[machine.link], None
        fp = registers[machine.fp]
        back = None
        if fp is not None and fp % machine.word_bytes == 0 and fp >= (registers[machine.sp] or 0):
            back = self._peek(fp + machine.word_bytes)
        if link is not None and (link := link & machine.address_mask) != back and self._rules.is_code(link):
            return link  # a function that has not saved it
        if back is None or not self._rules.is_code(back := back & machine.address_mask):
            raise _Stop(End.NO_RULE)
        registers[machine.fp] = self._peek(fp or 0)
        registers[machine.sp] = (fp or 0) + 2 * machine.word_bytes
        return back
