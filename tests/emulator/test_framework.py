"""The framework's checks are the kernel's, and its buffers are real files whose last release gives the pages back."""

import errno
import fcntl
import mmap
import os
import select
import socket
from collections.abc import Callable, Iterator
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heaptop_emulator import linux
from heaptop_emulator.framework import Framework, check_name
from heaptop_emulator.inotify import ReleaseWatcher
from heaptop_emulator.machine import Machine
from heaptop_emulator.others import heaps_of

U64 = 1 << 64


@pytest.fixture
def machine() -> Machine:
    return Machine()


@pytest.fixture
def framework(machine: Machine) -> Iterator[Framework]:
    framework = Framework(heaps_of(machine))
    yield framework
    framework.close()


@pytest.mark.parametrize(
    ("request_", "number"),
    [
        (("nowhere", 0, 1, ~0, 1), errno.ENOENT),
        (("system", 4096, 1, os.O_RDWR, 0), errno.EINVAL),
        (("system", 4096, 0, os.O_NONBLOCK, 0), errno.EINVAL),
        (("system", 4096, 0, os.O_RDWR, 1), errno.EINVAL),
        (("system", 0, 0, os.O_RDWR, 0), errno.EINVAL),
        (("system", U64 - 1, 0, os.O_RDWR, 0), errno.EINVAL),
        (("system", U64 - 4095, 0, os.O_RDWR, 0), errno.EINVAL),
        (("system", U64 - 4096, 0, os.O_RDWR, 0), errno.ENOMEM),
        (("system", 1 << 30, 0, os.O_RDWR, 0), errno.ENOMEM),
        (("camera", (32 << 20) + 1, 0, os.O_RDWR, 0), errno.ENOMEM),
    ],
)
def test_errors_are_those_of_the_kernel(
    framework: Framework, request_: tuple[str, int, int, int, int], number: int
) -> None:
    heap, length, fd, fd_flags, heap_flags = request_
    with pytest.raises(OSError, match=os.strerror(number)) as caught:
        framework.allocate(heap, length, fd=fd, fd_flags=fd_flags, heap_flags=heap_flags)
    assert caught.value.errno == number
    assert not framework.buffers


def test_a_buffer_is_a_sealed_file(framework: Framework) -> None:
    buffer, fd = framework.allocate("system", 5000)
    try:
        status = os.fstat(fd)
        assert (status.st_ino, status.st_size) == (buffer.inode, 8192)
        assert os.readlink(f"/proc/self/fd/{fd}") == "/memfd:dmabuf:system:1 (deleted)"
        assert not os.get_inheritable(fd)
        with pytest.raises(PermissionError):
            os.ftruncate(fd, 4096)
        with pytest.raises(PermissionError):
            os.ftruncate(fd, 16384)
        with pytest.raises(PermissionError):
            fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_WRITE)
        with mmap.mmap(fd, 8192) as mapping:
            assert mapping[:] == bytes(8192)
    finally:
        os.close(fd)


@pytest.mark.parametrize("access", [os.O_RDONLY, os.O_WRONLY, os.O_RDWR, os.O_ACCMODE])
def test_the_access_mode_is_the_one_asked_for(framework: Framework, access: int) -> None:
    buffer, fd = framework.allocate("system", 4096, fd_flags=access | os.O_CLOEXEC)
    try:
        assert fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_ACCMODE == access == buffer.access
        for writable in (False, True):
            if access == os.O_RDWR or (access == os.O_RDONLY and not writable):
                linux.Mapping(fd, 4096, writable=writable).close()
            else:
                with pytest.raises(PermissionError):
                    linux.Mapping(fd, 4096, writable=writable)
    finally:
        os.close(fd)


def test_the_pages_come_back_with_the_last_reference_of_any_kind(machine: Machine, framework: Framework) -> None:
    free_pages = machine.free_pages
    buffer, fd = framework.allocate("reserved", 1 << 20)
    copy = os.dup(fd)
    mapping = linux.Mapping(fd, buffer.size_bytes, writable=True)
    mapping.fill(1, 10)
    sender, receiver = socket.socketpair()
    socket.send_fds(sender, [b"x"], [fd])
    releases: tuple[Callable[[], None], ...] = (partial(os.close, fd), partial(os.close, copy), mapping.close)
    for release in releases:
        release()
        assert framework.collect() == []
        assert machine.free_pages == free_pages - 256
    sender.close()
    assert framework.collect() == []
    receiver.close()  # the reference in flight was the last
    assert select.select([framework.releases], [], [], 0)[0]
    assert framework.collect() == [buffer]
    assert machine.free_pages == free_pages
    assert not framework.buffers


def test_a_refused_file_gives_the_pages_back(
    machine: Machine, framework: Framework, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_fd: int) -> int:
        raise OSError(errno.ENOSPC, "too many watches")

    monkeypatch.setattr(framework.releases, "watch", refuse)
    free_pages, fds = machine.free_pages, os.listdir("/proc/self/fd")
    with pytest.raises(OSError, match="too many watches"):
        framework.allocate("system", 1 << 20)
    assert machine.free_pages == free_pages
    assert os.listdir("/proc/self/fd") == fds
    assert not framework.buffers


def test_names(framework: Framework) -> None:
    buffer, fd = framework.allocate("system", 4096)
    assert buffer.name is None
    for name in (b"fb0", b"", b"n" * 31, bytes(range(1, 32)), b"\xff\n\x1b[0m"):
        framework.set_name(buffer.inode, name)
        assert buffer.name == name
    with pytest.raises(OSError, match="Invalid argument"):
        framework.set_name(buffer.inode, b"n" * 32)
    with pytest.raises(OSError, match="ioctl"):
        framework.set_name(buffer.inode + 1, b"x")
    os.close(fd)


@given(st.binary(max_size=80))
def test_a_name_is_a_c_string_of_at_most_31_bytes(name: bytes) -> None:
    text = name.split(b"\0")[0]
    if len(text) > 31:
        with pytest.raises(OSError, match="Invalid argument"):
            check_name(name)
    else:
        assert check_name(name) == text


def test_releases_are_told_even_when_the_queue_overflows() -> None:
    with open("/proc/sys/fs/inotify/max_queued_events") as limits:
        queued = int(limits.read())
    watcher = ReleaseWatcher()
    kept = os.memfd_create("kept")
    kept_number = watcher.watch(kept)
    numbers = set()
    for _ in range(queued // 2 + 100):  # two events each: DELETE_SELF and IGNORED
        fd = os.memfd_create("gone")
        numbers.add(watcher.watch(fd))
        os.close(fd)
    assert set(watcher.released()) == numbers
    os.close(kept)
    assert list(watcher.released()) == [kept_number]
    watcher.close()
    watcher.close()
