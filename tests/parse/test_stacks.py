"""The text of call stacks: what is written is read, as it grows, and nothing else is taken."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heaptop.call_stack import CallStack, CodeFrame, Frame, NamedFrame, Origin
from heaptop.errors import ParseError
from heaptop.parse import stacks
from heaptop.parse.stacks import Reader, parse
from heaptop.stacks import log
from heaptop.stacks.log import StackLog

TEXT = b"""heaptop-stacks/1
module\t0\t93ac61\t/usr/lib/libc.so.6
function\t0\talloc\\011frame\t/srv/a.py\t41
stack\t0\t\t0+f82ec -+7f00dead0000 f0
buffer\t62\t0\t812\t815\t1732500000.25\tcamera
"""
STACK = CallStack(
    (
        CodeFrame("93ac61", "/usr/lib/libc.so.6", 0xF82EC),
        CodeFrame("", "", 0x7F00DEAD0000),
        NamedFrame("alloc\tframe", "/srv/a.py", 41),
    )
)


def test_the_example() -> None:
    assert parse(TEXT) == {62: Origin(STACK, 812, 815, "camera", 1732500000.25)}
    assert stacks.HEADING == log.HEADING


@pytest.mark.parametrize(
    "line",
    [
        b"module\t1",
        b"module\t2\t\t/x",
        b"module\t1\t9\t/x",
        b"stack\t1\t\t5+1",
        b"stack\t1\t\tf9",
        b"stack\t1\t\t0+",
        b"buffer\t1\t9\t1\t1\t1.0\tx",
        b"buffer\t-1\t0\t1\t1\t1.0\tx",
        b"buffer\t1\t0\t1\t1\tnan\tx",
        b"surprise\t1",
        b"",
        b"stack\t1\t\t" + b"0+1 " * 1001,
    ],
)
def test_other_lines_are_refused(line: bytes) -> None:
    with pytest.raises(ParseError) as raised:
        parse(TEXT + line + b"\n")
    assert raised.value.line == 6


def test_a_line_in_the_making_is_left_for_later() -> None:
    reader = Reader()
    for end in range(len(stacks.HEADING), len(TEXT)):
        assert reader.read(TEXT[:end]) == {}
    told = reader.read(TEXT)
    assert list(told) == [62]
    assert reader.read(TEXT) is told
    more = reader.read(TEXT + b"buffer\t63\t0\t812\t815\t1.0\tcamera\n")
    assert list(more) == [62, 63]
    assert list(reader.read(TEXT)) == [62]  # it began anew


ANY_TEXT = (
    st.binary(max_size=12).filter(lambda raw: b"\0" not in raw).map(lambda raw: raw.decode("utf-8", "surrogateescape"))
)
FRAMES = st.one_of(
    st.builds(
        CodeFrame,
        st.binary(max_size=20).map(bytes.hex),
        ANY_TEXT.filter(bool),
        st.integers(0, 2**64 - 1),
    ),
    st.builds(CodeFrame, st.just(""), st.just(""), st.integers(0, 2**64 - 1)),
    st.builds(NamedFrame, ANY_TEXT, st.none() | ANY_TEXT.filter(bool), st.none() | st.integers(0, 10**9 - 1)),
)


@given(
    st.lists(st.tuples(st.integers(0, 20), st.lists(FRAMES, max_size=5), ANY_TEXT, ANY_TEXT), max_size=30), st.data()
)
def test_what_is_written_is_read(rows: list[tuple[int, list[Frame], str, str]], data: st.DataObject) -> None:
    text = b""

    def rewrite(given: bytes) -> None:
        nonlocal text
        text = given

    def write(given: bytes) -> None:
        nonlocal text
        text += given

    written = StackLog(write, rewrite)
    wanted: dict[int, Origin] = {}
    reader = Reader()
    for inode, frames, cut, comm in rows:
        stack = CallStack(tuple(frames), cut)
        written.add(inode, stack, pid=7, tid=8, comm=comm.encode("utf-8", "surrogateescape"), time=1.5)
        wanted[inode] = Origin(stack, 7, 8, comm, 1.5)
        if data.draw(st.booleans()):
            assert reader.read(text) == wanted
    assert parse(text) == wanted


def test_what_was_freed_is_forgotten() -> None:
    texts: list[bytes] = []
    written = StackLog(lambda text: texts.append(texts.pop() + text), texts.append)
    for inode in range(1, 10_000):
        if written.is_long:
            break
        written.add(inode, STACK, pid=1, tid=1, comm=b"x", time=1.0)
    written.keep(range(inode - 10, inode))
    written.add(inode, STACK, pid=1, tid=1, comm=b"x", time=1.0)
    assert list(parse(texts[-1])) == list(range(inode - 10, inode + 1))
    assert texts[-1].count(b"\nstack") == 1
