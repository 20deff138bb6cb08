"""The layout of struct inode and struct file, from what a program saw of pipes."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heaptop.parse.event_record import HEADER, NUMBERS, What
from heaptop.trace.layout import layout_of
from heaptop.trace.programs import LAYOUT_BYTES, Layout

WORDS = LAYOUT_BYTES // 8


def seen(inode: int, *, number_at: int, inode_at: int, noise: int = 0) -> bytes:
    address = 0xFFFF888000000000 + 1024 * inode
    words = [noise] * WORDS
    words[number_at] = inode
    files = [noise] * WORDS
    files[inode_at] = address
    body = struct.pack(f"<{2 * WORDS}Q", *words, *files)
    return HEADER.pack(1, 2, b"", What.RELEASED) + NUMBERS.pack(address, 1, 0) + body


@given(st.integers(0, WORDS - 1), st.integers(0, WORDS - 1), st.integers(100, 2**32))
def test_found(number_at: int, inode_at: int, first: int) -> None:
    inodes = range(first, first + 8)
    records = [seen(inode, number_at=number_at, inode_at=inode_at) for inode in inodes]
    assert layout_of(records, inodes) == Layout(8 * number_at, 8 * inode_at)


def test_others_pipes_do_not_matter() -> None:
    inodes = range(50, 58)
    mine = [seen(inode, number_at=8, inode_at=5, noise=51) for inode in inodes]
    others = [seen(inode, number_at=3, inode_at=9, noise=53) for inode in (7, 53)]
    assert layout_of([*others, *mine, *others], inodes) == Layout(64, 40)


@pytest.mark.parametrize("count", [0, 7])
def test_not_all_seen(count: int) -> None:
    inodes = range(50, 58)
    assert layout_of([seen(inode, number_at=8, inode_at=5) for inode in range(50, 50 + count)], inodes) is None


def test_ambiguous() -> None:
    inodes = (50, 51)
    records = [seen(inode, number_at=8, inode_at=5, noise=inode) for inode in inodes]
    assert layout_of(records, inodes) is None
