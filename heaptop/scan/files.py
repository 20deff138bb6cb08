"""Reading the kernel's files: whole, bounded, with the errno where it fails."""

import errno
import os
from typing import Final

from heaptop.capture import Raw, ReadError

FILE_BYTES_MAX: Final = 64 << 20
_CHUNK_BYTES: Final = 64 << 10
_GONE: Final = (errno.ENOENT, errno.ESRCH, errno.ENOTDIR)
"""A process ended, or a file went away: it is simply not there."""


def read_file(path: str, folder: int | None = None) -> Raw | None:
    """A file's text, below the open `folder` where given; None where it is not, or no more, there."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    except OSError as error:
        return read_error("open", error)
    try:
        return _read(fd)
    except OSError as error:
        return read_error("read", error)
    finally:
        os.close(fd)


def read_error(call: str, error: OSError) -> ReadError | None:
    """Why a call failed; None where the file is not, or no more, there."""
    number = error.errno or errno.EIO
    return None if number in _GONE else ReadError(call, number)


def _read(fd: int) -> Raw:
    chunks = []
    left = FILE_BYTES_MAX
    while chunk := os.read(fd, _CHUNK_BYTES):
        chunks.append(chunk)
        left -= len(chunk)
        if left < 0:
            return ReadError("read", errno.EFBIG)
    return b"".join(chunks)
