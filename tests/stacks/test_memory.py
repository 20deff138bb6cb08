"""Memory of another process, read in both ways that kernels have."""

import ctypes
import mmap
import os
from collections.abc import Callable

import pytest

from heaptop.stacks import memory
from heaptop.stacks.memory import Memory, identity

PAGE = mmap.PAGESIZE
WAYS: list[Callable[[int, int], bytes]] = [
    lambda address, length: Memory(os.getpid()).read(address, length),
    lambda address, length: memory._read_file(os.getpid(), address, length),
]


@pytest.mark.parametrize("read", WAYS)
def test_up_to_the_first_page_that_is_not_there(read: Callable[[int, int], bytes]) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
    start = libc.mmap(None, 3 * PAGE, mmap.PROT_READ | mmap.PROT_WRITE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, -1, 0)
    libc.munmap(ctypes.c_void_p(start + 2 * PAGE), PAGE)
    ctypes.memmove(start + PAGE - 4, b"abcdefgh", 8)
    assert read(start + PAGE - 4, 8) == b"abcdefgh"
    assert len(read(start, 3 * PAGE)) == 2 * PAGE
    assert read(start + 2 * PAGE, 8) == b""
    assert read(0, 8) == b""
    libc.munmap(ctypes.c_void_p(start), 2 * PAGE)


def test_nobody() -> None:
    assert Memory(0).read(4096, 8) == b""
    assert Memory(os.getpid()).read(-1, 8) == b""
    assert Memory(os.getpid()).word(0) is None
    assert identity(0) is None
    assert memory._read_file(0, 4096, 8) == b""
