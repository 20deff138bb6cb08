"""The ioctls of a heap and of a buffer, as the kernel takes them: what is copied in, checked, done and copied out.

`mainline` is drivers/dma-buf/dma-heap.c of 7.2 on, where a result that cannot be written back leaves no fd behind (in
5.6 to 7.1 one stayed open that nobody was told of); all else is alike since 5.6. `v4` is the RFC series of May 2019.

Pure: the caller's memory and table of descriptors, and the heap, are arguments. Every refusal is an OSError with the
kernel's errno.
"""

import errno
import os
import struct
from collections.abc import Callable
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Protocol

PAGE_BYTES: Final = 4096
U64_MAX: Final = (1 << 64) - 1
FD_FLAGS: Final = os.O_CLOEXEC | os.O_ACCMODE
"""DMA_HEAP_VALID_FD_FLAGS. O_ACCMODE itself (3) is in it: such a buffer can be neither read nor written."""
HEAP_FLAGS: Final = 0
"""DMA_HEAP_VALID_HEAP_FLAGS: none was ever defined."""
NAME_BYTES_MAX: Final = 31
"""DMA_BUF_NAME_LEN less its NUL."""

ALLOC: Final = 0xC0184800
ALLOC_V4: Final = 0xC0204800
SYNC: Final = 0x40086200
SET_NAME_A: Final = 0x40046201
SET_NAME_B: Final = 0x40086201

_IOC_WRITE: Final = 1 << 30
_IOC_READ: Final = 2 << 30
_DATA: Final = struct.Struct("=QIIQ")
_DATA_V4: Final = struct.Struct("=QIIQII")
_FD: Final = struct.Struct("=I")
_FD_AT: Final = 8
_SYNC_BYTES: Final = 8
_SYNC_DIRECTIONS: Final = 3
_SYNC_FLAGS: Final = 7


@dataclass(frozen=True, slots=True)
class Wanted:
    """A request for a buffer that passed the checks: whole pages, and the flags of the fd."""

    size_bytes: int
    fd_flags: int


class Caller(Protocol):
    """The process that asks, as copy_from_user and its like see it: EFAULT where there is no such memory."""

    def copy_in(self, address: int, count_bytes: int) -> bytes:
        """Read."""

    def copy_out(self, address: int, raw: bytes) -> None:
        """Write."""

    def string_in(self, address: int, count_bytes: int) -> bytes:
        """A C string without its NUL; the first `count_bytes` of one that is longer."""

    def has_room(self) -> bool:
        """Whether its table of descriptors takes one more."""

    def install(self, flags: int) -> int:
        """Open the buffer just allocated in its table: the fd's number. EMFILE where the table is full."""


class Mainline:
    """5.6 to 7.3: a command is known by its number alone, and brings as many bytes as it says."""

    name = "mainline"

    def node(self, heap: str) -> str:
        """A heap's node below /dev/dma_heap."""
        return heap

    def heap_ioctl(self, caller: Caller, command: int, argument: int, allocate: Callable[[Wanted], object]) -> None:
        """An ioctl of a heap's node, which is ALLOC or nothing. Of another number: EINVAL, never ENOTTY.

        What the command does not bring is zero, what it brings beyond the struct means nothing. It is written back as
        far as the command says, with the fd in it: perhaps not at all.
        """
        if command & 0xFF:
            raise _error(errno.EINVAL)
        size = command >> 16 & 0x3FFF
        raw = caller.copy_in(argument, size) if command & _IOC_WRITE else b""
        count_out = size if command & _IOC_READ else 0
        data = bytearray(raw.ljust(max(count_out, _DATA.size), b"\0"))
        wanted = check(*_DATA.unpack_from(data))
        allocate(wanted)
        try:
            caller.copy_out(argument, bytes(data[:count_out]))
        except OSError:
            if not caller.has_room():
                raise _error(errno.EMFILE) from None
            raise
        _FD.pack_into(data, _FD_AT, caller.install(wanted.fd_flags & os.O_CLOEXEC))
        caller.copy_out(argument, bytes(data[:count_out]))

    def buffer_ioctl(self, caller: Caller, command: int, argument: int, set_name: Callable[[bytes], None]) -> None:
        """An ioctl of a buffer (dma_buf_ioctl). Sync files are answered as without CONFIG_SYNC_FILE: ENOTTY."""
        if command == SYNC:
            _sync(caller, argument)
        elif command in (SET_NAME_A, SET_NAME_B):
            name = caller.string_in(argument, NAME_BYTES_MAX + 1)
            if len(name) > NAME_BYTES_MAX:
                raise _error(errno.EINVAL)
            set_name(name)
        else:
            raise _error(errno.ENOTTY)


class V4:
    """The RFC of May 2019: one command, with two reserved words that must be zero. Buffers had no names yet (5.3)."""

    name = "v4"

    def node(self, heap: str) -> str:
        """The system heap was called after its module."""
        return "system_heap" if heap == "system" else heap

    def heap_ioctl(self, caller: Caller, command: int, argument: int, allocate: Callable[[Wanted], object]) -> None:
        """ALLOC by its one command; ENOTTY for any other. The fd stays open where it cannot be written back."""
        if command != ALLOC_V4:
            raise _error(errno.ENOTTY)
        data = bytearray(caller.copy_in(argument, _DATA_V4.size))
        length, fd, fd_flags, heap_flags, *reserved = _DATA_V4.unpack(data)
        wanted = check(length, fd or any(reserved), fd_flags, heap_flags)
        allocate(wanted)
        _FD.pack_into(data, _FD_AT, caller.install(wanted.fd_flags & os.O_CLOEXEC))
        caller.copy_out(argument, bytes(data))

    def buffer_ioctl(self, caller: Caller, command: int, argument: int, _set_name: Callable[[bytes], None]) -> None:
        """SYNC alone."""
        if command != SYNC:
            raise _error(errno.ENOTTY)
        _sync(caller, argument)


Profile = Mainline | V4
PROFILES: Final = MappingProxyType({profile.name: profile for profile in (Mainline(), V4())})


def check(length: int, fd: int, fd_flags: int, heap_flags: int) -> Wanted:
    """The checks that both have (dma_heap_ioctl_allocate, dma_heap_buffer_alloc). PAGE_ALIGN wraps at 64 bits.

    Raises:
        OSError: EINVAL.
    """
    size_bytes = (length + PAGE_BYTES - 1) & U64_MAX & -PAGE_BYTES
    if fd or fd_flags & ~FD_FLAGS or heap_flags & ~HEAP_FLAGS or not size_bytes:
        raise _error(errno.EINVAL)
    return Wanted(size_bytes, fd_flags)


def _sync(caller: Caller, argument: int) -> None:
    """EINVAL for an unknown flag, and for no direction. The emulated buffers are coherent: there is nothing to do."""
    flags = int.from_bytes(caller.copy_in(argument, _SYNC_BYTES), "little")
    if flags & ~_SYNC_FLAGS or not flags & _SYNC_DIRECTIONS:
        raise _error(errno.EINVAL)


def _error(number: int) -> OSError:
    return OSError(number, os.strerror(number))
