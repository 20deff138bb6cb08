r"""Which file of a recording is which part of a `Capture`, and the capture that such files are. Pure.

Members are files by their path in the recording: text, or why it could not be read.
"""

import errno
import json
import math
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from heaptop.capture import Capture, FdLink, FdStat, FdTable, ProcessCapture, Raw, ReadError, Reading, TaskCapture
from heaptop.pattern import pattern
from heaptop.sources import SOURCES

ABOUT: Final = "heaptop.json"
LINKS: Final = "links.txt"
TREES: Final = ("proc", "sys", "dev", "bpf", "dump", "heaptop")
"""Folders that mirror real paths, the answers of heaptop's own BPF programs, what other tools said, and what heaptop
itself saw.
"""
DAMAGE: Final = "recording"
"""The path in `Capture.files` that says that the recording itself is damaged."""
GONE: Final = "gone.txt"
"""Of a moment of many: members of the moment before that are not there any more, a path on each line, escaped."""
TOP_FILES: Final = frozenset({"dev.ls", "uname", "config", "dmesg.cma-dma", "tracing-events.cma-dma", DAMAGE})
"""Texts at the top: what tools say, not files of the kernel."""

ERROR: Final = ".error"
_NUMBER: Final = "(0|[1-9][0-9]{0,9})"
_PROCESS_FILE: Final = pattern(f"proc/{_NUMBER}(?:/task/{_NUMBER})?(?:/(.+))?", re.DOTALL)
FDINFO: Final = pattern(f"fdinfo/{_NUMBER}")
_LINK_ROW: Final = pattern(rb"([0-9]{1,10}) -> (.*)")
_OCTAL: Final = pattern(rb"\\([0-3][0-7]{2})")
_ERROR_TEXT: Final = pattern(r"([A-Za-z_]+): (.*?)\n?")
_UNKNOWN_ERRNO: Final = pattern(r"Unknown error (-?[0-9]{1,9})")
_ERRNO: Final[Mapping[str, int]] = {
    # As musl and bionic word them.
    "I/O error": errno.EIO,
    "Out of memory": errno.ENOMEM,
    "Operation timed out": errno.ETIMEDOUT,
    "Not a tty": errno.ENOTTY,
    "Not supported": errno.ENOTSUP,
    "Resource temporarily unavailable": errno.EAGAIN,
} | {os.strerror(number): number for number in errno.errorcode}


def is_wanted(name: str) -> bool:
    """Whether a file of this path in a recording is part of the capture (`truth.json` of a test is not)."""
    top, slash, _ = name.removesuffix(ERROR).partition("/")
    return top in TREES if slash else top in TOP_FILES or name in (ABOUT, LINKS, GONE)


class Place(NamedTuple):
    """Where a path belongs: system-wide where `pid` is None; in the process's own table where `tid` is None.

    `name` is the path, or the part below /proc/PID or /proc/PID/task/TID; a folder of these that cannot be read is
    an fd table that cannot be read.
    """

    pid: int | None
    tid: int | None
    name: str


def place_of(path: str) -> Place:
    """Where a member of this path belongs, without `.error`."""
    match = _PROCESS_FILE.fullmatch(path)
    if match is None:
        return Place(None, None, path)
    pid, tid, name = match.groups()
    return Place(int(pid), None if tid is None else int(tid), name or "fd")


# Reading


class _Task:
    """A process or thread in the making: its files by name, those of its fd table among them."""

    __slots__ = ("files", "threads")

    def __init__(self) -> None:
        self.files: dict[str, Raw] = {}
        self.threads: dict[int, _Task] = {}


def capture_of(members: Mapping[str, Raw], source: str) -> Capture:
    """The capture that these members are. Whatever they hold, this does not fail."""
    system: dict[str, Raw] = {}
    groups: dict[int, dict[str, Raw]] = {}
    for path, raw in members.items():
        pid = pid_of(path)
        (system if pid is None else groups.setdefault(pid, {}))[path] = raw
    return assembled(system, (process_of(pid, group) for pid, group in sorted(groups.items())), source)


def pid_of(path: str) -> int | None:
    """The process whose part a member is; None for a system-wide one."""
    return place_of(path.removesuffix(ERROR)).pid


def assembled(system: Mapping[str, Raw], processes: Iterable[ProcessCapture], source: str) -> Capture:
    """The capture of these system-wide members and these processes, by rising pid."""
    files = dict(_with_errors(system))
    files.pop(ABOUT, None)
    files.pop(GONE, None)
    links = files.pop(LINKS, b"")
    about = _about(system.get(ABOUT, b""))
    return Capture(
        source=source,
        captured_at=about.captured_at,
        files=MappingProxyType(files),
        links=MappingProxyType(_links_of(links) if isinstance(links, bytes) else {}),
        processes=tuple(processes),
        processes_seen=about.processes_seen,
        off=about.off,
        older=MappingProxyType(about.older),
    )


def _with_errors(members: Mapping[str, Raw]) -> Iterator[tuple[str, Raw]]:
    """Members with each `X.error` as the error of X, which stands even where a part of X was read."""
    for path, raw in members.items():
        if path.endswith(ERROR):
            yield path.removesuffix(ERROR), _error_of(raw) if isinstance(raw, bytes) else raw
        elif path + ERROR not in members:
            yield path, raw


def _error_of(raw: bytes) -> ReadError:
    match = _ERROR_TEXT.fullmatch(raw.decode("utf-8", "replace"))
    if match is None:
        return ReadError("read", errno.EIO)
    call, text = match.groups()
    unknown = _UNKNOWN_ERRNO.fullmatch(text)
    return ReadError(call, int(unknown[1]) if unknown else _ERRNO.get(text, errno.EIO))


def process_of(pid: int, members: Mapping[str, Raw]) -> ProcessCapture:
    """The process that these members are, all of `pid`."""
    task = _Task()
    for path, raw in _with_errors(members):
        _, tid, name = place_of(path)
        (task if tid is None else task.threads.setdefault(tid, _Task())).files[name] = raw
    files, table = _split(task.files)
    threads = tuple(TaskCapture(tid, *_split(thread.files)) for tid, thread in sorted(task.threads.items()))
    return ProcessCapture(pid, files, table, threads)


def _split(files: Mapping[str, Raw]) -> tuple[Mapping[str, Raw], FdTable]:
    """A process's or thread's own files, and those that are its fd table."""
    own: dict[str, Raw] = {}
    table: dict[str, Raw] = {}
    fdinfo: dict[int, Raw] = {}
    for name, raw in files.items():
        match = FDINFO.fullmatch(name)
        if match is not None:
            fdinfo[int(match[1])] = raw
        elif name in ("fd", "fd.json", "fd.links"):
            table[name] = raw
        else:
            own[name] = raw
    links, error = _fd_links(table)
    return MappingProxyType(own), FdTable(links, MappingProxyType(fdinfo), error)


def _fd_links(table: Mapping[str, Raw]) -> tuple[tuple[FdLink, ...], ReadError | None]:
    """An fd table from fd.json (which has raw targets and stat), made whole by fd.links where fd.json is damaged."""
    links, is_whole = _json_links(table["fd.json"]) if "fd.json" in table else ({}, False)
    if not is_whole and "fd.links" in table:
        rows, rows_are_whole = _text_links(table["fd.links"])
        links = rows | links
        is_whole = rows_are_whole and "fd.json" not in table
    error = table.get("fd")
    if not isinstance(error, ReadError):
        was_listed = "fd.json" in table or "fd.links" in table
        error = ReadError("read", errno.EBADMSG) if was_listed and not is_whole else None
    return tuple(links[fd] for fd in sorted(links)), error


def _json_links(raw: Raw) -> tuple[dict[int, FdLink], bool]:
    """The links in fd.json, and whether it is whole."""
    rows, is_whole = _json_rows(raw) if isinstance(raw, bytes) else ([], False)
    links = [_fd_link(row) for row in rows]
    return {link.fd: link for link in links if link is not None}, is_whole and None not in links


def _text_links(raw: Raw) -> tuple[dict[int, FdLink], bool]:
    """The links in fd.links, and whether it is whole."""
    if not isinstance(raw, bytes):
        return {}, False
    *lines, rest = raw.split(b"\n")
    matches = [_LINK_ROW.fullmatch(line) for line in lines]
    found = (FdLink(int(match[1]), unescape(match[2])) for match in matches if match is not None)
    return {link.fd: link for link in found}, None not in matches and not rest


def _json_rows(text: bytes) -> tuple[list[Any], bool]:
    """The rows of fd.json, and whether it is whole. Of a damaged one, the rows that stand on a line of their own."""
    try:
        rows = json.loads(text)
        if isinstance(rows, list):
            return rows, True
    except (ValueError, RecursionError):
        pass
    rows = []
    for line in text.splitlines():
        try:
            rows.append(json.loads(line.strip().rstrip(b",")))
        except (ValueError, RecursionError):
            continue
    return rows, False


def _fd_link(row: Any) -> FdLink | None:
    """One row of fd.json; None where it is not one."""
    try:
        fd, target = row["fd"], row["target"]
        if type(fd) is not int or not 0 <= fd < 1 << 31:
            return None
        stat = _fd_stat(row) if row.get("stat_rc", -1) == 0 else None
        return FdLink(fd, _bytes_of(target), stat, int(row.get("link_mode", "0"), 8))
    except (LookupError, TypeError, ValueError, AttributeError, OverflowError):
        return None


def _fd_stat(row: Mapping[str, Any]) -> FdStat:
    major, minor = row["st_dev"].split(":")
    inode, size_bytes, nlink, blocks = (int(row[key]) for key in ("st_ino", "st_size", "st_nlink", "st_blocks"))
    return FdStat((int(major), int(minor)), inode, size_bytes, int(row["st_mode"], 8), nlink, blocks)


def _bytes_of(target: str) -> bytes:
    """Raw bytes of a JSON string: one character a byte, or UTF-8 where a character is no byte."""
    try:
        return target.encode("latin-1")
    except UnicodeEncodeError:
        return target.encode("utf-8", "surrogatepass")


def _links_of(text: bytes) -> dict[str, bytes]:
    links = {}
    for line in text.split(b"\n"):
        path, arrow, target = line.partition(b" -> ")
        if arrow:
            links[unescape(path).decode("utf-8", "surrogateescape").lstrip("/")] = unescape(target)
    return links


class _About(NamedTuple):
    """What heaptop.json says of a capture, as far as it says so."""

    captured_at: float | None = None
    processes_seen: int | None = None
    off: frozenset[str] = frozenset()
    older: Mapping[str, Reading] = MappingProxyType({})


def _about(raw: Raw) -> _About:
    try:
        about = json.loads(raw) if isinstance(raw, bytes) else {}
        at, seen, off, older = (about.get(key) for key in ("captured_at", "processes_seen", "off", "older"))
    except (ValueError, RecursionError, AttributeError):
        return _About()
    return _About(
        captured_at=_number(at),
        processes_seen=seen if type(seen) is int and seen >= 0 else None,
        off=frozenset(name for name in off if name in SOURCES) if isinstance(off, list) else frozenset(),
        older={path: Reading(*row) for path, row in older.items() if _is_reading(row)}
        if isinstance(older, dict)
        else {},
    )


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and abs(value) < 1e15 and math.isfinite(value) else None


def _is_reading(row: object) -> bool:
    return isinstance(row, list) and len(row) == 2 and None not in map(_number, row)


def escape(raw: bytes) -> bytes:
    r"""Bytes on one line without tabs: tab, line feed, carriage return and backslash as `\\ooo`."""
    return b"".join(b"\\%03o" % byte if byte in b"\t\n\r\\" else bytes((byte,)) for byte in raw)


def unescape(text: bytes) -> bytes:
    """What `escape` was given."""
    return _OCTAL.sub(lambda match: bytes((int(match[1], 8),)), text)
