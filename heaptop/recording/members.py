"""The files of a recording that a `Capture` is: text by path. Pure; the other direction is layout.py."""

import json
import os
from collections.abc import Iterable
from typing import Any, Final

from heaptop.capture import Capture, FdLink, ProcessCapture, Raw, TaskCapture
from heaptop.errors import RecordingError
from heaptop.recording.layout import ABOUT, ERROR, FDINFO, GONE, LINKS, Place, escape, is_wanted, place_of

SCHEMA: Final = "heaptop-recording/1"


def members_of(capture: Capture) -> dict[str, bytes]:
    """The members that are this capture.

    Raises:
        RecordingError: a path that no file can have, or that a recording keeps for something else.
    """
    members = {ABOUT: about_text(capture), **system_members(capture)}
    for process in capture.processes:
        members |= process_members(process)
    return members | info_members(capture)


def system_members(capture: Capture) -> dict[str, bytes]:
    """The system-wide ones, without heaptop.json.

    Raises:
        RecordingError: as `members_of`.
    """
    members: dict[str, bytes] = {}
    if capture.links:
        members[LINKS] = b"".join(_link_line(path, target) for path, target in capture.links.items())
    for path, raw in capture.files.items():
        _check(path, is_wanted(path), Place(None, None, path))
        _put(members, path, raw)
    return members


def info_members(capture: Capture) -> dict[str, bytes]:
    """The fdinfo of one descriptor of each buffer, where those of all are not with the processes."""
    members: dict[str, bytes] = {}
    for info in capture.infos.values():
        folder = f"proc/{info.pid}" if info.tid is None else f"proc/{info.pid}/task/{info.tid}"
        _put(members, f"{folder}/fdinfo/{info.fd}", info.raw)
    return members


def process_members(process: ProcessCapture) -> dict[str, bytes]:
    """Those of one process.

    Raises:
        RecordingError: as `members_of`.
    """
    members: dict[str, bytes] = {}
    _put_task(members, process.pid, None, process)
    for task in process.tasks:
        _put_task(members, process.pid, task.tid, task)
    return members


def _put_task(members: dict[str, bytes], pid: int, tid: int | None, task: ProcessCapture | TaskCapture) -> None:
    folder = f"proc/{pid}" if tid is None else f"proc/{pid}/task/{tid}"
    for name, raw in task.files.items():
        is_table = name in ("fd", "fd.json", "fd.links") or FDINFO.fullmatch(name) is not None
        _check(f"{folder}/{name}", not is_table, Place(pid, tid, name))
        _put(members, f"{folder}/{name}", raw)
    table = task.table
    for fd, raw in table.fdinfo.items():
        _put(members, f"{folder}/fdinfo/{fd}", raw)
    if table.error is not None:
        _put(members, f"{folder}/fd", table.error)
    if table.links or table.error is None:
        members[f"{folder}/fd.links"] = b"".join(b"%d -> %b\n" % (link.fd, escape(link.target)) for link in table.links)
        members[f"{folder}/fd.json"] = _json_text(table.links)


def _check(path: str, is_free: bool, place: Place) -> None:
    """That a path can be a file's, and will be read back as what it is."""
    parts = path.split("/")
    try:
        is_possible = "\0" not in path and all(
            part not in ("", ".", "..") and len(part.encode("utf-8", "surrogateescape")) <= 255 - len(ERROR)
            for part in parts
        )
    except UnicodeEncodeError:
        is_possible = False
    if (
        not is_possible
        or not is_free
        or place_of(path) != place
        or path.endswith(ERROR)
        or path in (ABOUT, LINKS, GONE)
    ):
        raise RecordingError("this capture cannot be recorded", f"no file of a recording can be called {path!r}")


def _put(members: dict[str, bytes], path: str, raw: Raw) -> None:
    if isinstance(raw, bytes):
        members[path] = raw
    else:
        members[path + ERROR] = f"{raw.call}: {os.strerror(raw.errno)}\n".encode()


def about_text(capture: Capture, **more: object) -> bytes:
    """heaptop.json of a capture, with what else is to be in it."""
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
    return json.dumps(about | more).encode() + b"\n"


def _link_line(path: str, target: bytes) -> bytes:
    """`/PATH -> TARGET`; an arrow in the path is broken up, so that the first one of the line is the separator."""
    name = escape(path.encode("utf-8", "surrogateescape")).replace(b" -> ", b"\\040-> ")
    return b"/%b -> %b\n" % (name, escape(target))


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
