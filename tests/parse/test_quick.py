"""The compiled part of the parsers finds what their patterns find, or leaves the text to them."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from heaptop.compiled import compiled
from heaptop.errors import ParseError
from heaptop.parse import bufinfo, fdinfo, maps, stat

quick = compiled("heaptop.parse._quick")
pytestmark = pytest.mark.skipif(quick is None, reason="the compiled part was not built")

NUMBERS = st.integers(-(10**21), 10**21).map(lambda number: b"%d" % number) | st.sampled_from(
    (b"0", b"00", b"-0", b"-")
)
NAMES = st.binary(max_size=12) | st.sampled_from((b"", b"a\nname:\tb\n", b")", b"x) R 1", b"/dmabuf:\\012"))
BREAKS = st.sampled_from((b"\n",) * 12 + (b"", b"\n\n", b" \n"))
HEX = st.integers(0, 1 << 68).map(lambda number: b"%08x" % number) | st.sampled_from((b"", b"0", b"7F"))


@st.composite
def infos(draw: st.DrawFn) -> bytes:
    """Nearly always in order."""
    keys = [(b"pos", NUMBERS), (b"flags", st.sampled_from((b"02000002", b"0", b"8", b"0777777777777777777777")))]
    keys += [(b"mnt_id", NUMBERS), (b"ino", NUMBERS), (b"lock", NAMES), (b"size", NUMBERS), (b"count", NUMBERS)]
    keys += [(b"exp_name", NAMES), (b"name", NAMES)]
    left_out = draw(st.sets(st.sampled_from((b"ino", b"lock", b"name", b"count")), max_size=3))
    lines = (key + b":\t" + draw(values) + draw(BREAKS) for key, values in keys if key not in left_out)
    return b"".join(lines)


@st.composite
def lines_of_maps(draw: st.DrawFn) -> bytes:
    perms = draw(st.sampled_from((b"rw-s", b"---p", b"r-xp", b"rwx", b"rrrr")))
    device = draw(st.sampled_from((b"00:0c", b"fe:01", b"0:123456789", b"0c")))
    path = draw(st.sampled_from((b"", b" ", b"      /dmabuf:", b" anon_inode:dmabuf", b" /x/dmabuf")))
    words = (draw(HEX) + b"-" + draw(HEX), perms, draw(HEX), device, draw(NUMBERS))
    line: bytes = b" ".join(words) + path + draw(NAMES) + draw(BREAKS)
    return line


@st.composite
def lines_of_stat(draw: st.DrawFn) -> bytes:
    numbers = draw(st.lists(NUMBERS, min_size=19, max_size=30))
    state = draw(st.sampled_from((b"S", b"R", b"", b"7", b"SS")))
    line: bytes = draw(NUMBERS) + b" (" + draw(NAMES) + b") " + b" ".join([state, *numbers]) + draw(BREAKS)
    return line


def outcome(parse: Callable[[], object]) -> object:
    try:
        return parse()
    except ParseError as error:
        return str(error)


def without(module: Any, parse: Callable[[], object]) -> object:
    """What the pattern alone finds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_quick", None)
        return outcome(parse)


@given(infos())
@example(b"pos:\t0\nflags:\t02\nmnt_id:\t9\nino:\t18\nsize:\t4096\ncount:\t3\nexp_name:\tsystem\nname:\tpreview\n")
@example(b"pos:\t0\nflags:\t02\nmnt_id:\t9\nsize:\t4096\ncount:\t-3\nexp_name:\t\nname:\t")
def test_fdinfo(data: bytes) -> None:
    assert outcome(lambda: fdinfo.parse(data)) == without(fdinfo, lambda: fdinfo.parse(data))


@given(lines_of_maps(), st.binary(max_size=3))
@example(b"7f0a1c000000-7f0a1c400000 rw-s 00000000 00:0c 18                         /dmabuf:a\\012b \n", b"")
def test_maps(line: bytes, after: bytes) -> None:
    data = line + after
    assert outcome(lambda: maps.parse(data)) == without(maps, lambda: maps.parse(data))
    twice = data + b"7f0-7f1 rw-s 0 00:0c 18 /dmabuf:a\n" + data
    assert outcome(lambda: maps.dmabufs(twice)) == without(maps, lambda: maps.dmabufs(twice))


@given(lines_of_stat())
@example(b"1 (a) b) S " + b" ".join([b"18446744073709551615"] * 30) + b"\n")
@example(b"1 (x) S " + b" ".join([b"7"] * 21))
def test_stat(data: bytes) -> None:
    assert outcome(lambda: stat.parse(data)) == without(stat, lambda: stat.parse(data))


def test_what_a_kernel_prints_needs_no_pattern() -> None:
    assert quick is not None
    head = b"pos:\t0\nflags:\t02000002\nmnt_id:\t9\nino:\t18\n"
    assert quick.fdinfo(head + b"size:\t4096\ncount:\t3\nexp_name:\tsystem\n") is not None
    assert quick.mapping(b"7f0a1c000000-7f0a1c400000 rw-s 00000000 00:0c 18       /dmabuf:\n", 0) is not None
    with open("/proc/self/stat", "rb") as file:
        assert quick.stat(file.read()) is not None


CELLS = st.integers(-(10**9), 10**21).map(lambda number: b"%08d" % number) | st.sampled_from(
    (b"1234567", b"0" * 21, b"")
)
LINES = st.tuples(
    st.sampled_from((b"", b"\t", b"\t\t", b"\t\tsystem\t", b"\t\t\t", b" ")),
    st.lists(CELLS | HEX, min_size=3, max_size=5).map(b"\t".join),
    st.sampled_from((b"\n", b"\tsystem\n", b"\tsystem\t00000018\tx\n", b"", b"x\n")),
).map(b"".join)


@example([b"\t\tsystem\t00004096\t00000002\t00080007\t-0000001\n", b"00004096\t00000002\t00080007\t00000001\t"])
@given(st.lists(LINES | st.binary(max_size=30)))
def test_rows_begin_where_the_pattern_finds_them(lines: list[bytes]) -> None:
    data = b"heading\n" + b"".join(lines)
    assert quick is not None
    assert quick.bufinfo_rows(data, 8) == [match.start() for match in bufinfo._ROW.finditer(data, 8)]
