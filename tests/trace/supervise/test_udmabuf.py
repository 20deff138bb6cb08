"""What keeps account of real dma-bufs. Pipes stand for them: they take part in epoll alike. tests/vm has real ones."""

import errno
import os
from dataclasses import dataclass, field

import pytest

from heaptop.trace.supervise import udmabuf
from heaptop.trace.supervise.base import Granted
from heaptop.trace.supervise.udmabuf import LOOK_EVERY_S, RealBuffers, Udmabufs, why_not


@dataclass
class Clock:
    now: float = 0.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Grant:
    fd: int
    inode: int


@dataclass
class Wanted:
    size_bytes: int = 4096
    fd_flags: int = os.O_RDWR


@dataclass
class Emulator:
    """Has room for two memfds. One that is closed is free again."""

    memfds: list[int] = field(default_factory=list)
    replaced: list[tuple[int, int]] = field(default_factory=list)
    refuses: bool = False

    def allocate(self, _heap: str, _wanted: object, _tid: int) -> Granted:
        living = [inode for inode in self.memfds if inode in open_inodes()]
        if len(living) >= 2:
            raise OSError(errno.ENOMEM, "")
        fd = os.memfd_create("dmabuf:system:1")
        self.memfds.append(os.fstat(fd).st_ino)
        return Grant(fd, os.fstat(fd).st_ino)

    def set_name(self, inode: int, name: bytes) -> None:
        raise OSError(errno.ENOTTY, "")

    def replace(self, inode: int, dmabuf: int) -> None:
        if self.refuses:
            raise OSError(errno.EEXIST, "")
        self.replaced.append((inode, dmabuf))


def open_inodes() -> set[int]:
    found = set()
    for name in os.listdir("/proc/self/fd"):
        try:
            found.add(os.stat(f"/proc/self/fd/{name}").st_ino)
        except OSError:
            continue
    return found


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def udmabufs(monkeypatch: pytest.MonkeyPatch, clock: Clock) -> Udmabufs:
    monkeypatch.setattr(udmabuf, "DEVICE", os.devnull)

    def make(_self: Udmabufs, _memfd: int, size_bytes: int) -> int:
        if size_bytes > 1 << 26:
            raise OSError(errno.EINVAL, "")
        reader, writer = os.pipe()
        os.close(writer)
        return reader

    monkeypatch.setattr(Udmabufs, "make", make)
    return Udmabufs(clock)


@pytest.fixture
def emulator() -> Emulator:
    return Emulator()


def test_the_memfd_lives_as_long_as_the_dma_buf(udmabufs: Udmabufs, emulator: Emulator, clock: Clock) -> None:
    granted = RealBuffers(emulator, udmabufs).allocate("system", Wanted(), 1)
    (memfd,) = emulator.memfds
    assert emulator.replaced == [(memfd, granted.inode)]
    assert os.fstat(granted.fd).st_ino == granted.inode != memfd
    kept = os.dup(granted.fd)
    os.close(granted.fd)
    clock.now += LOOK_EVERY_S
    assert udmabufs.tend() == LOOK_EVERY_S
    assert memfd in open_inodes()
    os.close(kept)
    assert udmabufs.tend() == LOOK_EVERY_S
    clock.now += LOOK_EVERY_S
    assert udmabufs.tend() is None
    assert memfd not in open_inodes()


def test_room_is_made_at_once(udmabufs: Udmabufs, emulator: Emulator) -> None:
    """A heap that is full of what has just gone is not full."""
    buffers = RealBuffers(emulator, udmabufs)
    for _ in range(2):
        os.close(buffers.allocate("system", Wanted(), 1).fd)
    kept = [buffers.allocate("system", Wanted(), 1) for _ in range(2)]
    with pytest.raises(OSError) as refused:  # noqa: PT011
        buffers.allocate("system", Wanted(), 1)
    assert refused.value.errno == errno.ENOMEM
    for granted in kept:
        os.close(granted.fd)


@pytest.mark.parametrize(
    "wanted", [Wanted(fd_flags=os.O_RDONLY), Wanted(size_bytes=1 << 27)], ids=["read-only", "large"]
)
def test_what_stays_a_memfd(udmabufs: Udmabufs, emulator: Emulator, wanted: Wanted) -> None:
    granted = RealBuffers(emulator, udmabufs).allocate("system", wanted, 1)
    assert [granted.inode] == emulator.memfds
    assert emulator.replaced == []
    assert udmabufs.tend() is None
    os.close(granted.fd)


def test_a_number_that_is_taken(udmabufs: Udmabufs, emulator: Emulator) -> None:
    emulator.refuses = True
    granted = RealBuffers(emulator, udmabufs).allocate("system", Wanted(), 1)
    assert [granted.inode] == emulator.memfds
    assert udmabufs.tend() is None
    os.close(granted.fd)


def test_why_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(udmabuf, "DEVICE", "/nowhere/udmabuf")
    assert why_not() == "no /nowhere/udmabuf here"
    monkeypatch.setattr(udmabuf, "DEVICE", os.devnull)
    assert why_not() == ""
