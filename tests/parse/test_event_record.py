"""Records of heaptop's own programs."""

import struct
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heaptop.errors import ParseError
from heaptop.parse import trace_format
from heaptop.parse.event_record import HEADER, NUMBERS, Step, What, of_fields, parse

FORMATS = {
    what: trace_format.parse((Path(__file__).parent / "trace_formats" / name).read_bytes())
    for what, name in (
        (What.TRACE_EXPORTED, "7.2/dma_buf_export"),
        (What.TRACE_CMA_BUSY, "7.2/cma_alloc_busy_retry"),
        (What.TRACE_CMA_DONE, "6.12/cma_alloc_finish"),
    )
}
ENOMEM = (1 << 64) - 12
ADDRESS = -(1 << 50)


def record(what: int, numbers: tuple[int, int, int] = (0, 0, 0), rest: bytes = b"") -> bytes:
    return HEADER.pack(812 << 32 | 815, 5_000, b"cam\xff\n", what) + NUMBERS.pack(*numbers) + rest


def step(what: What, **fields: object) -> Step:
    values: dict[str, object] = {"what": what, "pid": 812, "tid": 815, "time_ns": 5_000, "comm": b"cam\xff\n", **fields}
    return Step(**values)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (record(What.CALL, (5000, 0, 0)), step(What.CALL, size_bytes=5000)),
        (record(What.RETURN, (ENOMEM, 0, 0)), step(What.RETURN, result=-12)),
        (record(What.RETURN), step(What.RETURN, result=0)),
        (
            record(What.EXPORTING, (8192, 0, 0), b"system\0garbage"),
            step(What.EXPORTING, size_bytes=8192, exporter=b"system"),
        ),
        (
            record(What.EXPORTED, (62, 8192, 0xFFFF888012345678)),
            step(What.EXPORTED, inode=62, size_bytes=8192, result=0),
        ),
        (record(What.EXPORTED, (0, 0, ENOMEM)), step(What.EXPORTED, result=-12)),
        (record(What.RELEASED, (62, 0, 0)), step(What.RELEASED, inode=62)),
        (record(What.RELEASED), step(What.RELEASED)),
    ],
)
def test_probes(raw: bytes, expected: Step) -> None:
    assert parse(raw, {}) == expected


def test_an_export_by_tracepoint() -> None:
    rest = bytes(8) + struct.pack("<IIQQ", 32 | 7 << 16, 0, 8192, 62) + b"system\0"
    expected = step(What.TRACE_EXPORTED, inode=62, size_bytes=8192, exporter=b"system", result=0)
    assert parse(record(What.TRACE_EXPORTED, rest=rest), FORMATS) == expected


@pytest.mark.parametrize("errorno", [0, -12, -16])
def test_the_end_of_a_cma_allocation(errorno: int) -> None:
    rest = bytes(8) + struct.pack("<IIQQQIi", 48 | 9 << 16, 0, 376320, 1, 15360, 8, errorno) + b"reserved\0"
    expected = step(What.TRACE_CMA_DONE, result=errorno, area=b"reserved", pfn=376320, count_pages=15360, align_order=8)
    assert parse(record(What.TRACE_CMA_DONE, rest=rest), FORMATS) == expected


@pytest.mark.parametrize(("page", "result"), [(0xFFFFEA0000000000, 0), (0, None)])
def test_before_6_12_the_page_tells(page: int, result: int | None) -> None:
    busy = FORMATS[What.TRACE_CMA_BUSY]  # it has the fields that cma_alloc_finish had then
    rest = bytes(8) + struct.pack("<IIQQQII", 48 | 2 << 16, 0, 1, page, 16, 4, 0) + b"a\0"
    assert parse(record(What.TRACE_CMA_DONE, rest=rest), {What.TRACE_CMA_DONE: busy}).result == result


def test_a_tracepoint_of_unknown_format() -> None:
    with pytest.raises(ParseError, match="TRACE_CMA_DONE"):
        parse(record(What.TRACE_CMA_DONE), {})


@given(
    st.binary(max_size=300)
    | st.binary(max_size=200).flatmap(lambda rest: st.sampled_from(What).map(lambda what: record(what, rest=rest)))
)
def test_any_bytes(raw: bytes) -> None:
    with suppress(ParseError):
        assert parse(raw, FORMATS).what in What


@pytest.mark.parametrize(
    ("what", "fields", "expected"),
    [
        (What.CALL, {"command": 0xC0184800, "size": 5000}, {"size_bytes": 5000}),
        (What.RETURN, {"result": -12}, {"result": -12}),
        (What.EXPORTING, {"size": 8192, "exporter": b"system"}, {"size_bytes": 8192, "exporter": b"system"}),
        (What.EXPORTED, {"result": -12, "size": 77, "inode": 77}, {"result": -12}),
        (What.EXPORTED, {"result": ADDRESS, "size": 8192, "inode": 9}, {"result": 0, "size_bytes": 8192, "inode": 9}),
        (What.EXPORTED, {"result": ADDRESS, "size": 8192}, {"result": 0, "size_bytes": 8192, "inode": None}),
        (What.RELEASED, {"inode": 9}, {"inode": 9}),
        (What.TRACE_CMA_DONE, {"name": b"reserved", "pfn": 7, "count": 2, "align": 1, "errorno": 0},
         {"area": b"reserved", "pfn": 7, "count_pages": 2, "align_order": 1, "result": 0}),
    ],
)  # fmt: skip
def test_fields_of_a_kprobe(what: What, fields: dict[str, int | bytes], expected: dict[str, object]) -> None:
    found = of_fields(what, 812, 815, 5_000, {"comm": b"cam\xff\n", **fields})
    assert found == step(what, **expected)


def test_another_ioctl_is_no_call() -> None:
    assert of_fields(What.CALL, 1, 1, 1, {"command": 0x4801, "size": 5}) is None
