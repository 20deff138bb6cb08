"""Another process's memory is read and written as far as it could itself, by either way."""

import errno
import mmap
import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from heaptop.trace.supervise import _native, memory

PAGE_BYTES = mmap.PAGESIZE
CHILD = """
import ctypes, mmap, sys
libc = ctypes.CDLL(None)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long)
libc.mprotect.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
page = mmap.PAGESIZE
at = libc.mmap(None, 4 * page, 3, 0x22, -1, 0)
ctypes.memmove(at, b"x" * (3 * page - 3) + b"abc", 3 * page)
libc.mprotect(at + 2 * page, page, 1)
libc.mprotect(at + 3 * page, page, 0)
print(at, flush=True)
sys.stdin.read()
"""


@pytest.fixture(scope="module")
def other() -> Iterator[tuple[int, int]]:
    """A process and an address there: two pages to write, one to read, one that is not to be touched."""
    with subprocess.Popen([sys.executable, "-c", CHILD], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        yield process.pid, int(process.stdout.readline())
        process.communicate(b"")


@pytest.fixture(params=["calls", "file"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the calls for it, or on a kernel that has none."""
    if request.param == "file":

        def absent(*_: object) -> int:
            return -errno.ENOSYS

        monkeypatch.setattr(_native, "read", absent)
        monkeypatch.setattr(_native, "write", absent)


def refused(error: pytest.ExceptionInfo[OSError]) -> int | None:
    return error.value.errno


@pytest.mark.usefixtures("way")
def test_read_and_write(other: tuple[int, int]) -> None:
    pid, at = other
    memory.write(pid, at + PAGE_BYTES - 2, b"1234")
    assert memory.read(pid, at + PAGE_BYTES - 3, 6) == b"x1234x"
    assert memory.read(pid, at, 3 * PAGE_BYTES)[-3:] == b"abc"
    assert memory.read(pid, 0, 0) == b""


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("offset", [3 * PAGE_BYTES - 1, 3 * PAGE_BYTES, None, 1 << 62, -1])
def test_nothing_there(other: tuple[int, int], offset: int | None) -> None:
    pid, at = other
    address = 0 if offset is None else at + offset if offset > 0 else (1 << 64) - 1
    with pytest.raises(OSError) as error:  # noqa: PT011
        memory.read(pid, address, 2)
    assert refused(error) == errno.EFAULT
    with pytest.raises(OSError) as error:  # noqa: PT011
        memory.write(pid, address, b"ab")
    assert refused(error) == errno.EFAULT


@pytest.mark.usefixtures("way")
def test_what_the_process_cannot_write(other: tuple[int, int]) -> None:
    pid, at = other
    with pytest.raises(OSError) as error:  # noqa: PT011
        memory.write(pid, at + 2 * PAGE_BYTES, b"z")
    assert refused(error) == errno.EFAULT
    assert memory.read(pid, at + 2 * PAGE_BYTES, 1) == b"x"


@pytest.mark.usefixtures("way")
def test_strings(other: tuple[int, int]) -> None:
    pid, at = other
    memory.write(pid, at, b"name\0rest")
    assert memory.read_string(pid, at, 32) == b"name"
    end = at + 3 * PAGE_BYTES
    with pytest.raises(OSError) as error:  # noqa: PT011
        memory.read_string(pid, end - 3, 32)
    assert refused(error) == errno.EFAULT
    assert memory.read_string(pid, end - 3, 3) == b"abc"
    memory.write(pid, at + 2 * PAGE_BYTES - 3, b"ab\0")
    assert memory.read_string(pid, at + 2 * PAGE_BYTES - 3, 32) == b"ab"


@pytest.mark.usefixtures("way")
def test_a_process_that_is_gone() -> None:
    with subprocess.Popen(["true"]) as process:
        pass
    with pytest.raises(OSError) as error:  # noqa: PT011
        memory.read(process.pid, 4096, 1)
    assert refused(error) in {errno.ESRCH, errno.ENOENT}


def test_process_of() -> None:
    assert memory.process_of(os.getpid()) == os.getpid()
