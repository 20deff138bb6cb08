"""Sockets with descriptors in flight and rings with registered buffers: what may hold what nobody is seen to hold."""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from operator import attrgetter
from typing import Final

from heaptop.capture import Capture, FdTable, ProcessCapture, Raw
from heaptop.changes import changed_items
from heaptop.errors import ParseError
from heaptop.model import HidingKind, HidingPlace, ProcessId
from heaptop.parse import comm, fdlink, io_uring_fdinfo, socket_fdinfo, stat
from heaptop.parse.fdlink import Kind
from heaptop.pattern import pattern
from heaptop.units import text_of

_PID = attrgetter("pid")
FOLDER: Final = "heaptop/hiding"
_FILE: Final = pattern(FOLDER + r"/([0-9]{1,10})/fdinfo/([0-9]{1,10})")


class HidingReader:
    """Reads captures one after the other; a process that is the very same object as before is not read again."""

    def __init__(self) -> None:
        self._processes: tuple[ProcessCapture, ...] = ()
        self._known: dict[int, tuple[HidingPlace, ...]] = {}

    def read(self, capture: Capture) -> tuple[HidingPlace, ...]:
        """All of them, by pid and descriptor. A recording of all fdinfo has them among the processes' own."""
        found: dict[tuple[int, int], HidingPlace] = {}
        for path, raw in capture.files.items():
            match = _FILE.fullmatch(path) if path.startswith(FOLDER) else None
            if match is not None:
                pid, fd = int(match[1]), int(match[2])
                files = {name: capture.files.get(f"{FOLDER}/{pid}/{name}") for name in ("comm", "stat")}
                found.update(((pid, fd), place) for place in _places(pid, fd, raw, files))
        for pid, _, now in changed_items(self._processes, capture.processes, _PID):
            self._known.pop(pid, None)
            if now is not None and (places := tuple(_of_process(now))):
                self._known[pid] = places
        self._processes = capture.processes
        for pid, places in self._known.items():
            found |= {(pid, place.fd): place for place in places}
        return tuple(found[key] for key in sorted(found))


def _of_process(process: ProcessCapture) -> Iterator[HidingPlace]:
    for table in (process.table, *(task.table for task in process.tasks)):
        for fd, raw in _others(table):
            yield from _places(process.pid, fd, raw, process.files)


def _others(table: FdTable) -> Iterator[tuple[int, Raw]]:
    """The fdinfo of sockets and rings. Most tables have none."""
    if table.fdinfo:
        for link in table.links:
            if link.fd in table.fdinfo and fdlink.kind(link.target) in (Kind.SOCKET, Kind.IO_URING):
                yield link.fd, table.fdinfo[link.fd]


def _places(pid: int, fd: int, raw: Raw, files: Mapping[str, Raw | None]) -> Iterator[HidingPlace]:
    """The place that an fdinfo tells of; none where nothing is in it."""
    if not isinstance(raw, bytes):
        return
    try:
        in_flight = socket_fdinfo.scm_fds(raw)
        registered = io_uring_fdinfo.dmabufs(raw) if in_flight is None else ()
    except ParseError:
        return  # a descriptor that was closed meanwhile
    if in_flight or registered:
        process, name = _who(pid, files)
        names = tuple(None if one is None else text_of(one) for one in registered)
        kind = HidingKind.IN_FLIGHT if in_flight else HidingKind.IO_URING
        yield HidingPlace(kind, process, name, fd, in_flight or len(registered), names)


def _who(pid: int, files: Mapping[str, Raw | None]) -> tuple[ProcessId, str]:
    about, name = files.get("stat"), files.get("comm")
    started = None
    with suppress(ParseError):
        started = stat.parse(about).starttime if isinstance(about, bytes) else None
    return ProcessId(pid, started), text_of(comm.parse(name)) if isinstance(name, bytes) else ""
