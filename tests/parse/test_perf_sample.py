import struct

from hypothesis import given
from hypothesis import strategies as st

from heaptop.parse import perf_sample
from heaptop.parse.perf_sample import LOST, SAMPLE, Sample

RAW = struct.pack("<HBBi", 1071, 0, 0, 812) + b"rest"


def record(kind: int, body: bytes) -> bytes:
    return struct.pack("<IHH", kind, 0, 8 + len(body)) + body


def sample(raw: bytes = RAW, time_ns: int = 5) -> bytes:
    return record(SAMPLE, struct.pack("<IIQI", 812, 815, time_ns, len(raw)) + raw)


def test_samples_in_a_row() -> None:
    samples, lost = perf_sample.parse(sample() + record(3, b"12345678") + sample(time_ns=7))
    assert samples == [Sample(812, 815, 5, 1071, RAW), Sample(812, 815, 7, 1071, RAW)]
    assert lost == 0


def test_what_found_no_room_is_counted() -> None:
    assert perf_sample.parse(record(LOST, struct.pack("<QQ", 9, 40)) + sample())[1] == 40


def test_what_is_damaged_is_counted() -> None:
    short = record(SAMPLE, struct.pack("<IIQI", 1, 1, 1, 400) + RAW)
    assert perf_sample.parse(short) == ([], 1)
    assert perf_sample.parse(record(SAMPLE, b"1")) == ([], 1)
    assert perf_sample.parse(sample(b"1")) == ([], 1)
    assert perf_sample.parse(struct.pack("<IHH", SAMPLE, 0, 0) + sample()) == ([], 1)
    assert perf_sample.parse(sample()[:-1]) == ([], 1)


@given(st.binary(max_size=200))
def test_any_bytes(data: bytes) -> None:
    samples, lost = perf_sample.parse(data)
    assert lost >= 0
    assert all(one.raw for one in samples)
