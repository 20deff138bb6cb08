"""Programs in C, C++, Rust and Python, which know nothing of heaptop."""

import errno
import os
import sys

import pytest

from heaptop_emulator import shared
from tests.emulator.serving import wait_for
from tests.trace.supervise.conftest import Build, Runner

PYTHON = """
import ctypes, fcntl, mmap, os, struct

class Data(ctypes.Structure):
    _fields_ = [("len", ctypes.c_uint64), ("fd", ctypes.c_uint32), ("fd_flags", ctypes.c_uint32),
                ("flags", ctypes.c_uint64)]

with open("/dev/dma_heap/camera", "rb", buffering=0) as heap:
    data = Data(100_000, 0, os.O_RDWR | os.O_CLOEXEC, 0)
    fcntl.ioctl(heap, 0xC0184800, data)
with mmap.mmap(data.fd, 0) as mapped:
    mapped[:4] = b"abcd"
    print(len(mapped), mapped[:4].decode(), os.stat("/dev/dma_heap/camera").st_size)
try:
    with open("/dev/dma_heap/camera", "rb", buffering=0) as heap:
        fcntl.ioctl(heap, 0xC0184800, Data(1 << 30, 0, 2, 0))
except OSError as error:
    print(error.errno)
"""

WRONG = {
    "good": 0,
    "len-0": errno.EINVAL,
    "len-wraps": errno.EINVAL,
    "len-huge": errno.ENOMEM,
    "fd": errno.EINVAL,
    "fd-flags": errno.EINVAL,
    "heap-flags": errno.EINVAL,
    "pointer": errno.EFAULT,
    "read-only-page": errno.EFAULT,
    "fds-left": 0,
    "number-1": errno.EINVAL,
    "no-size": errno.EINVAL,
    "closed": errno.EBADF,
    "no-heap": errno.ENOTTY,
    "stdin": errno.ENOTTY,
    "sync": 0,
    "sync-no-direction": errno.EINVAL,
    "sync-flags": errno.EINVAL,
    "sync-pointer": errno.EFAULT,
    "name": 0,
    "name-too-long": errno.EINVAL,
    "name-pointer": errno.EFAULT,
    "read-only": 0,
    "read-only-fd-writable": 0,
    "kept-on-exec": 0,
    "map-for-writing": errno.EACCES,
}


@pytest.fixture(params=[(), ("-static",), ("-m32",)], ids=["dynamic", "static", "32-bit"])
def client(request: pytest.FixtureRequest, build: Build) -> str:
    return build("client.c", "-O2", "-Wall", "-pthread", *request.param)


def test_every_wrong_request(any_runner: Runner, client: str) -> None:
    done = any_runner.run("-q", "--", client, "wrong")
    assert done.stderr == ""
    assert {name: int(number) for name, number in map(str.split, done.stdout.splitlines())} == WRONG


@pytest.mark.parametrize("what", ["threads", "forks"])
def test_many_at_once(any_runner: Runner, client: str, what: str) -> None:
    done = any_runner.run("--", client, what)
    assert (done.returncode, done.stdout) == (0, "")
    assert f"the command was given {16 * 50 if what == 'threads' else 8 * 25 + 1} buffers of system" in done.stderr


def test_a_buffer_is_passed_on(any_runner: Runner, client: str) -> None:
    assert any_runner.run("-q", "--", client, "pass").stdout == "0\n"


def test_a_full_table(runner: Runner, client: str) -> None:
    """The heap descriptor is there; three more fit. What found no room is freed again."""
    assert runner.run("-q", "--", client, "full").stdout == f"3 {errno.EMFILE}\n"
    with shared.connect_or_start(path=runner.emulator)[0] as emulator:
        wait_for(emulator.state, lambda state: state.buffers == ())


def test_signals_lose_no_buffer(runner: Runner, client: str) -> None:
    """A thousand a second: an ALLOC may be interrupted before it began, but no fd is left that nobody knows."""
    assert runner.run("-q", "--", client, "signals").stdout == "300 0 0\n"


def test_cplusplus(any_runner: Runner, build: Build) -> None:
    program = build("frames.cc", "-O2", "-std=c++17", "-pthread")
    assert any_runner.run("-q", "--", program).stdout == f"zero {errno.ENOMEM}\n"


def test_rust(any_runner: Runner, build: Build) -> None:
    program = build("buffers.rs", "-O")
    sums = [3 * 4096 * pages for pages in range(1, 5)]
    assert any_runner.run("-q", "--", program).stdout == f"{sums} Some(Some({errno.EINVAL}))\n"


def test_python(any_runner: Runner) -> None:
    assert any_runner.run("-q", "--", sys.executable, "-c", PYTHON).stdout == f"102400 abcd 0\n{errno.ENOMEM}\n"


def test_a_heap_is_a_device_for_root(runner: Runner) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    done = runner.run("-q", "--", "stat", "-c", "%F %a", "/dev/dma_heap/system")
    assert done.stdout == "character special file 666\n"
