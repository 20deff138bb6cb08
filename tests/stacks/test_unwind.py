"""Walks over stacks that are data: of an arm64 program, made by hand, and damaged in any way."""

import base64
import json
import lzma
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heaptop.stacks.cfi import How, Row, Table
from heaptop.stacks.cursor import DamageError
from heaptop.stacks.elf import Elf
from heaptop.stacks.machine import ARM64, I386, X86_64, Machine, Registers
from heaptop.stacks.unwind import DEPTH_MAX, End, Rule, Rules, rule_of, unwind

ARM = Path(__file__).parent / "arm64"
PROGRAM = (ARM / "deep").read_bytes()
ABOUT = json.loads((ARM / "deep.json").read_text())
REGISTERS: Registers = [int(word, 16) for word in ABOUT["registers"]]
STACK = lzma.decompress(base64.b64decode(ABOUT["stack"]))
CODE = range(0x400000, 0x401000)


class Given(Rules):
    """Rules from a function; code is what `CODE` says."""

    def __init__(self, rule: Callable[[int], Rule | None]) -> None:
        super().__init__()
        self._rule = rule

    def find(self, pc: int) -> Rule | None:
        return self._rule(pc)

    def is_code(self, pc: int) -> bool:
        return pc in CODE


def table_rule(text: bytes = PROGRAM) -> Callable[[int], Rule | None]:
    table = Table(Elf(lambda offset, length: text[offset : offset + length]))

    def rule(pc: int) -> Rule | None:
        try:
            row = table.row(pc)
            return None if row is None else rule_of(row, ARM64)
        except DamageError:
            return None

    return rule


def test_arm64() -> None:
    """A signed return address (pac-ret) among them, alloca, a function without a frame pointer, a large frame."""
    walk = unwind(ARM64, REGISTERS, STACK, Given(table_rule()))
    assert walk.end is End.WHOLE
    assert len(walk.addresses) == len(ABOUT["names"]) == 9
    assert any(struct.unpack_from("<Q", STACK, at)[0] >> 48 for at in range(0, 0x1800, 8))
    assert all(address in CODE for address in walk.addresses)


def test_arm64_by_frame_pointers() -> None:
    """All but the caller of the one function that keeps none."""
    walk = unwind(ARM64, REGISTERS, STACK, Given(lambda _: None))
    whole = unwind(ARM64, REGISTERS, STACK, Given(table_rule()))
    missing = ABOUT["names"].index("signedreturn")
    assert walk.addresses == whole.addresses[:missing] + whole.addresses[missing + 1 :]


def test_arm64_signal_frame() -> None:
    """The interrupted function's own registers come from what the kernel saved (struct rt_sigframe)."""
    context = struct.pack("<33Q", *[word or 0 for word in REGISTERS])
    sp = 0x7000
    stack = bytes(312) + context
    registers: Registers = [None] * ARM64.register_count
    registers[31], registers[32] = sp, 0x500000
    signal = Rule(0, 0, 0, (), Row((29, 0), {29: (How.SAVED, 0), 30: (How.SAVED, 8)}, 30, is_signal=True))
    walk = unwind(ARM64, registers, stack, Given(lambda pc: signal if pc == 0x500000 else None))
    assert walk.addresses[1] == REGISTERS[32]


def frame(fp_at: int, fp: int, back: int) -> bytes:
    return bytes(fp_at) + struct.pack("<QQ", fp, back)


def test_frame_pointers_must_rise_and_lead_to_code() -> None:
    sp = 0x7000
    registers: Registers = [None] * X86_64.register_count
    registers[X86_64.sp], registers[X86_64.pc], registers[X86_64.fp] = sp, 0x400010, sp + 16
    rules = Given(lambda _: None)
    good = frame(16, sp + 48, 0x400100) + frame(16, 0, 0x400200)
    assert unwind(X86_64, registers, good, rules).addresses == (0x400010, 0x4000FF, 0x4001FF)
    for bad in (
        frame(16, sp, 0x400100),  # downwards: the caller's frame is not followed
        frame(16, sp + 48, 0x900000),  # no code
        bytes(16),  # outside of the copy
    ):
        walk = unwind(X86_64, registers, bad, rules)
        assert walk.end is End.NO_RULE
        assert len(walk.addresses) <= 2


def test_a_rule_that_goes_round_ends() -> None:
    registers: Registers = [0x7000] * X86_64.register_count
    registers[X86_64.pc] = 0x400010
    stack = struct.pack("<Q", 0x400011) * 64
    still = Rule(7, 0, 0, ())
    assert unwind(X86_64, registers, stack, Given(lambda _: still)).end is End.DAMAGED
    rising = Rule(7, 8, -8, ())
    assert unwind(X86_64, registers, stack, Given(lambda _: rising)).end is End.SHORT
    walk = unwind(X86_64, registers, stack * 100, Given(lambda _: rising))
    assert (walk.end, len(walk.addresses)) == (End.DEEP, DEPTH_MAX)


def test_no_program_counter() -> None:
    walk = unwind(X86_64, [None] * 17, b"", Given(lambda _: None))
    assert walk == ((), End.NOT_KNOWN)


MACHINES = st.sampled_from((X86_64, ARM64, I386))
ROWS = st.builds(
    Row,
    st.tuples(st.integers(0, 40), st.integers(-100, 400)) | st.binary(max_size=12),
    st.dictionaries(
        st.integers(0, 40),
        st.tuples(st.sampled_from(How), st.integers(-80, 80) | st.binary(max_size=8)).filter(
            lambda rule: (
                isinstance(rule[1], bytes) == (rule[0] in (How.SAVED_BY_EXPRESSION, How.IS_EXPRESSION))
                and (rule[0] is not How.REGISTER or (isinstance(rule[1], int) and rule[1] >= 0))
            )
        ),
        max_size=8,
    ),
    st.integers(0, 40),
    st.booleans(),
)


@given(MACHINES, st.lists(ROWS, min_size=1, max_size=4), st.binary(max_size=400), st.data())
def test_any_rules_and_any_stack_end(machine: Machine, rows: list[Row], stack: bytes, data: st.DataObject) -> None:
    sp = data.draw(st.sampled_from((0x7000, 0, (1 << 64) - 64)))
    numbers = st.none() | st.integers(0, 2**64 - 1) | st.integers(sp, sp + 400)
    registers = data.draw(st.lists(numbers, max_size=40))

    def rule(pc: int) -> Rule | None:
        try:
            return rule_of(rows[pc % len(rows)], machine) if pc % 5 else None
        except DamageError:
            return None

    walk = unwind(machine, registers, stack, Given(rule))
    assert len(walk.addresses) <= DEPTH_MAX


@given(st.integers(0, len(PROGRAM) - 1), st.binary(min_size=1, max_size=8))
def test_a_damaged_program_ends(at: int, noise: bytes) -> None:
    text = PROGRAM[:at] + noise + PROGRAM[at + len(noise) :]
    try:
        rule = table_rule(text)
    except DamageError:
        return
    assert unwind(ARM64, REGISTERS, STACK, Given(rule)).addresses


@pytest.mark.parametrize("size", range(0, 64, 7))
def test_a_cut_stack_says_so(size: int) -> None:
    walk = unwind(ARM64, REGISTERS, STACK[:size], Given(table_rule()))
    assert walk.end is End.SHORT
