"""perf's records with registers and stack: as the kernel lays them out, and any bytes end."""

import struct

from hypothesis import given
from hypothesis import strategies as st

from heaptop.parse.perf_stack import StackSample, parse


def record(raw: bytes, registers: tuple[int, ...], stack: bytes, used: int, *, abi: int = 2) -> bytes:
    body = struct.pack("<IIQI", 812, 815, 99, len(raw)) + raw
    body += struct.pack(f"<Q{len(registers)}Q", abi, *registers)
    body += struct.pack("<Q", len(stack)) + stack + (struct.pack("<Q", used) if stack else b"")
    return struct.pack("<IHH", 9, 2, 8 + len(body)) + body


def test_a_sample() -> None:
    data = record(b"\x07\0rawbytes", (1, 2, 3), b"stackstack..", 10)
    assert parse(data, 3) == ([StackSample(812, 815, 99, b"\x07\0rawbytes", 2, (1, 2, 3), b"stackstack")], 0)


def test_a_kernel_thread_has_neither_registers_nor_stack() -> None:
    data = record(b"\x07\0", (), b"", 0, abi=0)
    assert parse(data, 3) == ([StackSample(812, 815, 99, b"\x07\0", 0, (), b"")], 0)


def test_lost_ones_are_counted() -> None:
    lost = struct.pack("<IHHQQ", 2, 0, 24, 5, 7)
    samples, count = parse(lost + record(b"\x07\0", (1,), b"", 0) + lost, 1)
    assert (len(samples), count) == (1, 14)


@given(st.binary(max_size=300), st.integers(0, 40))
def test_any_bytes_end(data: bytes, registers: int) -> None:
    parse(data, registers)


@given(st.integers(0, 200))
def test_a_cut_record_is_lost(end: int) -> None:
    data = record(b"\x07\0rawbytes", (1, 2, 3), b"stackstack..", 10)
    samples, lost = parse(data[:end], 3)
    assert len(samples) + lost == (1 if end >= 8 else 0)
