"""Packed messages say what those in JSON say, and damaged ones are refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heaptop_emulator import packed
from heaptop_emulator.wire import Message, ProtocolError

U32, U64 = st.integers(0, (1 << 32) - 1), st.integers(0, (1 << 64) - 1)


@given(st.binary(max_size=64), U64, U32, U64, U32)
def test_a_request(name: bytes, length: int, fd_flags: int, heap_flags: int, pid: int) -> None:
    heap = name.decode("utf-8", "surrogateescape")
    message = Message(packed.request(heap, length, fd_flags, heap_flags, pid))
    assert (message.text("op"), message.text("heap"), message.name()) == ("alloc", heap, None)
    assert [message.number(key) for key in ("len", "fd_flags", "heap_flags")] == [length, fd_flags, heap_flags]
    assert message.optional_number("pid") == (pid or None)


@given(U32, U64, U64)
def test_an_answer(number: int, inode: int, size_bytes: int) -> None:
    message = Message(packed.answer({"errno": number, "inode": inode, "size_bytes": size_bytes}))
    assert [message.number(key) for key in ("errno", "inode", "size_bytes")] == [number, inode, size_bytes]


def test_a_refusal_needs_no_more() -> None:
    assert Message(packed.answer({"errno": 12})).number("errno") == 12


@given(st.sampled_from((packed.REQUEST, packed.ANSWER)), st.binary(max_size=40))
def test_noise(kind: bytes, rest: bytes) -> None:
    try:
        message = Message(kind + rest)
    except ProtocolError:
        return
    assert (
        len(rest) == 20
        if kind == packed.ANSWER
        else message.text("heap").encode("utf-8", "surrogateescape") == rest[24:]
    )


@pytest.mark.parametrize("raw", [b"\x01", b"\x02", b"\x03"])
def test_damage(raw: bytes) -> None:
    with pytest.raises(ProtocolError):
        Message(raw)
