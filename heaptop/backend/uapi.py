"""The dma-heap's and dma-buf's ioctls (uapi/linux/dma-heap.h, uapi/linux/dma-buf.h)."""

import errno
import fcntl
import os
import struct
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from heaptop.errors import AllocationError, UsageError
from heaptop.units import SIZE_BYTES_MAX, format_size

DMA_HEAP_IOCTL_ALLOC: Final = 0xC0184800
"""`_IOWR('H', 0, struct dma_heap_allocation_data)`: __u64 len, __u32 fd, __u32 fd_flags, __u64 heap_flags (5.6 on)."""
DMA_HEAP_IOC_ALLOC_V4: Final = 0xC0204800
"""The same with two reserved __u32 behind: RFC v4, which knows no other number."""
DMA_BUF_SET_NAME: Final = 0x40086201 if struct.calcsize("P") == 8 else 0x40046201
"""`_IOW('b', 1, __u64)` (DMA_BUF_SET_NAME_B); 32-bit programs have the _A of 4 bytes. 5.3 on."""
DMA_BUF_IOCTL_SYNC: Final = 0x40086200
"""`_IOW('b', 0, struct dma_buf_sync)`, one __u64 of the flags below (4.6 to 7.3)."""
SYNC_READ: Final = 1
SYNC_WRITE: Final = 2
_SYNC_END: Final = 4
_SYNC_TRIES: Final = 100
NAME_BYTES_MAX: Final = 31
"""DMA_BUF_NAME_LEN less its NUL."""
_FD_FLAGS: Final = os.O_RDWR | os.O_CLOEXEC
_DATA: Final = struct.Struct("=QIIQ")

_REMEDIES: Final = {
    errno.ENOMEM: "ask for less, or free memory: the CMA view shows what is in the way of a CMA heap",
    errno.EINVAL: "the heap takes no such size",
    errno.ENOTTY: "this file is no dma-heap",
    errno.EMFILE: "free test buffers, or raise `ulimit -n`",
    errno.ENFILE: "the system has no file left: close programs, or raise fs.file-max",
    errno.EACCES: "run as root, or as a member of the group that the heap belongs to",
    errno.EPERM: "run as root",
    errno.ENOENT: "`heaptop heaps` lists the heaps that there are",
    errno.ENODEV: "the heap is gone: `heaptop heaps` lists those that there are",
    errno.EBUSY: "the heap is not ready: try again later",
    errno.EINTR: "the request was interrupted: try again",
}


def allocate(heap: int, size_bytes: int) -> int:
    """A new buffer's fd (O_RDWR, close on exec) from the heap that is open as `heap`. Interrupted calls are repeated.

    Raises:
        OSError: the heap's errno; EINVAL for a size that no request can hold; ENOMEM for more than this machine has.
    """
    if not 0 < size_bytes <= SIZE_BYTES_MAX:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
    # From 5.11 on the system heap would take all memory before it fails, and the OOM killer end bystanders.
    if size_bytes > os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"):
        raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))
    request = bytearray(_DATA.pack(size_bytes, 0, _FD_FLAGS, 0))
    try:
        _ioctl(heap, DMA_HEAP_IOCTL_ALLOC, request)
    except OSError as error:
        if error.errno != errno.ENOTTY:
            raise
        request += bytes(8)
        _ioctl(heap, DMA_HEAP_IOC_ALLOC_V4, request)
    return int(_DATA.unpack_from(request)[1])


def set_name(buffer: int, name: bytes) -> None:
    """Name a buffer.

    Raises:
        OSError: ENOTTY up to 5.2, which has no names.
    """
    _ioctl(buffer, DMA_BUF_SET_NAME, bytearray(name + b"\0"))


@contextmanager
def synced(buffer: int, access: int) -> Iterator[None]:
    """CPU access to a mapped buffer between SYNC start and end; `access` is SYNC_READ, SYNC_WRITE or both.

    The start waits for the buffer's fences, however long they take. The emulator's buffers are memfds, which know no
    SYNC and need none: they answer ENOTTY.

    Raises:
        OSError: the exporter's; EINTR or EAGAIN where it says so again and again.
    """
    _sync(buffer, access)
    try:
        yield
    finally:
        _sync(buffer, access | _SYNC_END)


def _sync(buffer: int, flags: int) -> None:
    argument = flags.to_bytes(8, sys.byteorder)
    for tries_left in reversed(range(_SYNC_TRIES)):
        try:
            fcntl.ioctl(buffer, DMA_BUF_IOCTL_SYNC, argument)
        except OSError as error:
            if error.errno == errno.ENOTTY:
                return
            if error.errno not in (errno.EINTR, errno.EAGAIN) or not tries_left:
                raise
        else:
            return


def check_name(name: bytes) -> None:
    """That a buffer can have this name.

    Raises:
        UsageError: it has a NUL or is too long.
    """
    if len(name) > NAME_BYTES_MAX or b"\0" in name:
        raise UsageError(
            "this name does not fit a buffer", "", f"it can have at most {NAME_BYTES_MAX} bytes, and no NUL"
        )


def refused(heap: str, size_bytes: int, error: OSError) -> AllocationError:
    """What a heap's errno means to the user."""
    number = error.errno or errno.EIO
    return AllocationError(f"cannot allocate {format_size(size_bytes)} from {heap}", number, _REMEDIES.get(number, ""))


def _ioctl(fd: int, request: int, argument: bytearray) -> None:
    while True:
        try:
            fcntl.ioctl(fd, request, argument)
        except InterruptedError:
            continue
        return
