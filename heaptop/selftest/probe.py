"""A heap under test: raw ioctls with any arguments, and an account of every descriptor."""

import ctypes
import errno
import fcntl
import mmap
import os
import re
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

from heaptop.pattern import pattern

MAINLINE: Final = 0xC0184800
V4: Final = 0xC0204800
OLDER: Final = 0xC0104800
NEWER: Final = 0xC0304800
"""ALLOC with structs of 24, 32, 16 and 48 bytes."""
SYNC: Final = 0x40086200
SET_NAME: Final = 0x40086201 if struct.calcsize("P") == 8 else 0x40046201
EXPORT_SYNC_FILE: Final = 0xC0086202
IMPORT_SYNC_FILE: Final = 0x40086203
PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")
MIB: Final = 1 << 20
RDWR: Final = os.O_RDWR | os.O_CLOEXEC
_DATA: Final = struct.Struct("=QIIQ")
_DMABUF_MAGIC: Final = 0x444D4142
_STATFS_BYTES: Final = 256
_UNMAPPABLE: Final = pattern(r"secure|protect|trust", re.IGNORECASE)
_libc: Final = ctypes.CDLL(None, use_errno=True)
_libc.ioctl.argtypes = (ctypes.c_int, ctypes.c_ulong, ctypes.c_void_p)


class Failed(Exception):  # noqa: N818  (a verdict)
    """The ABI does not hold: what was expected, and what was found."""


class Skipped(Exception):  # noqa: N818  (a verdict)
    """This cannot be tested here, and why."""


class KnownError(Exception):
    """It does not hold on kernels where that is known."""


def check(holds: bool, *, why: str) -> None:
    """Failed where it does not hold."""
    if not holds:
        raise Failed(why)


def ioctl(fd: int, command: int, argument: bytearray | int) -> int:
    """The errno of the call, 0 where it succeeds. `argument` is a buffer or a raw address."""
    pointer = ctypes.c_void_p(argument) if isinstance(argument, int) else _view(argument)
    while _libc.ioctl(fd, command, pointer) < 0:
        number = ctypes.get_errno()
        if number != errno.EINTR:
            return number
    return 0


def _view(raw: bytearray) -> "ctypes.Array[ctypes.c_char]":
    return (ctypes.c_char * len(raw)).from_buffer(raw)


def expect(number: int, *expected: int, what: str) -> None:
    """Failed unless the errno is one of those."""
    if number not in expected:
        wanted = " or ".join(_name(each) for each in expected)
        raise Failed(f"{what}: expected {wanted}, got {_name(number)}")


def _name(number: int) -> str:
    return errno.errorcode.get(number, str(number)) if number else "success"


class Probe:
    """The heap that is open as `node`. `is_v4` says which ABI it speaks."""

    def __init__(self, node: int, name: str) -> None:
        self.node = node
        self.name = name
        self.is_v4 = (
            ioctl(node, MAINLINE, bytearray(24)) == errno.ENOTTY and ioctl(node, V4, bytearray(32)) != errno.ENOTTY
        )
        self._before = open_fds()
        self._mappings: list[mmap.mmap] = []

    @property
    def command(self) -> int:
        """The number of ALLOC."""
        return V4 if self.is_v4 else MAINLINE

    def request(
        self, length: int, *, fd: int = 0, fd_flags: int = RDWR, heap_flags: int = 0, tail: bytes = b""
    ) -> bytearray:
        """The struct, as long as this ABI has it."""
        return bytearray(_DATA.pack(length, fd, fd_flags, heap_flags) + (tail or bytes(8 if self.is_v4 else 0)))

    def refusal(self, length: int, *, fd: int = 0, fd_flags: int = RDWR, heap_flags: int = 0) -> int:
        """The errno of ALLOC; 0 where it gave a buffer."""
        return ioctl(self.node, self.command, self.request(length, fd=fd, fd_flags=fd_flags, heap_flags=heap_flags))

    def allocate(self, length: int, fd_flags: int = RDWR) -> int:
        """A buffer's descriptor. Failed where it is refused, Skipped where there is no memory for a large one."""
        request = self.request(length, fd_flags=fd_flags)
        number = ioctl(self.node, self.command, request)
        if number == errno.ENOMEM and length >= MIB:
            raise Skipped(f"no memory for {length >> 20} MiB")
        expect(number, 0, what=f"ALLOC of {length} bytes")
        return fd_of(request)

    def map(
        self, fd: int, length: int, *, access: int = mmap.PROT_READ | mmap.PROT_WRITE, offset: int = 0
    ) -> mmap.mmap:
        """A shared mapping. Failed where it is refused; Skipped where that is what such a heap is for."""
        try:
            mapping = mmap.mmap(fd, length, mmap.MAP_SHARED, access, offset=offset)
        except OSError as error:
            if _UNMAPPABLE.search(self.name):
                raise Skipped("buffers of this heap cannot be mapped") from error
            raise Failed(f"mmap of {length} bytes: {_name(error.errno or 0)}") from error
        self._mappings.append(mapping)
        return mapping

    def refused_map(self, fd: int, access: int, length: int = PAGE_BYTES) -> int:
        """The errno of a mapping; 0 where it succeeds."""
        try:
            mmap.mmap(fd, length, mmap.MAP_SHARED, access).close()
        except OSError as error:
            return error.errno or errno.EIO
        return 0

    def demand_dmabuf(self, fd: int) -> None:
        """Skipped where the emulator gave a memfd, which behaves otherwise here."""
        if not is_dmabuf(fd):
            raise Skipped("the emulator's buffer is a memfd, which differs here")

    def left_open(self) -> list[int]:
        """Descriptors that were not there at first."""
        return sorted(open_fds() - self._before)

    def clean(self) -> None:
        """Give back all that the test made."""
        for mapping in self._mappings:
            with suppress(BufferError):
                mapping.close()
        self._mappings.clear()
        for fd in self.left_open():
            os.close(fd)


def fd_of(request: bytearray) -> int:
    """What the kernel wrote into the field fd."""
    return int(_DATA.unpack_from(request)[1])


def open_fds() -> set[int]:
    """All descriptors of this process."""
    return {fd for fd in map(int, os.listdir("/proc/self/fd")) if _is_open(fd)}


def _is_open(fd: int) -> bool:
    """Not the listing's own."""
    with suppress(OSError):
        fcntl.fcntl(fd, fcntl.F_GETFD)
        return True
    return False


def is_dmabuf(fd: int) -> bool:
    """Whether the file system is dma-buf's (fstatfs, 5.3 on) or the link says so (up to 5.2)."""
    room = ctypes.create_string_buffer(_STATFS_BYTES)
    if _libc.fstatfs(fd, room) == 0 and ctypes.c_long.from_buffer(room).value == _DMABUF_MAGIC:
        return True
    return os.readlink(f"/proc/self/fd/{fd}").startswith("anon_inode:dmabuf")


@contextmanager
def read_only(raw: bytes) -> Iterator[int]:
    """The address of these bytes in a page that can only be read."""
    page = mmap.mmap(-1, PAGE_BYTES)
    page[: len(raw)] = raw
    address = ctypes.addressof(ctypes.c_char.from_buffer(page))
    _libc.mprotect.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    _libc.mprotect(address, PAGE_BYTES, mmap.PROT_READ)
    try:
        yield address
    finally:
        _libc.mprotect(address, PAGE_BYTES, mmap.PROT_READ | mmap.PROT_WRITE)
