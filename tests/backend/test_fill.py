"""Patterns, and that the whole buffer gets them."""

import errno
import os
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heaptop.backend.fill import CHUNK_BYTES, HEX_BYTES_MAX, Pattern, fill, parse_pattern
from heaptop.errors import AllocationError, UsageError


@pytest.fixture
def fd() -> Iterator[int]:
    number = os.memfd_create("fill")
    yield number
    os.close(number)


def test_patterns() -> None:
    assert parse_pattern("zero").bytes_at(0, 4) == b"\0\0\0\0"
    assert parse_pattern("ff").bytes_at(7, 3) == b"\xff\xff\xff"
    assert parse_pattern("0xDEADBE").bytes_at(4, 4) == b"\xad\xbe\xde\xad"
    assert parse_pattern("count").bytes_at(4, 7) == b"\1\0\0\0\2\0\0"


@pytest.mark.parametrize("text", ["", "0x", "f", "xyz", "-1", "zero0", "٣٣", "00" * (HEX_BYTES_MAX + 1)])
def test_bad_patterns(text: str) -> None:
    with pytest.raises(UsageError):
        parse_pattern(text)


@given(st.binary(min_size=0, max_size=7), st.integers(0, 5000).map(lambda words: 4 * words), st.integers(0, 300))
def test_a_pattern_does_not_depend_on_where_it_is_cut(unit: bytes, offset: int, size: int) -> None:
    pattern = Pattern(unit)
    assert pattern.bytes_at(0, offset + size)[offset:] == pattern.bytes_at(offset, size)


def test_the_whole_buffer_is_filled(fd: int) -> None:
    size_bytes = 2 * CHUNK_BYTES + 4096
    os.ftruncate(fd, size_bytes)
    pattern = parse_pattern("010203")
    fill(fd, size_bytes, pattern)
    assert os.pread(fd, size_bytes, 0) == pattern.bytes_at(0, size_bytes)


def test_a_buffer_that_cannot_be_mapped_says_why() -> None:
    read_end, write_end = os.pipe()
    with pytest.raises(AllocationError) as caught:
        fill(read_end, 4096, Pattern(b"\0"))
    assert caught.value.errno in {errno.ENODEV, errno.EACCES}
    os.close(read_end)
    os.close(write_end)
