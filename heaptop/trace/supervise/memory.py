"""The memory of another process, as far as its own mappings allow (process_vm_readv(2))."""

import contextlib
import errno
import os
import platform
from collections.abc import Iterator
from typing import Final

from heaptop.pattern import pattern
from heaptop.trace.supervise import _native

_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")
_ADDRESS_MASK: Final = (1 << 56) - 1 if platform.machine() == "aarch64" else (1 << 64) - 1
"""arm64 programs may keep a tag in an address's top byte (Android's heap does)."""

_MAPPING: Final = pattern(rb"([0-9a-f]+)-([0-9a-f]+) (..)")


def read(tid: int, address: int, count_bytes: int) -> bytes:
    """All of these bytes.

    Raises:
        OSError: EFAULT where not all can be read, ESRCH: the process is gone, EPERM.
    """
    if not count_bytes:
        return b""
    got = _native.read(tid, address & _ADDRESS_MASK, count_bytes)
    if isinstance(got, bytes):
        return got
    if got != -errno.ENOSYS:
        raise _error(-got)
    return read_file(tid, address, count_bytes)


def write(tid: int, address: int, raw: bytes) -> None:
    """Write all of it.

    Raises:
        OSError: as `read`; EFAULT too where the process itself could not write there.
    """
    if raw:
        failed = _native.write(tid, address & _ADDRESS_MASK, raw)
        if failed == -errno.ENOSYS:  # a kernel without CONFIG_CROSS_MEMORY_ATTACH
            write_file(tid, address, raw)
        elif failed:
            raise _error(-failed)


def read_string(tid: int, address: int, count_bytes: int) -> bytes:
    """A C string without its NUL, or the first bytes of one that has no NUL among `count_bytes`.

    It is read up to the end of a page first: what follows the NUL need not be there.

    Raises:
        OSError: as `read`.
    """
    first = min(count_bytes, _PAGE_BYTES - address % _PAGE_BYTES)
    found = read(tid, address, first)
    if b"\0" not in found and first < count_bytes:
        found += read(tid, address + first, count_bytes - first)
    return found.partition(b"\0")[0]


def process_of(tid: int) -> int:
    """The process that a thread belongs to.

    Raises:
        OSError: it is gone.
    """
    with open(f"/proc/{tid}/status", "rb") as status:
        return next(int(line.split()[1]) for line in status if line.startswith(b"Tgid:"))


def read_file(tid: int, address: int, count_bytes: int) -> bytes:
    """As `read`, by /proc/TID/mem, which would also read where the process itself may not."""
    at = _mapped(tid, address, count_bytes, b"r")
    with _memory_file(tid, os.O_RDONLY) as fd:
        return os.pread(fd, count_bytes, at)


def write_file(tid: int, address: int, raw: bytes) -> None:
    """As `write`, likewise."""
    at = _mapped(tid, address, len(raw), b"w")
    with _memory_file(tid, os.O_WRONLY) as fd:
        os.pwrite(fd, raw, at)


def _mapped(tid: int, address: int, count_bytes: int, right: bytes) -> int:
    """The address, all of whose bytes are mapped with that right; else EFAULT."""
    start = at = address & _ADDRESS_MASK
    with open(f"/proc/{tid}/maps", "rb") as maps:
        for match in filter(None, map(_MAPPING.match, maps)):
            if int(match[1], 16) <= at < int(match[2], 16) and right in match[3]:
                at = int(match[2], 16)
                if at >= start + count_bytes:
                    return start
    raise _error(errno.EFAULT)


@contextlib.contextmanager
def _memory_file(tid: int, access: int) -> Iterator[int]:
    """/proc/TID/mem. A page that is not there after all (EIO) is EFAULT."""
    fd = os.open(f"/proc/{tid}/mem", access | os.O_CLOEXEC)
    try:
        yield fd
    except OSError as error:
        raise _error(errno.EFAULT if error.errno == errno.EIO else error.errno or errno.EIO) from error
    finally:
        os.close(fd)


def _error(number: int) -> OSError:
    return OSError(number, os.strerror(number))
