import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from heaptop.capture import FdLink, FdStat, FdTable, ProcessCapture, TaskCapture
from heaptop.compiled import compiled
from heaptop.scan.refs import Ref, plain_refs, refs_of

LINE = b"7f0a1c000000-7f0a1c400000 rw-s 00000000 00:0c 18                         /dmabuf:preview\n"
WORDS = st.sampled_from((b"a", b"18", b"", b"dmabuf", b"/dmabuf:x", b"\r", b"-1", b"007", b"1x"))
LINES = st.lists(WORDS, max_size=8).map(b" ".join) | st.just(LINE) | st.binary(max_size=9)
TEXTS = st.lists(LINES, max_size=4).map(b"\n".join)
LINKS = st.lists(st.none() | st.integers(1, 4), max_size=5)


def table(inodes: list[int | None]) -> FdTable:
    stats = (None if inode is None else FdStat((0, 12), inode, 4096, 0o600, 1, 8) for inode in inodes)
    return FdTable(tuple(FdLink(fd, b"/dmabuf:", stat) for fd, stat in enumerate(stats)))


@pytest.mark.skipif(compiled("heaptop.scan._refs") is None, reason="the compiled part was not built")
@given(LINKS, TEXTS, TEXTS)
@example([], LINE, LINE[:-1])
@example([], b"dmabuf b c d 5", b"a b c d 6 dmabuf")
def test_the_compiled_part_finds_what_its_twin_finds(inodes: list[int | None], buffers: bytes, maps: bytes) -> None:
    told = ProcessCapture(7, {"maps.buffers": buffers, "maps": maps}, table(inodes))
    assert refs_of(told) == plain_refs(7, [(0, told.table)], [buffers, maps])


def test_the_processes_own_table_goes_before_a_threads() -> None:
    tasks = (TaskCapture(8, {}, table([1, 2])), TaskCapture(9, {}, table([2, 3])))
    told = ProcessCapture(7, {"maps.buffers": LINE}, table([None, 1]), tasks)
    assert refs_of(told) == {18: None, 1: Ref(7, 0, 1), 2: Ref(7, 8, 1), 3: Ref(7, 9, 1)}
