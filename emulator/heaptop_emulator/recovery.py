"""Finds the buffers of an emulator that was killed: which live, by their watches or by a pass over /proc, and what
they are, by the journal.
"""

import os
import re
import select
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from heaptop_emulator import journal, keeper
from heaptop_emulator.folder import RuntimeFolder, tell
from heaptop_emulator.framework import Buffer, Framework, Record
from heaptop_emulator.inotify import ReleaseWatcher
from heaptop_emulator.journal import Header, Memory
from heaptop_emulator.text import FILE_PREFIX

_ACTORS_TIMEOUT_S: Final = 2.0
_MAPPED: Final = re.compile(
    rb"^([0-9a-f]+)-([0-9a-f]+) \S+ \S+ \S+ (\d+) +/memfd:" + re.escape(FILE_PREFIX.encode()), re.MULTILINE
)


@dataclass(frozen=True, slots=True)
class Found:
    """The watches to go on with, and of those buffers that live the record by its watch. `header`: None: none lives."""

    releases: ReleaseWatcher
    records: dict[int, Record]
    header: Header | None
    serial: int = 0


def find(folder: RuntimeFolder) -> Found:
    """What an emulator that was killed in this folder left behind; nothing, where there is none."""
    memory = journal.read(folder)
    if memory is not None:
        _await_end(memory.header.actors)
    watcher = keeper.take_over(folder)
    if memory is None:
        if watcher is not None:
            watcher.close()
        return Found(ReleaseWatcher(), {}, None)
    if watcher is None:
        watcher = ReleaseWatcher()
        records = dict(_watched_anew(watcher, memory))
    else:
        watcher.drain()
        alive = watcher.alive()
        records = {watch: memory.records[inode] for watch, inode in alive.items() if inode in memory.records}
    return Found(watcher, records, memory.header, memory.serial) if records else Found(watcher, {}, None)


def adopt(framework: Framework, found: Found) -> list[tuple[Buffer, int]]:
    """Make them buffers again; each with the pid that asked for it. One whose pages are taken is told of, and left."""
    adopted = []
    for watch, record in sorted(found.records.items(), key=lambda item: item[1].serial):
        try:
            adopted.append((framework.adopt(watch, record), record.pid))
        except ValueError as error:
            tell(f"buffer {record.inode} of {record.heap} is not known any more: {error}")
    framework.go_on_from(found.serial)
    return adopted


def _await_end(pids: tuple[int, ...]) -> None:
    """The old scenario's processes end with the emulator that forked them: what they held is free then."""
    for pid in pids:
        with suppress(OSError):
            pidfd = os.pidfd_open(pid)
            select.select([pidfd], [], [], _ACTORS_TIMEOUT_S)
            os.close(pidfd)


def _watched_anew(watcher: ReleaseWatcher, memory: Memory) -> Iterator[tuple[int, Record]]:
    """Without a keeper: buffers that are seen to be held by a descriptor or a mapping, each with a new watch.

    Those that are in flight only, or mapped by a process whose map_files this user may not follow, are not found.
    """
    found: set[int] = set()
    for path, inode in _sightings():
        record = memory.records.get(inode)
        if record is None or inode in found:
            continue
        with suppress(OSError):
            if os.stat(path).st_ino == inode:
                found.add(inode)
                yield watcher.watch_path(path), record


def _sightings() -> Iterator[tuple[bytes, int]]:
    """Links of /proc that lead to a buffer, and its inode."""
    prefix = f"/memfd:{FILE_PREFIX}".encode()
    for name in filter(str.isdigit, os.listdir("/proc")):
        process = f"/proc/{name}".encode()
        with suppress(OSError):
            for fd in os.listdir(process + b"/fd"):
                path = process + b"/fd/" + fd
                with suppress(OSError):
                    if os.readlink(path).startswith(prefix):
                        yield path, os.stat(path).st_ino
        with suppress(OSError), open(process + b"/maps", "rb") as maps:
            for start, end, inode in _MAPPED.findall(maps.read()):
                yield process + b"/map_files/%s-%s" % (start.lstrip(b"0") or b"0", end.lstrip(b"0")), int(inode)
