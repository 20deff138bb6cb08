"""The trace, read back with Perfetto's own protobuf classes."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from perfetto.protos.perfetto.trace.perfetto_trace_pb2 import (  # type: ignore[import-untyped]
    DebugAnnotation,
    TrackEvent,
)
from perfetto.protos.perfetto.trace.perfetto_trace_pb2 import (
    Trace as PerfettoTrace,
)

from heaptop.assemble import assemble
from heaptop.cli.main import main
from heaptop.model import Snapshot
from heaptop.report.perfetto import Trace
from heaptop.report.protobuf import message, varint
from tests.recording.phone import BOOT, NOON, Phone, lives
from tests.tui.recorded import LOOKS, make

Span = tuple[str, int, int, int]
"""Owner, inode, and from when to when, in seconds after noon."""


class Read:
    """A trace, and what its tracks and events say."""

    def __init__(self, data: bytes) -> None:
        self.trace = PerfettoTrace.FromString(data)
        described = [packet.track_descriptor for packet in self.trace.packet if packet.HasField("track_descriptor")]
        self.tracks = {one.uuid: one for one in described}
        assert len(self.tracks) == len(described)
        self.events: list[tuple[int, Any]] = [
            (packet.timestamp, packet.track_event) for packet in self.trace.packet if packet.HasField("track_event")
        ]
        assert [at for at, _ in self.events] == sorted(at for at, _ in self.events)
        assert {event.track_uuid for _, event in self.events} <= self.tracks.keys()
        assert {packet.trusted_packet_sequence_id for packet in self.trace.packet} == {1}

    def owner(self, track: int) -> str:
        found = self.tracks[track]
        parent = self.tracks[found.parent_uuid]
        return f"{parent.process.pid} {parent.process.process_name}" if parent.HasField("process") else parent.name

    def spans(self) -> list[Span]:
        """All slices. On no track do two overlap, and each one ends."""
        open_: dict[int, tuple[int, int]] = {}
        found = []
        for at, event in self.events:
            if event.type == TrackEvent.TYPE_SLICE_BEGIN:
                assert event.track_uuid not in open_
                notes = {note.name: note for note in event.debug_annotations}
                assert isinstance(notes["inode"], DebugAnnotation)
                open_[event.track_uuid] = notes["inode"].uint_value, at
            elif event.type == TrackEvent.TYPE_SLICE_END:
                inode, began = open_.pop(event.track_uuid)
                found.append((self.owner(event.track_uuid), inode, seconds(began), seconds(at)))
        assert not open_
        return sorted(found)

    def counter(self, name: str, pid: int | None = None) -> dict[int, int]:
        (track,) = (
            uuid
            for uuid, one in self.tracks.items()
            if one.HasField("counter") and one.name == name
            and (pid is None or self.tracks[one.parent_uuid].process.pid == pid)
        )  # fmt: skip
        return {seconds(at): event.counter_value for at, event in self.events if event.track_uuid == track}


def seconds(at_ns: int) -> int:
    return round(at_ns / 1e9 - NOON)


def traced(*snapshots: Snapshot) -> Read:
    trace = Trace()
    return Read(b"".join([*(trace.add(one) for one in snapshots), trace.end()]))


def expected(snapshots: list[Snapshot]) -> list[Span]:
    """By the simplest means: who holds what at each look, as runs."""
    held = [
        {(f"{h.process.pid} {h.comm}", b.inode) for b in shot.buffers for h in b.holders}
        | {("held by nobody seen", b.inode) for b in shot.buffers if not b.holders}
        for shot in snapshots
    ]
    spans = []
    last = len(held) - 1
    for key in set().union(*held):
        began = None
        for index in range(len(held)):
            if key in held[index] and began is None:
                began = index
            elif key not in held[index] and began is not None:
                spans.append((*key, began, index))
                began = None
        if began is not None:
            spans.append((*key, began, last))
    return sorted(spans)


@pytest.mark.parametrize("seed", range(4))
def test_each_buffer_is_a_slice_in_each_process_that_holds_it(seed: int) -> None:
    snapshots = [assemble(phone.capture()) for phone in lives(seed, 80)]
    read = traced(*snapshots)
    assert read.spans() == expected(snapshots)


def test_totals_are_counters() -> None:
    snapshots = [assemble(phone.capture()) for phone in lives(1, 40)]
    read = traced(*snapshots)
    told = read.counter("dma-bufs: bytes")
    value = None
    for index, shot in enumerate(snapshots):
        value = told.get(index, value)
        assert value == shot.size_bytes
    rss = read.counter("dma-buf RSS", 70)
    value = None
    for index, shot in enumerate(snapshots):
        value = rss.get(index, value)
        assert value == next((one.rss_bytes for one in shot.processes if one.id.pid == 70), 0)
    units = {one.name: one.counter.unit for one in read.tracks.values() if one.HasField("counter")}
    assert (units["dma-bufs: bytes"], units["dma-bufs: buffers"]) == (3, 2)


def test_what_a_slice_says() -> None:
    read = traced(assemble(Phone().capture()))
    (event,) = (event for _, event in read.events if event.type == TrackEvent.TYPE_SLICE_BEGIN and event.name == "b12")
    notes = {note.name: note.string_value or note.uint_value for note in event.debug_annotations}
    assert notes | {"inode": 12, "size_bytes": 65536, "fds": 1, "maps": 0} == notes
    assert list(event.categories) == ["dmabuf"]


def test_marks_and_reboots_are_instants() -> None:
    phone, trace = Phone(), Trace()
    parts = [trace.add(assemble(phone.capture()), ["mark 1"])]
    phone.tick()
    phone.boot = BOOT.replace("1", "9")
    parts += [trace.add(assemble(phone.capture())), trace.end()]
    read = Read(b"".join(parts))
    instants = [(seconds(at), event.name) for at, event in read.events if event.type == TrackEvent.TYPE_INSTANT]
    assert instants == [(0, "mark 1"), (1, "reboot")]
    assert [span for span in read.spans() if span[1] == 10] == [("70 app70", 10, 0, 0), ("70 app70", 10, 1, 1)]


def test_a_pid_used_again_and_names_from_outside() -> None:
    one = assemble(Phone().capture())
    (buffer, *_), hostile = one.buffers, "\udcff\x1b[31m\n"
    holder = buffer.holders[0]._replace(process=buffer.holders[0].process._replace(start_time=1), comm=hostile)
    read = traced(one, one._replace(buffers=(buffer._replace(name=hostile, holders=(holder,)),)))
    starts = {track.process.start_timestamp_ns for track in read.tracks.values() if track.process.pid == 70}
    assert starts == {7_000_000_000, 10_000_000}
    assert "\\xff\\x1b[31m\\n" in {event.name for _, event in read.events}


def test_nothing_at_all() -> None:
    assert PerfettoTrace.FromString(Trace().end()) == PerfettoTrace()
    assert traced(assemble(Phone().capture())._replace(buffers=(), captured_at=None)).spans() == []


@given(st.integers(-(2**63), 2**64 - 1))
def test_numbers(value: int) -> None:
    event = TrackEvent.FromString(message((30, value)))
    assert event.counter_value % 2**64 == value % 2**64
    assert 1 <= len(varint(value)) <= 10


def test_from_a_recording_by_the_command(tmp_path: Path) -> None:
    make(tmp_path / "r")
    assert main(["-b", f"replay:{tmp_path / 'r'}", "export", "--perfetto", str(tmp_path / "t.pftrace")]) == 0
    read = Read((tmp_path / "t.pftrace").read_bytes())
    instants = [event.name for _, event in read.events if event.type == TrackEvent.TYPE_INSTANT]
    assert instants == ["mark 1", "reboot"]
    assert len(read.spans()) > LOOKS / 4
