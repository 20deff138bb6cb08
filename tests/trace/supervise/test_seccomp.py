"""The filter, instruction by instruction, against what it is to stop."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heaptop.trace.supervise.emulate import BUFFER_COMMANDS
from heaptop.trace.supervise.libc import _MACHINES, Machine
from heaptop.trace.supervise.seccomp import Stopped, program

ALLOW, STOP = 0x7FFF0000, 0x7FC00000
EMULATED = Stopped(all_of_a_heap=True, commands=BUFFER_COMMANDS)
OBSERVED = Stopped(all_of_a_heap=False)


def verdict(code: bytes, number: int, arch: int, command: int) -> int:
    """What the filter returns: an interpreter of the five instructions that it is made of."""
    data = struct.pack("<IIQ6Q", number, arch, 0, 3, command, 0, 0, 0, 0)
    instructions = list(struct.iter_unpack("=HBBI", code))
    accumulator = at = 0
    while True:
        operation, yes, no, constant = instructions[at]
        at += 1
        match operation:
            case 0x20:
                (accumulator,) = struct.unpack_from("<I", data, constant)
            case 0x15:
                at += yes if accumulator == constant else no
            case 0x54:
                accumulator &= constant
            case 0x06:
                return int(constant)
            case _:
                raise AssertionError(operation)


MACHINES = st.sampled_from(tuple(_MACHINES.values()))
COMMANDS = st.one_of(
    st.sampled_from((0xC0184800, 0xC0204800, 0x4800, 0x4801, 0x5401, 0x541B, 0x62004800, *BUFFER_COMMANDS)),
    st.integers(0, (1 << 64) - 1),
)


@given(MACHINES, st.booleans(), st.integers(0, 500), COMMANDS)
def test_what_stops(machine: Machine, native: bool, number: int, command: int) -> None:
    arch, ioctl = machine.native if native else machine.compat
    low = command & 0xFFFFFFFF
    is_emulated = low & 0xFF == 0 or low >> 8 & 0xFF == ord("H") or low in BUFFER_COMMANDS
    is_observed = low & 0xFFFF == 0x4800
    for stopped, stops in ((EMULATED, is_emulated), (OBSERVED, is_observed)):
        code = program(machine, stopped)
        assert verdict(code, ioctl, arch, command) == (STOP if stops else ALLOW)
        if number != ioctl:
            assert verdict(code, number, arch, command) == ALLOW
        opens = machine.native_opens if native else machine.compat_opens
        with_opens = program(machine, stopped._replace(opens=True))
        assert verdict(with_opens, ioctl, arch, command) == (STOP if stops else ALLOW)
        if number != ioctl:
            assert verdict(with_opens, number, arch, command) == (STOP if number in opens else ALLOW)


@pytest.mark.parametrize("machine", _MACHINES.values(), ids=_MACHINES)
def test_another_instruction_set(machine: Machine) -> None:
    """Such as x32 programs' numbers, or a call by a gate that this machine does not have."""
    for stopped in (EMULATED, OBSERVED):
        assert verdict(program(machine, stopped), 16, 0x12345678, 0xC0184800) == ALLOW
        assert verdict(program(machine, stopped), 16 | 0x40000000, machine.native[0], 0xC0184800) == ALLOW
