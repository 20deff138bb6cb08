"""A program that pins a page in the middle of a CMA area's longest free run, says so, and at a line of input asks for
most of that run.

The kernel lends an area to movable pages once most of what is free lies in it (mm/page_alloc.c, __rmqueue). So memory
is filled until one of this process's own pages lies there, and that one goes into a pipe by vmsplice, which pins it.
Prints the errno of the allocation that then fails.
"""

import ctypes
import fcntl
import mmap
import os
import re
import struct
import sys
from collections.abc import Iterator
from contextlib import ExitStack

AREA = "/sys/kernel/debug/cma/reserved"
ALLOC = 0xC0184800
PAGE_BYTES = mmap.PAGESIZE
STEP_BYTES = 32 << 20
FREE_BYTES = 192 << 20
LOWEST_BYTES = 48 << 20
PFN_MASK = (1 << 55) - 1


def number(name: str) -> int:
    with open(f"{AREA}/{name}", encoding="ascii") as file:
        return int(file.read())


def longest_free() -> tuple[int, int]:
    """First page frame and pages of the longest run that nobody has allocated: others may hold parts of the area."""
    with open(f"{AREA}/bitmap", encoding="ascii") as file:
        bits = "".join(f"{int(word):032b}"[::-1] for word in file.read().split())[: number("count")]
    start, end = max((run.span() for run in re.finditer("0+", bits)), key=lambda span: span[1] - span[0])
    return number("base_pfn") + start, end - start


def available_bytes() -> int:
    with open("/proc/meminfo", encoding="ascii") as file:
        return 1024 * next(int(line.split()[1]) for line in file if line.startswith("MemFree:"))


def allocate(heap: str, size_bytes: int) -> int:
    node = os.open(f"/dev/dma_heap/{heap}", os.O_RDONLY | os.O_CLOEXEC)
    try:
        request = bytearray(struct.pack("=QIIQ", size_bytes, 0, os.O_RDWR | os.O_CLOEXEC, 0))
        fcntl.ioctl(node, ALLOC, request)
        return int(struct.unpack_from("=QI", request)[1])
    finally:
        os.close(node)


def pages() -> Iterator[tuple[int, int]]:
    """Address and page frame of ever more pages of this process."""
    with ExitStack() as held, open("/proc/self/pagemap", "rb", buffering=0) as pagemap:
        while available_bytes() > FREE_BYTES:  # a heap fills memory faster than page faults do
            held.callback(os.close, allocate("system", STEP_BYTES))
        while available_bytes() > LOWEST_BYTES:
            part = mmap.mmap(-1, STEP_BYTES, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | mmap.MAP_POPULATE)
            held.enter_context(part)
            start = ctypes.addressof(ctypes.c_char.from_buffer(part))
            entries = os.pread(pagemap.fileno(), 8 * (STEP_BYTES // PAGE_BYTES), 8 * (start // PAGE_BYTES))
            for index, (entry,) in enumerate(struct.iter_unpack("=Q", entries)):
                yield start + index * PAGE_BYTES, entry & PFN_MASK


def pin(address: int) -> tuple[int, int]:
    """A pipe that holds the page at this address."""
    ends = os.pipe()
    part = (ctypes.c_uint64 * 2)(address, PAGE_BYTES)
    assert ctypes.CDLL(None).vmsplice(ends[1], part, 1, 0) == PAGE_BYTES
    return ends


def main() -> None:
    """See above."""
    start, count = longest_free()
    middle = range(start + 3 * count // 8, start + 5 * count // 8)
    for address, pfn in pages():
        if pfn in middle:
            pin(address)
            break
    else:
        sys.exit("no page of the area could be had")
    os.write(1, b"pinned\n")
    sys.stdin.readline()
    try:
        allocate("reserved", 3 * count // 4 * PAGE_BYTES)
    except OSError as error:
        os.write(1, b"%d\n" % (error.errno or 0))


if __name__ == "__main__":
    main()
