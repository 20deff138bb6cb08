import pytest
from hypothesis import given
from hypothesis import strategies as st

from heaptop.errors import ParseError
from heaptop.parse.text import check_whole, error_at, integer


@given(st.integers(0, 2**64 - 1))
def test_integer(number: int) -> None:
    assert integer(b"%d\n" % number, "x") == integer(b"%d" % number, "x") == number
    assert integer(b"-%d\n" % number, "x", signed=True) == -number


@pytest.mark.parametrize("data", [b"", b"-1", b"+1", b" 1", b"1\n\n", b"1_0", b"0x1", "\u0661".encode(), b"9" * 21])
def test_not_an_integer(data: bytes) -> None:
    with pytest.raises(ParseError):
        integer(data, "x")


def test_check_whole() -> None:
    check_whole("x", b"a\n")
    for data in (b"", b"a", b"a\nb"):
        with pytest.raises(ParseError):
            check_whole("x", data)


@given(st.binary(), st.integers(0, 50))
def test_error_at_names_the_line_of_the_offset(data: bytes, offset: int) -> None:
    error = error_at("x", "why", data, offset)
    lines = data.split(b"\n")
    assert 1 <= error.line <= len(lines)
    assert error.text == lines[error.line - 1][:80]
