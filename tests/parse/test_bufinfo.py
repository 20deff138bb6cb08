from enum import Enum

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from heaptop.errors import ParseError
from heaptop.parse import bufinfo
from heaptop.parse.bufinfo import Fence, Row
from tests.conftest import CaptureDir
from tests.parse import hostile
from tests.support import truth


class Era(Enum):
    """The kernels whose text differs."""

    V3_10 = b"\texp_name\tsize\tflags\tmode\tcount"
    V3_14 = b"size\tflags\tmode\tcount\texp_name"
    V4_12 = b"size    \tflags   \tmode    \tcount   \texp_name"
    V5_3 = b"size    \tflags   \tmode    \tcount   \texp_name\tino     "
    V6_0 = b"size    \tflags   \tmode    \tcount   \texp_name\tino     \tname"
    V7_0 = b"size    \tflags   \tmode    \tcount   \texp_name\tino     \tname "  # told apart only by its fences

    @property
    def has_names(self) -> bool:
        return self in (Era.V5_3, Era.V6_0, Era.V7_0)


ERAS = st.sampled_from(Era)
NAMING_ERAS = st.sampled_from([era for era in Era if era.has_names])


def render(era: Era, rows: list[Row]) -> bytes:
    """As dma_buf_debug_show prints it."""
    total = b"\nTotal %d objects, %d bytes\n" % (len(rows), sum(row.size for row in rows))
    return b"\nDma-buf Objects:\n%s\n" % era.value.rstrip(b" ") + b"".join(render_row(era, row) for row in rows) + total


def render_row(era: Era, row: Row) -> bytes:
    numbers = b"%08d\t%08x\t%08x\t%08d" % (row.size, row.flags, row.mode, row.file_count)
    attachments = row.attachments or ()
    fences = b"".join(render_fence(era, fence) for fence in row.fences or ())
    if era is Era.V3_10:
        devices = b"".join(b"\t\t%s\n" % device for device in attachments)
        end = b"\t\tAttached Devices:\n%s\n\t\tTotal %d devices attached\n" % (devices, len(attachments))
        return b"\t\t%s\t%s\n" % (row.exp_name, numbers) + end
    cells = b"%s\t%s" % (numbers, row.exp_name)
    if era.has_names:
        unnamed = b"" if era is Era.V5_3 else b"<none>"
        cells += b"\t%08d\t%s" % (row.ino or 0, unnamed if row.name is None else row.name)
    devices = b"".join(b"\t%s\n" % device for device in attachments)
    return cells + b"\n%s\tAttached Devices:\n%sTotal %d devices attached\n\n" % (fences, devices, len(attachments))


def render_fence(era: Era, fence: Fence) -> bytes:
    old = era in (Era.V3_14, Era.V4_12, Era.V5_3)
    usage = fence.usage.capitalize() if old else fence.usage
    state = b"signalled" if fence.signalled else b"unsignalled"
    return b"\t%s fence:%s%s %s\n" % (usage.encode(), b" " if old else b"", fence.text, state)


def fences_of(era: Era) -> st.SearchStrategy[Fence]:
    usages, texts = ["kernel", "write", "read"], [b"drm_sched asahi_sched seq 5809165", b"virtio_gpu controlq seq 2"]
    if era is Era.V7_0:
        texts = [b"12:7 asahi_sched drm_sched", b"0:0"]
    elif era in (Era.V4_12, Era.V5_3):
        usages, texts = ["exclusive", "shared"], [b"i915 render", b"msm_drm gpu-ring-0"]
    return st.builds(Fence, st.sampled_from(usages), st.sampled_from(texts), st.booleans())


@st.composite
def rows_of(draw: st.DrawFn, era: Era) -> list[Row]:
    has_fences = era not in (Era.V3_10, Era.V3_14)
    devices = st.sampled_from((b"vgem", b"soc:display-subsystem", b"0000:00:02.0"))
    row = st.builds(
        Row,
        size=st.integers(0, 2**64 - 1),
        flags=st.integers(0, 2**32 - 1),
        mode=st.integers(0, 2**32 - 1),
        file_count=st.integers(0, 2**31),
        exp_name=st.sampled_from((b"system", b"linux,cma", b"system-uncached")),
        ino=st.integers(1, 2**64 - 1) if era.has_names else st.none(),
        name=st.none() | hostile.names() if era.has_names else st.none(),
        attachments=st.lists(devices, max_size=3).map(tuple),
        fences=st.lists(fences_of(era), max_size=2).map(tuple) if has_fences else st.just(()),
        extra=st.just(()),
    )
    return draw(st.lists(row, max_size=4, unique_by=lambda each: (each.ino, each.size)))


def known_names(rows: list[Row]) -> dict[int, bytes]:
    return {row.ino: row.name for row in rows if row.ino is not None and row.name is not None}


@given(ERAS.flatmap(lambda era: st.tuples(st.just(era), rows_of(era))))
def test_with_the_names_known_all_is_exact(printed: tuple[Era, list[Row]]) -> None:
    era, rows = printed
    assume(len({row.ino for row in rows}) == len(rows) or not era.has_names)
    parsed = bufinfo.parse(render(era, rows), known_names(rows))
    wanted = tuple(rows)
    if era is Era.V5_3:  # an unnamed buffer and an empty name are printed alike
        wanted = tuple(row._replace(name=row.name or (b"" if row.name == b"" else None)) for row in rows)
    assert parsed.rows == wanted
    assert parsed.consistent
    assert parsed.has_names == era.has_names


def could_hold_a_fence(name: bytes) -> bool:
    """Whether a line of the name after its first looks like a fence: bufinfo alone cannot tell."""
    return any(line.startswith(b"\t") and b" fence:" in line for line in name.split(b"\n")[1:])


@given(NAMING_ERAS.flatmap(lambda era: st.tuples(st.just(era), rows_of(era))))
def test_no_name_forges_a_row_or_an_attachment(printed: tuple[Era, list[Row]]) -> None:
    era, rows = printed
    parsed = bufinfo.parse(render(era, rows))
    assert parsed.consistent
    assert len(parsed.rows) == len(rows)
    for got, row in zip(parsed.rows, rows, strict=True):
        assert (got.size, got.file_count, got.exp_name, got.ino) == (row.size, row.file_count, row.exp_name, row.ino)
        assert got.attachments == row.attachments
        if not could_hold_a_fence(row.name or b""):
            assert got.name == (None if row.name == (b"" if era is Era.V5_3 else b"<none>") else row.name)
            assert got.fences == row.fences


@given(NAMING_ERAS.flatmap(lambda era: st.tuples(st.just(era), rows_of(era))), st.data())
def test_a_cut_text_gives_the_rows_before_the_cut(printed: tuple[Era, list[Row]], data: st.DataObject) -> None:
    era, rows = printed
    text = render(era, rows)
    whole = bufinfo.parse(text)
    cut = text[: data.draw(st.integers(0, len(text) - 1))]
    try:
        parsed = bufinfo.parse(cut)
    except ParseError:
        assert cut.count(b"\n") < 3, "only within the heading"
        return
    assert parsed.rows == whole.rows[: len(parsed.rows)]
    assert not parsed.complete
    assert "missing" in parsed.trouble()


@example(b"evil\nsize:\t999")
@example(b"x\n\tAttached Devices:")
@example(b"\nTotal 0 devices attached")
@example(b"a\n\tread fence:0:0   signalled")
@example(b"\tread fence:0:0   signalled")
@example(b"\n4096\t2\t80007\t1\tsystem\t9\tx")
@given(hostile.names())
def test_a_name_known_to_be_so_forges_nothing(name: bytes) -> None:
    row = Row(4096, 2, 0x80007, 1, b"system", 3, name, (b"vgem",), (), ())
    text = render(Era.V7_0, [row])
    assert bufinfo.parse(text, {3: name}).rows == (row,)
    if name != b"<none>" and not could_hold_a_fence(name):
        assert bufinfo.parse(text).rows == (row,)


def test_a_stale_name_is_not_used() -> None:
    row = Row(4096, 2, 0x80007, 1, b"system", 3, b"renamed", (), (), ())
    assert bufinfo.parse(render(Era.V6_0, [row]), {3: b"before"}).rows == (row,)


def test_none_is_a_legal_name() -> None:
    text = render(Era.V6_0, [Row(4096, 2, 0x80007, 1, b"system", 3, b"<none>", (), (), ())])
    assert bufinfo.parse(text).rows[0].name is None
    assert bufinfo.parse(text, {3: b"<none>"}).rows[0].name == b"<none>"


REFERENCE = b"""
Dma-buf Objects:
size    	flags   	mode    	count   	exp_name	ino     	name
04194304	00000002	02080007	00000002	system	00000018	camera-preview
	write fence:drm_sched asahi_sched seq 5809165 signalled
	Attached Devices:
	soc:display-subsystem
Total 1 devices attached


Total 1 objects, 4194304 bytes
"""


def test_the_current_text() -> None:
    parsed = bufinfo.parse(REFERENCE)
    fence = Fence("write", b"drm_sched asahi_sched seq 5809165", signalled=True)
    attachments = (b"soc:display-subsystem",)
    row = Row(4194304, 2, 0x2080007, 2, b"system", 18, b"camera-preview", attachments, (fence,), ())
    assert parsed.rows == (row,)
    assert parsed.consistent


def test_totals_that_disagree_are_told_with_both_numbers() -> None:
    parsed = bufinfo.parse(REFERENCE.replace(b"Total 1 objects", b"Total 2 objects"))
    assert parsed.complete
    assert not parsed.consistent
    assert "1 buffers" in parsed.trouble()
    assert "2 objects" in parsed.trouble()


def test_buffers_that_were_busy() -> None:
    busy = b"\tERROR locking buffer object: skipping\n"
    row = Row(4096, 2, 5, 1, b"ion", None, None, (), (), ())
    heading, rest = render(Era.V4_12, [row]).split(b"exp_name\n")
    parsed = bufinfo.parse(heading + b"exp_name\n" + busy + rest.replace(b"\n\nTotal", b"\n" + busy + b"\nTotal"))
    assert (parsed.rows, parsed.skipped) == ((row,), 2)
    assert parsed.consistent


def test_what_a_vendor_adds_is_kept_apart() -> None:
    text = REFERENCE.replace(b"\tname\n", b"\tname\ttime\n").replace(b"preview\n", b"preview\t00:17\n")
    text = text.replace(b"1 devices attached\n", b"1 devices attached\nref by pid 12 (camera)\n")
    text = text.replace(b"\twrite fence", b"\tallocated by a vendor's allocator\n\twrite fence")
    parsed = bufinfo.parse(text)
    row = parsed.rows[0]
    assert row.name == b"camera-preview"
    assert row.extra == (b"00:17", b"\tallocated by a vendor's allocator", b"ref by pid 12 (camera)")
    assert (row.attachments, len(row.fences or ())) == ((b"soc:display-subsystem",), 1)
    assert parsed.consistent


def test_a_block_without_its_end_keeps_its_row() -> None:
    first = render_row(Era.V6_0, Row(4096, 2, 5, 1, b"system", 1, b"a", (), (), ()))
    last = Row(8192, 2, 5, 1, b"system", 2, b"b", (), (), ())
    text = render(Era.V6_0, [last]).replace(b"name\n", b"name\n" + first.replace(b"\tAttached Devices:\n", b""))
    parsed = bufinfo.parse(text)
    assert parsed.rows[1] == last
    assert (parsed.rows[0].size, parsed.rows[0].name, parsed.rows[0].attachments) == (4096, b"a", None)
    assert (parsed.rows[0].fences, parsed.rows[0].extra) == (None, (b"Total 0 devices attached",))
    assert "2 buffers, 12288 bytes" in parsed.trouble()


def test_no_buffers() -> None:
    for era in Era:
        parsed = bufinfo.parse(render(era, []))
        assert parsed.rows == ()
        assert parsed.consistent


@pytest.mark.parametrize("data", [b"", b"\n", b"noise", b"\nDma-buf Objects:\n", b"\nDma-buf Objects:\nnoise\n"])
def test_another_file(data: bytes) -> None:
    with pytest.raises(ParseError):
        bufinfo.parse(data)


def test_captured_buffers_are_those_of_the_workload(capture_dir: CaptureDir, capture_name: str) -> None:
    data = (capture_dir(capture_name) / "sys/kernel/debug/dma_buf/bufinfo").read_bytes()
    parsed = bufinfo.parse(data)
    assert parsed.consistent
    got = {(row.ino, row.size, row.exp_name, row.name) for row in parsed.rows}
    assert got == {(h.inode, h.size_bytes, h.exporter.encode(), h.name) for h in truth(capture_name)}
    attached = {row.name for row in parsed.rows if row.attachments}
    assert attached == {b"imported-by-vgem", b"gem-handle-only"}
    assert not any(row.extra or row.fences for row in parsed.rows)
