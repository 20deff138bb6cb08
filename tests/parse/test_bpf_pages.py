import pytest
from hypothesis import given
from hypothesis import strategies as st

from heaptop.errors import ParseError
from heaptop.parse import bpf_pages


def test_runs_keep_their_order() -> None:
    (line,) = bpf_pages.lines(b"40\t9728+256 1024+1\n")
    assert bpf_pages.place(line) == (40, ((9728, 256), (1024, 1)))


def test_no_buffers() -> None:
    assert bpf_pages.lines(b"") == []


@pytest.mark.parametrize(
    "line", [b"", b"40", b"40\t", b"40\t1", b"40\t1+0", b"40\t1+2 ", b"40 1+2", b"x\t1+2", b"1\t-1+2"]
)
def test_broken(line: bytes) -> None:
    with pytest.raises(ParseError):
        bpf_pages.place(line)


def test_cut() -> None:
    with pytest.raises(ParseError):
        bpf_pages.lines(b"40\t1+2\n41\t3")


@given(st.binary())
def test_any_text_is_read_or_refused(data: bytes) -> None:
    try:
        places = [bpf_pages.place(line) for line in bpf_pages.lines(data)]
    except ParseError:
        return
    assert all(count > 0 for _, runs in places for _, count in runs)
