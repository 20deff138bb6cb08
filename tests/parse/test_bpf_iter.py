import pytest
from hypothesis import given
from hypothesis import strategies as st

from heaptop.errors import ParseError
from heaptop.parse.bpf_iter import IterRow, parse, parse_pinned
from heaptop.scan.bpf import text_of_rows
from heaptop.scan.bpf_programs import Row

HEADING = b"ino\tsize\tcount\texp_name\tname\n"
TEXT = st.binary(max_size=31).map(lambda text: text.replace(b"\0", b""))
NUMBER = st.integers(0, (1 << 64) - 1)
ROWS = st.lists(st.builds(Row, NUMBER, NUMBER, st.integers(-2, 1 << 40), TEXT, st.none() | TEXT, NUMBER, st.just("")))


def test_unnamed_and_empty_names_differ() -> None:
    unnamed, empty, named = parse(HEADING + b"1\t4096\t2\tsystem\n2\t4096\t1\tsystem\t\n3\t8192\t1\tcma\ta\\012b\n")
    assert unnamed == IterRow(1, 4096, 2, b"system", None)
    assert empty.name == b""
    assert named == IterRow(3, 8192, 1, b"cma", b"a\nb")


@given(ROWS)
def test_what_is_written_is_read_again(rows: list[Row]) -> None:
    assert parse(text_of_rows(rows)) == tuple(
        IterRow(row.inode, row.size_bytes, row.file_count, row.exporter, row.name) for row in rows
    )


@pytest.mark.parametrize(
    "data",
    [b"", HEADING[:-1], HEADING + b"1\t2\t3\tsystem", HEADING + b"1\t2\n", HEADING + b"\n", HEADING + b"x\t2\t3\ts\n"],
)
def test_broken(data: bytes) -> None:
    with pytest.raises(ParseError):
        parse(data)


@given(st.binary() | st.binary().map(lambda tail: HEADING + tail))
def test_any_text_is_read_or_refused(data: bytes) -> None:
    try:
        rows = parse(data)
    except ParseError:
        return
    assert len(rows) == data.count(b"\n") - 1


def test_pinned() -> None:
    assert parse_pinned(b"") == ()
    assert parse_pinned(b"18\n4194304\ncamera-preview\nsystem\n19\n4096\n\nudmabuf\n") == (
        IterRow(18, 4194304, None, b"system", b"camera-preview", is_pinned=True),
        IterRow(19, 4096, None, b"udmabuf", None, is_pinned=True),
    )


@pytest.mark.parametrize("data", [b"# id name\n", b"18\n4096\nname\n", b"18\n4096\nname\nsystem", b"1\n2\n\n\n"])
def test_another_iterator_is_refused(data: bytes) -> None:
    with pytest.raises(ParseError):
        parse_pinned(data)


@given(st.binary())
def test_any_pinned_text_is_read_or_refused(data: bytes) -> None:
    try:
        rows = parse_pinned(data)
    except ParseError:
        return
    assert len(rows) * 4 == data.count(b"\n")
