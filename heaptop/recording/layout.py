r"""Which file of a recording is which part of a `Capture`, in both directions. Pure.

Members are files by their path in the recording: text, or why it could not be read.
"""

import errno
import json
import math
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from heaptop.capture import Capture, FdLink, FdStat, FdTable, ProcessCapture, Raw, ReadError, Reading, TaskCapture
from heaptop.errors import RecordingError
from heaptop.sources import SOURCES

SCHEMA: Final = "heaptop-recording/1"
ABOUT: Final = "heaptop.json"
LINKS: Final = "links.txt"
TREES: Final = ("proc", "sys", "dev", "bpf", "dump")
"""Folders that mirror real paths, the answers of heaptop's own BPF programs, and what other tools said."""
DAMAGE: Final = "recording"
"""The path in `Capture.files` that says that the recording itself is damaged."""
TOP_FILES: Final = frozenset({"dev.ls", "uname", "config", "dmesg.cma-dma", "tracing-events.cma-dma", DAMAGE})
"""Texts at the top: what tools say, not files of the kernel."""

_ERROR: Final = ".error"
_NUMBER: Final = "(0|[1-9][0-9]{0,9})"
_PROCESS_FILE: Final = re.compile(f"proc/{_NUMBER}(?:/task/{_NUMBER})?(?:/(.+))?", re.DOTALL)
_FDINFO: Final = re.compile(f"fdinfo/{_NUMBER}")
_LINK_ROW: Final = re.compile(rb"([0-9]{1,10}) -> (.*)")
_OCTAL: Final = re.compile(rb"\\([0-3][0-7]{2})")
_ERROR_TEXT: Final = re.compile(r"([A-Za-z_]+): (.*?)\n?")
_UNKNOWN_ERRNO: Final = re.compile(r"Unknown error (-?[0-9]{1,9})")
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
    top, slash, _ = name.removesuffix(_ERROR).partition("/")
    return top in TREES if slash else top in TOP_FILES or name in (ABOUT, LINKS)


class _Place(NamedTuple):
    """Where a path belongs: system-wide where `pid` is None; in the process's own table where `tid` is None.

    `name` is the path, or the part below /proc/PID or /proc/PID/task/TID; a folder of these that cannot be read is
    an fd table that cannot be read.
    """

    pid: int | None
    tid: int | None
    name: str


def _place(path: str) -> _Place:
    match = _PROCESS_FILE.fullmatch(path)
    if match is None:
        return _Place(None, None, path)
    pid, tid, name = match.groups()
    return _Place(int(pid), None if tid is None else int(tid), name or "fd")


# Reading


@dataclass(slots=True)
class _Task:
    """A process or thread in the making: its files by name, those of its fd table among them."""

    files: dict[str, Raw] = field(default_factory=dict)
    threads: dict[int, "_Task"] = field(default_factory=dict)


def capture_of(members: Mapping[str, Raw], source: str) -> Capture:
    """The capture that these members are. Whatever they hold, this does not fail."""
    files: dict[str, Raw] = {}
    tasks: dict[int, _Task] = {}
    for path, raw in _with_errors(members):
        pid, tid, name = _place(path)
        if pid is None:
            files[name] = raw
            continue
        task = tasks.setdefault(pid, _Task())
        if tid is not None:
            task = task.threads.setdefault(tid, _Task())
        task.files[name] = raw
    files.pop(ABOUT, None)
    links = files.pop(LINKS, b"")
    about = _about(members.get(ABOUT, b""))
    return Capture(
        source=source,
        captured_at=about.captured_at,
        files=MappingProxyType(files),
        links=MappingProxyType(_links_of(links) if isinstance(links, bytes) else {}),
        processes=tuple(_process(pid, task) for pid, task in sorted(tasks.items())),
        processes_seen=about.processes_seen,
        off=about.off,
        older=MappingProxyType(about.older),
    )


def _with_errors(members: Mapping[str, Raw]) -> Iterator[tuple[str, Raw]]:
    """Members with each `X.error` as the error of X, which stands even where a part of X was read."""
    for path, raw in members.items():
        if path.endswith(_ERROR):
            yield path.removesuffix(_ERROR), _error_of(raw) if isinstance(raw, bytes) else raw
        elif path + _ERROR not in members:
            yield path, raw


def _error_of(raw: bytes) -> ReadError:
    match = _ERROR_TEXT.fullmatch(raw.decode("utf-8", "replace"))
    if match is None:
        return ReadError("read", errno.EIO)
    call, text = match.groups()
    unknown = _UNKNOWN_ERRNO.fullmatch(text)
    return ReadError(call, int(unknown[1]) if unknown else _ERRNO.get(text, errno.EIO))


def _process(pid: int, task: _Task) -> ProcessCapture:
    files, table = _split(task.files)
    threads = tuple(TaskCapture(tid, *_split(thread.files)) for tid, thread in sorted(task.threads.items()))
    return ProcessCapture(pid, files, table, threads)


def _split(files: Mapping[str, Raw]) -> tuple[Mapping[str, Raw], FdTable]:
    """A process's or thread's own files, and those that are its fd table."""
    own: dict[str, Raw] = {}
    table: dict[str, Raw] = {}
    fdinfo: dict[int, Raw] = {}
    for name, raw in files.items():
        match = _FDINFO.fullmatch(name)
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
    found = (FdLink(int(match[1]), _unescape(match[2])) for match in matches if match is not None)
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
            links[_unescape(path).decode("utf-8", "surrogateescape").lstrip("/")] = _unescape(target)
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


# Writing


def members_of(capture: Capture) -> dict[str, bytes]:
    """The members that are this capture.

    Raises:
        RecordingError: a path that no file can have, or that a recording keeps for something else.
    """
    members: dict[str, bytes] = {ABOUT: _about_text(capture)}
    if capture.links:
        members[LINKS] = b"".join(_link_line(path, target) for path, target in capture.links.items())
    for path, raw in capture.files.items():
        _check(path, is_wanted(path), _Place(None, None, path))
        _put(members, path, raw)
    for process in capture.processes:
        _put_task(members, process.pid, None, process)
        for task in process.tasks:
            _put_task(members, process.pid, task.tid, task)
    for info in capture.infos.values():
        folder = f"proc/{info.pid}" if info.tid is None else f"proc/{info.pid}/task/{info.tid}"
        _put(members, f"{folder}/fdinfo/{info.fd}", info.raw)
    return members


def _put_task(members: dict[str, bytes], pid: int, tid: int | None, task: ProcessCapture | TaskCapture) -> None:
    folder = f"proc/{pid}" if tid is None else f"proc/{pid}/task/{tid}"
    for name, raw in task.files.items():
        is_table = name in ("fd", "fd.json", "fd.links") or _FDINFO.fullmatch(name) is not None
        _check(f"{folder}/{name}", not is_table, _Place(pid, tid, name))
        _put(members, f"{folder}/{name}", raw)
    table = task.table
    for fd, raw in table.fdinfo.items():
        _put(members, f"{folder}/fdinfo/{fd}", raw)
    if table.error is not None:
        _put(members, f"{folder}/fd", table.error)
    if table.links or table.error is None:
        members[f"{folder}/fd.links"] = b"".join(
            b"%d -> %b\n" % (link.fd, _escape(link.target)) for link in table.links
        )
        members[f"{folder}/fd.json"] = _json_text(table.links)


def _check(path: str, is_free: bool, place: _Place) -> None:
    """That a path can be a file's, and will be read back as what it is."""
    parts = path.split("/")
    try:
        is_possible = "\0" not in path and all(
            part not in ("", ".", "..") and len(part.encode("utf-8", "surrogateescape")) <= 255 - len(_ERROR)
            for part in parts
        )
    except UnicodeEncodeError:
        is_possible = False
    if not is_possible or not is_free or _place(path) != place or path.endswith(_ERROR) or path in (ABOUT, LINKS):
        raise RecordingError("this capture cannot be recorded", f"no file of a recording can be called {path!r}")


def _put(members: dict[str, bytes], path: str, raw: Raw) -> None:
    if isinstance(raw, bytes):
        members[path] = raw
    else:
        members[path + _ERROR] = f"{raw.call}: {os.strerror(raw.errno)}\n".encode()


def _about_text(capture: Capture) -> bytes:
    about: dict[str, Any] = {
        "schema": SCHEMA,
        "source": capture.source,
        "captured_at": capture.captured_at,
        "processes_seen": capture.processes_seen,
    }
    if capture.off:
        about["off"] = sorted(capture.off)
    if capture.older:
        about["older"] = {path: (reading.age_s, reading.cost_s) for path, reading in capture.older.items()}
    return json.dumps(about).encode() + b"\n"


def _link_line(path: str, target: bytes) -> bytes:
    """`/PATH -> TARGET`; an arrow in the path is broken up, so that the first one of the line is the separator."""
    name = _escape(path.encode("utf-8", "surrogateescape")).replace(b" -> ", b"\\040-> ")
    return b"/%b -> %b\n" % (name, _escape(target))


def _json_text(links: Iterable[FdLink]) -> bytes:
    return b"[\n" + b",\n".join(b" " + json.dumps(_json_row(link)).encode() for link in links) + b"\n]\n"


def _json_row(link: FdLink) -> dict[str, Any]:
    row: dict[str, Any] = {"fd": link.fd, "target": link.target.decode("latin-1")}
    stat = link.stat
    if stat is not None:
        row |= {
            "st_dev": f"{stat.dev[0]}:{stat.dev[1]}",
            "st_ino": stat.inode,
            "st_size": stat.size_bytes,
            "st_mode": f"0{stat.mode:o}",
            "st_nlink": stat.nlink,
            "st_blocks": stat.blocks,
        }
    return row | {"link_mode": f"0{link.link_mode:o}", "stat_rc": 0 if stat is not None else -1}


def _escape(raw: bytes) -> bytes:
    return b"".join(b"\\%03o" % byte if byte in b"\t\n\r\\" else bytes((byte,)) for byte in raw)


def _unescape(text: bytes) -> bytes:
    return _OCTAL.sub(lambda match: bytes((int(match[1], 8),)), text)
