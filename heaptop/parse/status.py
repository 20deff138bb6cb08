"""`/proc/P/status` (fs/proc/array.c proc_pid_status). The kernel escapes newline and backslash in `Name`
(ESCAPE_SPACE | ESCAPE_SPECIAL limited to those two), so no line can be forged.
"""

import re
from typing import NamedTuple

from heaptop.parse.text import check_whole, error_at
from heaptop.pattern import pattern

_LINE = pattern(rb"^([A-Za-z_]\w{0,63}):\t?([^\n]*)$", re.MULTILINE)
_NUMBER = pattern(rb"\d{1,20}")
_KB = pattern(rb" *(\d{1,20}) kB")
_ESCAPES = {rb"\n": b"\n", rb"\\": b"\\"}


class Status(NamedTuple):
    """`uid` and `gid` are real, effective, saved, file system; `nspid` is outermost first, empty where not told.

    `vmsize` and `vmrss` are in kB, None for a kernel thread.
    """

    name: bytes
    tgid: int
    pid: int
    ppid: int
    uid: tuple[int, int, int, int]
    gid: tuple[int, int, int, int]
    nspid: tuple[int, ...]
    vmsize: int | None
    vmrss: int | None
    threads: int


_REAL_UID = pattern(rb"^Uid:\t(\d{1,10})\t\d{1,10}\t\d{1,10}\t\d{1,10}$", re.MULTILINE)


def real_uid(data: bytes) -> int:
    """The real user alone, which is what most want.

    Raises:
        ParseError: the text is cut, or does not have it.
    """
    check_whole("status", data)
    match = _REAL_UID.search(data)
    if match is None:
        raise error_at("status", "Uid is absent or not four numbers", data)
    return int(match[1])


def parse(data: bytes) -> Status:
    """The lines of interest; others may come and go.

    Raises:
        ParseError: it is cut, or one of the lines of interest is absent or garbled.
    """
    check_whole("status", data)
    values: dict[bytes, bytes] = dict(_LINE.findall(data))
    return Status(
        name=re.sub(rb"\\[n\\]", lambda match: _ESCAPES[match[0]], values.get(b"Name", b"")),
        tgid=_numbers(data, values, b"Tgid", 1)[0],
        pid=_numbers(data, values, b"Pid", 1)[0],
        ppid=_numbers(data, values, b"PPid", 1)[0],
        uid=_four(data, values, b"Uid"),
        gid=_four(data, values, b"Gid"),
        nspid=_numbers(data, values, b"NSpid") if b"NSpid" in values else (),
        vmsize=_kb(data, values, b"VmSize"),
        vmrss=_kb(data, values, b"VmRSS"),
        threads=_numbers(data, values, b"Threads", 1)[0],
    )


def _numbers(data: bytes, values: dict[bytes, bytes], key: bytes, count: int | None = None) -> tuple[int, ...]:
    words = values.get(key, b"").split()
    if not all(map(_NUMBER.fullmatch, words)) or (count is not None and len(words) != count):
        raise error_at("status", f"{key.decode()} is absent or not numbers", data, max(0, data.find(b"\n" + key) + 1))
    return tuple(map(int, words))


def _four(data: bytes, values: dict[bytes, bytes], key: bytes) -> tuple[int, int, int, int]:
    real, effective, saved, file_system = _numbers(data, values, key, 4)
    return real, effective, saved, file_system


def _kb(data: bytes, values: dict[bytes, bytes], key: bytes) -> int | None:
    if key not in values:
        return None
    match = _KB.fullmatch(values[key])
    if match is None:
        raise error_at("status", f"{key.decode()} is not in kB", data, max(0, data.find(b"\n" + key) + 1))
    return int(match[1])
