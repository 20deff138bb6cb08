"""Reading another process's memory, by process_vm_readv(2)."""

import ctypes
import errno
import mmap
import os
from typing import Final

READ_BYTES_MAX: Final = 4 << 20
_PAGE_BYTES: Final = mmap.PAGESIZE
_PARTS_MAX: Final = 1024
"""IOV_MAX of Linux."""


class _Part(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


_libc = ctypes.CDLL(None, use_errno=True)
_readv = _libc.process_vm_readv
_readv.restype = ctypes.c_ssize_t
_readv.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_ulong, ctypes.c_void_p, ctypes.c_ulong, ctypes.c_ulong)


class Memory:
    """The memory of one process. Its buffer is used again, so one object serves one thread."""

    def __init__(self, pid: int) -> None:
        self.pid = pid

    def read(self, address: int, length_bytes: int) -> bytes:
        """So many bytes, or as many as there are up to the first page that is not there: none where the process is
        gone or may not be read. Raises nothing.
        """
        length = min(length_bytes, READ_BYTES_MAX, (1 << 64) - max(0, address))
        if length <= 0 or address < 0:
            return b""
        buffer = ctypes.create_string_buffer(length)
        here = _Part(ctypes.addressof(buffer), length)
        # One part for each page: the kernel stops at the first part that it cannot read whole.
        first = _PAGE_BYTES - address % _PAGE_BYTES
        count = 1 + (max(0, length - first) + _PAGE_BYTES - 1) // _PAGE_BYTES
        parts = (_Part * min(count, _PARTS_MAX))()
        at, left = address, length
        for part in parts:
            size = min(left, _PAGE_BYTES - at % _PAGE_BYTES)
            part.base, part.length = at, size
            at, left = at + size, left - size
        got = _readv(self.pid, ctypes.addressof(here), 1, ctypes.addressof(parts), len(parts), 0)
        if got < 0 and ctypes.get_errno() == errno.ENOSYS:
            return _read_file(self.pid, address, length)
        return buffer.raw[:got] if got > 0 else b""

    def word(self, address: int) -> int | None:
        """Eight bytes; None where they cannot be read."""
        data = self.read(address, 8)
        return int.from_bytes(data, "little") if len(data) == 8 else None


def _read_file(pid: int, address: int, length_bytes: int) -> bytes:
    """The same from /proc/PID/mem, for kernels without CONFIG_CROSS_MEMORY_ATTACH."""
    try:
        fd = os.open(f"/proc/{pid}/mem", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return b""
    parts: list[bytes] = []
    end = address + length_bytes
    try:
        while address < end:
            part = os.pread(fd, min(end - address, _PAGE_BYTES - address % _PAGE_BYTES), address)
            if not part:
                break
            parts.append(part)
            address += len(part)
    except (OSError, OverflowError):
        pass
    finally:
        os.close(fd)
    return b"".join(parts)


def identity(tid: int) -> bytes | None:
    """What tells the memory of a thread from what it has after execve(2): the auxiliary vector, which has addresses
    that are random at each. None where the process is gone.
    """
    try:
        fd = os.open(f"/proc/{tid}/auxv", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        return os.read(fd, 4096)
    except OSError:
        return None
    finally:
        os.close(fd)
