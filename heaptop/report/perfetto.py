"""A Perfetto trace: each buffer as a slice in every process that holds it, totals as counters.

The field numbers are those of perfetto's protos/perfetto/trace (trace_packet, track_event, track_descriptor). Pure.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from heaptop.model import UNNAMED, Buffer, Holder, ProcessId, Snapshot
from heaptop.report.protobuf import Value, message
from heaptop.units import printable

SEQUENCE: Final = 1
SLICE_BEGIN, SLICE_END, INSTANT, COUNTER = 1, 2, 3, 4
UNIT_COUNT, UNIT_SIZE_BYTES = 2, 3
INCREMENTAL_STATE_CLEARED: Final = 1
REALTIME, BOOTTIME = 1, 6
"""Clocks of the trace. Times are those of the captures, by the wall clock, from which the trace's own begins."""
NOBODY: Final = ProcessId(0, None)
"""Stands for whoever holds what no process is seen to hold."""
TICK_NS: Final = 10_000_000
"""A clock tick of /proc/PID/stat: USER_HZ is 100 on every architecture that has dma-heaps."""
CATEGORY: Final = "dmabuf"


@dataclass(slots=True)
class _Lanes:
    """The tracks of one process: a slice takes the first that is free, so that none overlap."""

    track: int
    free: list[int] = field(default_factory=list)
    taken: dict[int, int] = field(default_factory=dict)
    names: dict[int, str] = field(default_factory=dict)


class Trace:
    """Makes the trace of snapshots in the order of time; each method gives bytes that follow those before."""

    def __init__(self) -> None:
        self._uuids = 0
        self._lanes: dict[ProcessId, _Lanes] = {}
        self._counters: dict[tuple[ProcessId | None, str], int] = {}
        self._values: dict[int, int] = {}
        self._instants = 0
        self._last_ns = 0
        self._boot_id: str | None = None
        self._is_begun = False

    def add(self, snapshot: Snapshot, marks: Iterable[str] = ()) -> bytes:
        """What has changed since the snapshot before; `marks` are told as instants. A reboot ends all slices."""
        at_ns = max(self._last_ns, int((snapshot.captured_at or 0.0) * 1e9))
        out = [] if self._is_begun else [*self._begin(at_ns)]
        if snapshot.boot_id is not None:
            if self._boot_id not in (None, snapshot.boot_id):
                out += [*self._close_all(self._last_ns), self._instant(at_ns, "reboot")]
                self._lanes.clear()
            self._boot_id = snapshot.boot_id
        self._last_ns = at_ns
        out += self._holders(snapshot, at_ns)
        out += self._totals(snapshot, at_ns)
        out += [self._instant(at_ns, mark) for mark in marks]
        return b"".join(out)

    def end(self) -> bytes:
        """The ends of all slices: at the last snapshot, as nobody knows what came after."""
        return b"".join(self._close_all(self._last_ns))

    # ---- slices ----

    def _holders(self, snapshot: Snapshot, at_ns: int) -> Iterator[bytes]:
        held: dict[ProcessId, dict[int, tuple[Buffer, Holder | None]]] = {}
        for buffer in snapshot.buffers:
            for holder in buffer.holders:
                held.setdefault(holder.process, {})[buffer.inode] = buffer, holder
            if not buffer.holders:
                held.setdefault(NOBODY, {})[buffer.inode] = buffer, None
        for process in self._lanes.keys() | held.keys():
            yield from self._process(process, held.get(process, {}), at_ns)

    def _process(
        self, process: ProcessId, held: Mapping[int, tuple[Buffer, Holder | None]], at_ns: int
    ) -> Iterator[bytes]:
        if process not in self._lanes:
            comm = next((holder.comm for _, holder in held.values() if holder is not None), "")
            self._lanes[process] = _Lanes(self._uuid())
            yield self._process_track(process, comm)
        lanes = self._lanes[process]
        # A name can be set later: then another slice begins, as no slice can be renamed.
        names = {inode: _name(buffer) for inode, (buffer, _) in held.items()}
        for inode in sorted(inode for inode in lanes.taken if lanes.names[inode] != names.get(inode)):
            yield self._close(lanes, inode, at_ns)
        for inode in sorted(held.keys() - lanes.taken.keys()):
            if not lanes.free:
                lanes.free.append(self._uuid())
                yield self._track(lanes.free[-1], "dma-bufs", lanes.track)
            lane = lanes.taken[inode] = lanes.free.pop()
            lanes.names[inode] = names[inode]
            yield _event(at_ns, SLICE_BEGIN, lane, (23, names[inode]), (22, CATEGORY), *_notes(*held[inode]))

    def _close(self, lanes: _Lanes, inode: int, at_ns: int) -> bytes:
        lane = lanes.taken.pop(inode)
        del lanes.names[inode]
        lanes.free.append(lane)
        return _event(at_ns, SLICE_END, lane)

    def _close_all(self, at_ns: int) -> Iterator[bytes]:
        for lanes in self._lanes.values():
            for inode in sorted(lanes.taken):
                yield self._close(lanes, inode, at_ns)

    # ---- counters ----

    def _totals(self, snapshot: Snapshot, at_ns: int) -> Iterator[bytes]:
        yield self._count(None, "dma-bufs: bytes", UNIT_SIZE_BYTES, snapshot.size_bytes, at_ns)
        yield self._count(None, "dma-bufs: buffers", UNIT_COUNT, len(snapshot.buffers), at_ns)
        exporters = {total.name or "(not told)": total.size_bytes for total in snapshot.exporters}
        areas = {area.name: area.used_pages for area in snapshot.cma if area.used_pages is not None}
        processes = {process.id: process.rss_bytes for process in snapshot.processes}
        yield from self._group("exporter ", exporters, at_ns)
        cma_bytes = {name: pages * snapshot.page_bytes for name, pages in areas.items()}
        yield from self._group("CMA used: ", cma_bytes, at_ns)
        for process in {process for process, _ in self._counters if process is not None} | processes.keys():
            yield self._count(process, "dma-buf RSS", UNIT_SIZE_BYTES, processes.get(process, 0), at_ns)

    def _group(self, prefix: str, values: Mapping[str, int], at_ns: int) -> Iterator[bytes]:
        """A counter for each name; one that is not there any more has 0."""
        known = {name for owner, name in self._counters if owner is None and name.startswith(prefix)}
        names = {name.removeprefix(prefix) for name in known}
        for name in sorted(values.keys() | names):
            yield self._count(None, prefix + name, UNIT_SIZE_BYTES, values.get(name, 0), at_ns)

    def _count(self, process: ProcessId | None, name: str, unit: int, value: int, at_ns: int) -> bytes:
        """A value, where it differs from the one before."""
        described = b""
        if (process, name) not in self._counters:
            track = self._counters[process, name] = self._uuid()
            lanes = self._lanes.get(process) if process is not None else None
            parent = () if lanes is None else ((5, lanes.track),)
            described = _described((1, track), (2, printable(name)), *parent, (8, message((3, unit))))
        track = self._counters[process, name]
        if self._values.get(track) == value:
            return described
        self._values[track] = value
        return described + _event(at_ns, COUNTER, track, (30, value))

    # ---- tracks ----

    def _begin(self, at_ns: int) -> Iterator[bytes]:
        self._is_begun = True
        clocks = [(1, message((1, clock), (2, at_ns))) for clock in (REALTIME, BOOTTIME)]
        yield _packet((8, at_ns), (6, message(*clocks)), (13, INCREMENTAL_STATE_CLEARED))
        self._instants = self._uuid()
        yield self._track(self._instants, "heaptop", None)

    def _instant(self, at_ns: int, text: str) -> bytes:
        return _event(at_ns, INSTANT, self._instants, (23, printable(text)), (22, CATEGORY))

    def _process_track(self, process: ProcessId, comm: str) -> bytes:
        track = self._lanes[process].track
        if process == NOBODY:
            return self._track(track, "held by nobody seen", None)
        started = () if process.start_time is None else ((7, process.start_time * TICK_NS),)  # tells a pid used again
        return _described((1, track), (3, message((1, process.pid), (6, printable(comm)), *started)))

    @staticmethod
    def _track(track: int, name: str, parent: int | None) -> bytes:
        return _described((1, track), (2, name), *(() if parent is None else ((5, parent),)))

    def _uuid(self) -> int:
        self._uuids += 1
        return self._uuids


def _packet(*fields: tuple[int, Value]) -> bytes:
    return message((1, message(*fields, (10, SEQUENCE))))


def _described(*fields: tuple[int, Value]) -> bytes:
    return _packet((60, message(*fields)))


def _event(at_ns: int, kind: int, track: int, *fields: tuple[int, Value]) -> bytes:
    return _packet((8, at_ns), (11, message((9, kind), (11, track), *fields)))


def _name(buffer: Buffer) -> str:
    return printable(buffer.name or UNNAMED)


def _notes(buffer: Buffer, holder: Holder | None) -> Iterator[tuple[int, bytes]]:
    """What is to be seen of a slice that was picked: debug annotations."""
    numbers = {"inode": buffer.inode, "size_bytes": buffer.size_bytes, "file_count": buffer.file_count}
    if holder is not None:
        numbers |= {"fds": len(holder.fds), "maps": len(holder.maps)}
    yield from (
        (4, message((10, name), (3, value))) for name, value in numbers.items() if value is not None and value >= 0
    )
    if buffer.exporter is not None:
        yield 4, message((10, "exporter"), (6, printable(buffer.exporter)))
