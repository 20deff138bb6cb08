"""The ring that BPF programs fill and this process empties (kernel/bpf/ringbuf.c, 5.8 on)."""

import mmap
import os
import select
import struct
from typing import Final

from heaptop.scan.bpf_call import call

_MAP_CREATE: Final = 0
_MAP_TYPE_RINGBUF: Final = 27
_PAGE_BYTES: Final = mmap.PAGESIZE
_HEADER: Final = struct.Struct("<II")
_BUSY, _DISCARDED = 1 << 31, 1 << 30
_POSITION: Final = struct.Struct("<Q")


class Ring:
    """Records in the order in which room was taken for them. Positions only grow; the data are mapped twice in a row,
    so that no record is ever in two pieces.
    """

    def __init__(self, size_bytes: int) -> None:
        """`size_bytes` is a power of two, and whole pages. Raises OSError with the kernel's errno."""
        self._size_bytes = size_bytes
        self.fd = call(_MAP_CREATE, struct.pack("<IIIII", _MAP_TYPE_RINGBUF, 0, 0, size_bytes, 0))
        try:
            self._consumer = mmap.mmap(self.fd, _PAGE_BYTES, mmap.MAP_SHARED)
            length = _PAGE_BYTES + 2 * size_bytes
            self._producer = mmap.mmap(self.fd, length, mmap.MAP_SHARED, mmap.PROT_READ, offset=_PAGE_BYTES)
            self._poll = select.poll()
            self._poll.register(self.fd, select.POLLIN)
        except BaseException:
            os.close(self.fd)
            raise

    def read(self, timeout_s: float) -> list[bytes]:
        """All records there are; waits up to `timeout_s` where there is none."""
        return self._taken() or (self._taken() if self._poll.poll(1000 * timeout_s) else [])

    def _taken(self) -> list[bytes]:
        (at,) = _POSITION.unpack_from(self._consumer)
        (end,) = _POSITION.unpack_from(self._producer)
        found, at = records(self._producer, self._size_bytes, at, end)
        _POSITION.pack_into(self._consumer, 0, at)
        return found

    def close(self) -> None:
        """Give it back."""
        self._consumer.close()
        self._producer.close()
        os.close(self.fd)


def records(pages: "bytes | mmap.mmap", size_bytes: int, at: int, end: int) -> tuple[list[bytes], int]:
    """Whole records from position `at` to `end`, and the position after them. `pages` are the page with the producer's
    position, and the data, twice. A record that is still being written ends it: it and what follows come later.
    """
    found = []
    while at < end:
        place = _PAGE_BYTES + at % size_bytes
        length, _ = _HEADER.unpack_from(pages, place)
        if length & _BUSY:
            break
        begin = place + _HEADER.size
        if not length & _DISCARDED:
            found.append(pages[begin : begin + length])
        at += (_HEADER.size + (length & ~_DISCARDED) + 7) & ~7
    return found, at
