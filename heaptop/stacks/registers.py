"""The registers of a thread, as ptrace(2) and /proc tell them, by their numbers in DWARF."""

import struct
from typing import Final

from heaptop.stacks.machine import ARM64, I386, X86_64, Machine, Registers

_X86_64_ORDER: Final = (10, 12, 11, 5, 13, 14, 4, 19, 9, 8, 7, 6, 3, 2, 1, 0, 16)
"""Where in struct user_regs_struct each register is (arch/x86/include/asm/user_64.h)."""
_I386_ORDER: Final = (6, 1, 2, 0, 15, 5, 3, 4, 12)
_X86_64_WORDS, _I386_WORDS, _ARM64_WORDS = struct.Struct("<27Q"), struct.Struct("<17I"), struct.Struct("<34Q")

PERF_REGISTERS: Final = {
    "x86_64": (*range(9), *range(16, 24)),
    "aarch64": tuple(range(33)),
}
"""The bits of perf's sample_regs_user that are asked for (asm/perf_regs.h): ax bx cx dx si di bp sp ip and r8 to r15;
x0 to x30, sp and pc.
"""
_X86_64_OF_PERF: Final = (0, 3, 2, 1, 4, 5, 6, 7, 9, 10, 11, 12, 13, 14, 15, 16, 8)
"""Where among these each register is."""
_I386_OF_PERF: Final = (0, 2, 3, 1, 7, 6, 4, 5, 8)
_ABI_32: Final = 1


def of_perf(name: str, abi: int, words: tuple[int, ...]) -> tuple[Machine, Registers] | None:
    """The registers that perf sampled on a machine of this name; None where there are none, or of an unknown kind."""
    if len(words) < len(PERF_REGISTERS.get(name, ())) or not words:
        return None
    if name == "aarch64":
        return None if abi == _ABI_32 else (ARM64, list(words))
    if abi == _ABI_32:
        return I386, [words[at] for at in _I386_OF_PERF]
    return X86_64, [words[at] for at in _X86_64_OF_PERF]


def decode(text: bytes) -> tuple[Machine, Registers] | None:
    """NT_PRSTATUS of a 64-bit kernel: its size tells which machine the program is for. None for any other."""
    match len(text):
        case _X86_64_WORDS.size:
            words = _X86_64_WORDS.unpack(text)
            return X86_64, [words[at] for at in _X86_64_ORDER]
        case _I386_WORDS.size:
            words = _I386_WORDS.unpack(text)
            return I386, [words[at] for at in _I386_ORDER]
        case _ARM64_WORDS.size:
            return ARM64, list(_ARM64_WORDS.unpack(text)[: ARM64.register_count])
    return None


def parked(tid: int, machine: Machine) -> Registers | None:
    """The two registers that /proc tells of a thread within a system call; None where it tells nothing.

    They are enough for code that does not keep a frame pointer (Linux 2.6.27 on, CONFIG_HAVE_ARCH_TRACEHOOK).
    """
    try:
        with open(f"/proc/{tid}/syscall", "rb") as file:
            words = file.read(512).split()
        sp, pc = int(words[-2], 16), int(words[-1], 16)
    except (OSError, ValueError, IndexError):
        return None
    registers: Registers = [None] * machine.register_count
    registers[machine.sp], registers[machine.pc] = sp, pc
    return registers
