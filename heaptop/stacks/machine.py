"""What unwinding has to know of each machine: how registers are numbered in DWARF, and which of them stand for what."""

from typing import Final, NamedTuple

from heaptop.stacks.elf import EM_386, EM_AARCH64, EM_X86_64


class Machine(NamedTuple):
    """Registers are numbered as in DWARF; `pc` is where the program counter is kept beside them.

    `link` is the register that holds the return address at a function's start, None where the stack has it.
    `address_mask` are the bits of a return address that are one: arm64 signs the others (pointer authentication).
    """

    name: str
    word_bytes: int
    register_count: int
    pc: int
    sp: int
    fp: int
    link: int | None
    address_mask: int


X86_64: Final = Machine("x86_64", 8, 17, pc=16, sp=7, fp=6, link=None, address_mask=(1 << 64) - 1)
ARM64: Final = Machine("aarch64", 8, 33, pc=32, sp=31, fp=29, link=30, address_mask=(1 << 48) - 1)
I386: Final = Machine("i386", 4, 9, pc=8, sp=4, fp=5, link=None, address_mask=(1 << 32) - 1)

BY_ELF: Final = {EM_X86_64: X86_64, EM_AARCH64: ARM64, EM_386: I386}

Registers = list[int | None]
"""A value for each number below `Machine.register_count`; None where it is not known."""
