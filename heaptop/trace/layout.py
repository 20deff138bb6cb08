"""Where the running kernel keeps a file's inode and an inode's number, found out by experiment.

struct file and struct inode differ by release and configuration, and not every kernel has its type information with it
(CONFIG_DEBUG_INFO_BTF). So a program looks on while this process closes a few pipes of its own, whose inode numbers
stat tells: the one place where each of them has its number is it. pipe_release(inode, file) has the arguments of
dma_buf_file_release, and never changed.
"""

import os
import struct
from collections.abc import Iterable, Sequence
from typing import Final

from heaptop.parse.event_record import HEADER, NUMBERS
from heaptop.trace.attach import at_function
from heaptop.trace.programs import LAYOUT_BYTES, Layout, Programs
from heaptop.trace.ring import Ring

RELEASE: Final = "pipe_release"
PIPES: Final = 8
_WORDS: Final = struct.Struct(f"<{LAYOUT_BYTES // 8}Q")
_TIMEOUT_S: Final = 1.0


def find_layout(programs: Programs, ring: Ring) -> Layout | None:
    """The layout; None where it cannot be told.

    Raises:
        OSError: pipes cannot be watched.
    """
    probe = at_function(programs.open_file(), RELEASE)
    try:
        inodes = [open_and_close() for _ in range(PIPES)]
    finally:
        probe.close()
    records = []
    while batch := ring.read(0):
        records += batch
    return layout_of(records, inodes)


def layout_of(records: Iterable[bytes], inodes: Iterable[int]) -> Layout | None:
    """As `layout_of_words`, from a program's records."""
    seen = []
    for record in records:
        inode_address, _, _ = NUMBERS.unpack_from(record, HEADER.size)
        begin = HEADER.size + NUMBERS.size
        seen.append(
            (inode_address, _WORDS.unpack_from(record, begin), _WORDS.unpack_from(record, begin + LAYOUT_BYTES))
        )
    return layout_of_words(seen, inodes)


def layout_of_words(seen: Iterable[tuple[int, Sequence[int], Sequence[int]]], inodes: Iterable[int]) -> Layout | None:
    """The only offsets that all of these inodes agree with, from the address of each inode that was seen and the first
    words of it and of its file; other processes' pipes do not matter.
    """
    by_number: dict[int, set[tuple[int, int]]] = {inode: set() for inode in inodes}
    for inode_address, inode, file in seen:
        places = [8 * at for at, word in enumerate(file) if word == inode_address]
        for at, word in enumerate(inode):
            if word in by_number:
                by_number[word] |= {(8 * at, place) for place in places}
    agreed = set.intersection(*by_number.values()) if by_number else set()
    return Layout(*agreed.pop()) if len(agreed) == 1 else None


def open_and_close() -> int:
    """A pipe that is opened and closed at once; its inode's number."""
    reader, writer = os.pipe()
    inode = os.fstat(reader).st_ino
    os.close(reader)
    os.close(writer)
    return inode
