r"""`/proc/P/fdinfo/N` (fs/proc/fd.c seq_show, drivers/dma-buf/dma-buf.c dma_buf_show_fdinfo; 5.3 to 7.3).

    pos:	0            any file
    flags:	02000002
    mnt_id:	9
    ino:	18           from 5.14 on
    lock:	1: POSIX ...  only while locked
    size:	4194304      a dma-buf, from here on
    count:	3
    exp_name:	system
    name:	preview      absent for an unnamed buffer

The name comes last and is printed raw: up to 31 bytes of anything but NUL, newlines too, so it can imitate every key
but not come before the real ones. All is therefore anchored on the kernel's order, and the name is all that is left.
"""

import re
from typing import NamedTuple

from heaptop.compiled import compiled
from heaptop.errors import ParseError
from heaptop.parse.text import error_at
from heaptop.pattern import pattern

_quick = compiled("heaptop.parse._quick")
_COMMON = rb"pos:\t(-?\d{1,19})\nflags:\t(0[0-7]{1,22})\nmnt_id:\t(-?\d{1,10})\n"
_HEAD = pattern(_COMMON)
_BEFORE_SIZE = pattern(_COMMON + rb"(?:ino:\t\d{1,20}\n)?(?:lock:[^\n]*\n)*")
_DMABUF = pattern(
    _COMMON + rb"(?:ino:\t(\d{1,20})\n)?(?:lock:[^\n]*\n)*"
    rb"size:\t(\d{1,20})\ncount:\t(-?\d{1,19})\nexp_name:\t([^\n]*)\n(?:name:\t(.*)\n)?",
    re.DOTALL,
)


class Common(NamedTuple):
    """What every fdinfo begins with. `flags` as of open(2), O_CLOEXEC included."""

    pos: int
    flags: int
    mnt_id: int


class DmabufFdinfo(NamedTuple):
    """A dma-buf's fdinfo. `size` in bytes; `file_count` are the references to its file, the reading's own taken off.

    `ino` is None before 5.14, `name` where none was ever set (an empty name is empty).
    """

    pos: int
    flags: int
    mnt_id: int
    ino: int | None
    size: int
    file_count: int
    exp_name: bytes
    name: bytes | None


def common(data: bytes) -> Common:
    """Position, flags and mount of any file.

    Raises:
        ParseError: it does not begin as an fdinfo does.
    """
    match = _HEAD.match(data)
    if match is None:
        raise error_at("fdinfo", "not pos, flags, mnt_id", data)
    return Common(int(match[1]), int(match[2], 8), int(match[3]))


def parse(data: bytes) -> DmabufFdinfo | None:
    """The dma-buf, or None: an fdinfo in order, of a file that is not a dma-buf or (up to 5.2) tells nothing of it.

    Raises:
        ParseError: not an fdinfo, or a dma-buf's that is cut or garbled.
    """
    if _quick is not None and (values := _quick.fdinfo(data)) is not None:
        return DmabufFdinfo._make(values)
    match = _DMABUF.fullmatch(data)
    if match is None:
        if _is_of_another_file(data):
            return None
        raise _broken(data)
    pos, flags, mnt_id, ino, size, count, exp_name, name = match.groups()
    return DmabufFdinfo(
        int(pos), int(flags, 8), int(mnt_id), None if ino is None else int(ino), int(size), int(count), exp_name, name
    )


def _is_of_another_file(data: bytes) -> bool:
    begin = _BEFORE_SIZE.match(data)
    return begin is not None and data.endswith(b"\n") and not data.startswith(b"size:", begin.end())


def _broken(data: bytes) -> ParseError:
    begin = _BEFORE_SIZE.match(data)
    if begin is None:
        return error_at("fdinfo", "not pos, flags, mnt_id", data)
    return error_at("fdinfo", "not a dma-buf's size, count, exp_name, name", data, begin.end())
