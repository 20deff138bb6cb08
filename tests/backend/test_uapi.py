"""The ioctls: how a request looks, what is repeated, and what a refusal tells."""

import ctypes
import errno
import fcntl
import os
import struct

import pytest

from heaptop.backend import uapi


class Heap:
    """Stands for the kernel's side of ioctl(2): answers calls in turn with an errno, or 0 and fd 77."""

    def __init__(self, *answers: int) -> None:
        self.answers = list(answers)
        self.calls: list[tuple[int, bytes]] = []

    def ioctl(self, fd: int, request: int, argument: bytearray) -> int:
        self.calls.append((request, bytes(argument)))
        number = self.answers.pop(0)
        if number:
            raise OSError(number, os.strerror(number))
        argument[8:12] = struct.pack("=I", 77)
        return 0


def allocate(monkeypatch: pytest.MonkeyPatch, *answers: int) -> tuple[int, list[tuple[int, bytes]]]:
    heap = Heap(*answers)
    monkeypatch.setattr(fcntl, "ioctl", heap.ioctl)
    return uapi.allocate(3, 5000), heap.calls


DATA = struct.pack("=QIIQ", 5000, 0, os.O_RDWR | os.O_CLOEXEC, 0)


def test_mainline(monkeypatch: pytest.MonkeyPatch) -> None:
    assert allocate(monkeypatch, 0) == (77, [(0xC0184800, DATA)])


def test_rfc_v4_knows_only_its_own_number(monkeypatch: pytest.MonkeyPatch) -> None:
    fd, calls = allocate(monkeypatch, errno.ENOTTY, 0)
    assert fd == 77
    assert calls == [(0xC0184800, DATA), (0xC0204800, DATA + bytes(8))]


def test_an_interrupted_request_is_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    fd, calls = allocate(monkeypatch, errno.EINTR, errno.EINTR, 0)
    assert fd == 77
    assert calls == [(0xC0184800, DATA)] * 3


@pytest.mark.parametrize("number", [errno.ENOMEM, errno.EINVAL, errno.EMFILE])
def test_a_refusal_is_final(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    heap = Heap(number)
    monkeypatch.setattr(fcntl, "ioctl", heap.ioctl)
    with pytest.raises(OSError, match=os.strerror(number)):
        uapi.allocate(3, 4096)
    assert len(heap.calls) == 1


def test_a_file_that_is_no_heap() -> None:
    null = os.open("/dev/null", os.O_RDONLY)
    try:
        with pytest.raises(OSError, match="Inappropriate ioctl"):
            uapi.allocate(null, 4096)
        with pytest.raises(OSError, match="Inappropriate ioctl"):
            uapi.set_name(null, b"x")
    finally:
        os.close(null)


def test_more_than_the_machine_has_is_never_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """The system heap would take all memory before it fails."""
    heap = Heap()
    monkeypatch.setattr(fcntl, "ioctl", heap.ioctl)
    with pytest.raises(OSError, match=os.strerror(errno.ENOMEM)):
        uapi.allocate(3, 1 << 50)


def test_the_number_of_set_name() -> None:
    assert 0x40006201 | ctypes.sizeof(ctypes.c_void_p) << 16 == uapi.DMA_BUF_SET_NAME


@pytest.mark.parametrize(
    "number", [errno.ENOMEM, errno.EINVAL, errno.ENOTTY, errno.EMFILE, errno.ENFILE, errno.EACCES, errno.ENOENT]
)
def test_a_refusal_says_what_to_do(number: int) -> None:
    error = uapi.refused("system", 4 << 20, OSError(number, "x"))
    assert error.errno == number
    assert str(error).startswith(f"cannot allocate 4.00 MiB from system: {errno.errorcode[number]} (")
    assert error.remedy
