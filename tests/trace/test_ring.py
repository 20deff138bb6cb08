"""Records in the ring's memory, as the kernel lays them out."""

import mmap
import struct

from hypothesis import given
from hypothesis import strategies as st

from heaptop.trace.ring import records

SIZE = 4096
BUSY, DISCARDED = 1 << 31, 1 << 30


class Memory:
    """The producer's page and the data, twice."""

    def __init__(self, at: int) -> None:
        self.data = bytearray(SIZE)
        self.begin = self.end = at

    def put(self, record: bytes, flags: int = 0) -> None:
        whole = struct.pack("<II", len(record) | flags, 0) + record
        for place, byte in enumerate(whole, self.end):
            self.data[place % SIZE] = byte
        self.end += (len(whole) + 7) & ~7

    def read(self) -> list[bytes]:
        found, self.begin = records(bytes(mmap.PAGESIZE) + bytes(2 * self.data), SIZE, self.begin, self.end)
        return found


@given(st.integers(0, 10_000).map(lambda at: 8 * at), st.lists(st.binary(max_size=300), max_size=12))
def test_records_come_whole_and_in_order(at: int, written: list[bytes]) -> None:
    memory = Memory(at)
    for record in written:
        memory.put(record)
    assert memory.read() == written
    assert memory.begin == memory.end
    assert memory.read() == []


def test_what_is_still_being_written_comes_later() -> None:
    memory = Memory(SIZE - 16)
    memory.put(b"one")
    busy_at = memory.end
    memory.put(b"two", BUSY)
    memory.put(b"three")
    assert memory.read() == [b"one"]
    memory.data[busy_at % SIZE + 3] = 0
    assert memory.read() == [b"two", b"three"]


def test_discarded_records_are_passed_over() -> None:
    memory = Memory(0)
    memory.put(b"one", DISCARDED)
    memory.put(b"two")
    assert memory.read() == [b"two"]
