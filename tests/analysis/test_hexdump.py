from hypothesis import given
from hypothesis import strategies as st

from heaptop.analysis.hexdump import dump, offset_digits


def test_as_hexdump_prints_it() -> None:
    text = dump(0x10, b"heap\x1b[31m\xff\0 |\\\n\r~" + b"ab")
    assert text == (
        "00000010  68 65 61 70 1b 5b 33 31  6d ff 00 20 7c 5c 0a 0d  |heap.[31m.. |\\..|\n"
        "00000020  7e 61 62                                          |~ab|\n"
    )


def test_large_buffers_have_wider_offsets() -> None:
    assert [offset_digits(size) for size in (0, 1, 1 << 32, (1 << 32) + 1)] == [8, 8, 8, 9]
    assert dump(1 << 32, b"\0", 9).startswith("100000000  00")


@given(st.binary(max_size=100), st.integers(0, 1 << 40))
def test_nothing_in_it_steers_a_terminal_and_nothing_is_lost(data: bytes, offset: int) -> None:
    lines = dump(offset, data).splitlines()
    assert all(line.isascii() and line.isprintable() for line in lines)
    assert b"".join(bytes.fromhex(line.split("  ", 1)[1][:49]) for line in lines) == data
    assert [int(line.split()[0], 16) for line in lines] == list(range(offset, offset + len(data), 16))
