"""DWARF expressions: what they mean, and that any bytes end."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heaptop.stacks.cursor import DamageError
from heaptop.stacks.expression import evaluate

REGISTERS: list[int | None] = [100 + number for number in range(16)] + [None]


def run(code: str, *start: int) -> int:
    return evaluate(bytes.fromhex(code), REGISTERS, lambda address: address * 2, *start)


@pytest.mark.parametrize(
    ("code", "value"),
    [
        ("35", 5),  # lit5
        ("77 08", 115),  # breg7 8
        ("77 78", 99),  # breg7 -8
        ("92 07 08", 115),  # bregx 7 8
        ("0a 34 12", 0x1234),  # const2u
        ("09 ff", 2**64 - 1),  # const1s -1
        ("0e 01 00 00 00 00 00 00 00", 1),  # const8u
        ("10 80 02", 256),  # constu
        ("38 06", 16),  # lit8 deref
        ("33 32 1c", 1),  # minus
        ("33 32 22", 5),  # plus
        ("33 23 04", 7),  # plus_uconst 4
        ("33 32 24", 12),  # shl
        ("33 12 22", 6),  # dup plus
        ("33 32 16 1c", 2**64 - 1),  # swap minus
        ("33 32 2a", 1),  # ge
        ("31 28 01 00 39 35", 5),  # bra over lit9
        ("2f 01 00 39 36", 6),  # skip over lit9
        # The PLT of x86-64: breg7(rsp)+8, breg16(rip)&15 >= 11, << 3, plus. rip is not known here, so 3 stands for it.
        ("77 08 3d 3f 1a 3b 2a 33 24 22", 115 + 8),
    ],
)
def test_operations(code: str, value: int) -> None:
    assert run(code) == value


def test_a_start_lies_on_the_stack() -> None:
    assert run("23 08", 1000) == 1008


@pytest.mark.parametrize("code", ["", "22", "16", "80 00", "ff", "08", "2f fc ff", "31 2f fc ff", "2f 10 00"])
def test_what_cannot_be_evaluated(code: str) -> None:
    with pytest.raises(DamageError):
        run(code)


@given(st.binary(max_size=64))
def test_any_bytes_end(code: bytes) -> None:
    with contextlib.suppress(DamageError):
        assert 0 <= evaluate(code, REGISTERS, lambda address: address) < 2**64
