"""Registers by their number in DWARF, from wherever they come."""

import struct

import pytest

from heaptop.stacks.machine import ARM64, I386, X86_64
from heaptop.stacks.registers import PERF_REGISTERS, decode, of_perf, parked

# struct user_regs_struct, by name in its order.
X86_64_NAMES = [
    "r15",
    "r14",
    "r13",
    "r12",
    "bp",
    "bx",
    "r11",
    "r10",
    "r9",
    "r8",
    "ax",
    "cx",
    "dx",
    "si",
    "di",
    "orig",
    "ip",
    "cs",
    "flags",
    "sp",
    "ss",
    "fsb",
    "gsb",
    "ds",
    "es",
    "fs",
    "gs",
]
I386_NAMES = "bx cx dx si di bp ax ds es fs gs orig ip cs flags sp ss".split()  # noqa: SIM905
X86_64_DWARF = [
    "ax",
    "dx",
    "cx",
    "bx",
    "si",
    "di",
    "bp",
    "sp",
    "r8",
    "r9",
    "r10",
    "r11",
    "r12",
    "r13",
    "r14",
    "r15",
    "ip",
]
I386_DWARF = "ax cx dx bx sp bp si di ip".split()  # noqa: SIM905
PERF_NAMES = [
    "ax",
    "bx",
    "cx",
    "dx",
    "si",
    "di",
    "bp",
    "sp",
    "ip",
    "flags",
    "cs",
    "ss",
    "ds",
    "es",
    "fs",
    "gs",
    "r8",
    "r9",
    "r10",
    "r11",
    "r12",
    "r13",
    "r14",
    "r15",
]


def test_ptrace() -> None:
    wide = {name: 1000 + number for number, name in enumerate(X86_64_NAMES)}
    narrow = {name: 100 + number for number, name in enumerate(I386_NAMES)}
    assert decode(struct.pack("<27Q", *wide.values())) == (X86_64, [wide[name] for name in X86_64_DWARF])
    assert decode(struct.pack("<17I", *narrow.values())) == (I386, [narrow[name] for name in I386_DWARF])
    assert decode(struct.pack("<34Q", *range(34))) == (ARM64, list(range(33)))
    assert decode(b"") is None


@pytest.mark.parametrize(("abi", "machine", "order"), [(2, X86_64, X86_64_DWARF), (1, I386, I386_DWARF)])
def test_perf(abi: int, machine: object, order: list[str]) -> None:
    asked = [PERF_NAMES[bit] for bit in PERF_REGISTERS["x86_64"]]
    words = tuple(1000 + number for number in range(len(asked)))
    assert of_perf("x86_64", abi, words) == (machine, [words[asked.index(name)] for name in order])


def test_perf_on_arm64() -> None:
    assert of_perf("aarch64", 2, tuple(range(33))) == (ARM64, list(range(33)))
    assert of_perf("aarch64", 1, tuple(range(33))) is None
    assert of_perf("x86_64", 0, ()) is None
    assert of_perf("x86_64", 2, (1,)) is None


def test_nobody_is_parked_under_an_unused_number() -> None:
    assert parked(0, X86_64) is None
