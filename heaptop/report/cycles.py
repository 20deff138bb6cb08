"""What cycles left behind, as text and as JSON."""

from collections.abc import Iterable, Sequence

from heaptop.analysis.classes import BufferClass
from heaptop.analysis.cycles import CycleGrowth, Grown, Mark
from heaptop.model import UNNAMED, Holder, Snapshot
from heaptop.report import json
from heaptop.report.text import UNKNOWN, counted
from heaptop.units import format_size, printable


def line(grown: Grown) -> str:
    """One class: `+1 x 16.0 KiB of system codec-out, held by mediaserver, every cycle`."""
    cycles = len(grown.kept)
    if grown.is_even and cycles > 1:
        return f"+{grown.kept[0]} x {class_text(grown.key, grown.name)}, every cycle"
    hit = sum(count > 0 for count in grown.kept)
    return f"+{grown.count} x {class_text(grown.key, grown.name)}, in {hit} of {counted(cycles, 'cycle')}"


def class_text(key: BufferClass, name: str | None) -> str:
    """`16.0 KiB of system codec-out, held by mediaserver`."""
    holder = f"held by {key.holder}" if key.holders else "held by nobody that is seen"
    return printable(f"{format_size(key.size_bytes)} of {key.exporter or UNKNOWN} {name or UNNAMED}, {holder}")


def text(growth: CycleGrowth) -> str:
    """A line a class."""
    cycles = counted(growth.cycles, "cycle")
    if not growth.grown:
        return f"{cycles} left nothing behind\n"
    lines = [line(one) for one in growth.grown]
    per_cycle = format_size(growth.total_bytes / growth.cycles)
    total = f"{cycles}: {counted(growth.count, 'buffer')}, {format_size(growth.total_bytes)}; {per_cycle} a cycle"
    return "\n".join([*lines, total]) + "\n"


def document(
    snapshot: Snapshot, growth: CycleGrowth, marks: Sequence[Mark], *, failure: str | None, is_whole: bool
) -> json.Json:
    """The whole measurement."""
    return {
        **json.head(snapshot),
        "cycles": growth.cycles,
        "is_whole": is_whole,
        "failure": failure,
        "duration_s": round(growth.duration_s, 3),
        "marks": [
            {"label": mark.label, "after_s": round(mark.at - marks[0].at, 3), "buffers": len(mark.buffers)}
            for mark in marks
        ],
        "growth": grown_items(growth.grown),
    }


def grown_items(grown: Iterable[Grown]) -> list[json.Json]:
    """Each class that has grown."""
    return [_grown(one) for one in grown]


def _grown(grown: Grown) -> json.Json:
    return {
        **named(grown.key, grown.name),
        "buffers_per_cycle": round(grown.per_cycle, 6),
        "bytes_per_cycle": round(grown.total_bytes / len(grown.kept), 3),
        "buffers": grown.count,
        "total_bytes": grown.total_bytes,
        "kept": list(grown.kept),
        "holders": [
            {"pid": holder.process.pid, "start_time": holder.process.start_time, "comm": holder.comm, "buffers": count}
            for holder, count in _holders(grown)
        ],
        "inodes": list(grown.inodes),
    }


def named(key: BufferClass, name: str | None) -> json.Json:
    """What names a class."""
    return {
        "exporter": key.exporter,
        "size_bytes": key.size_bytes,
        "name": name,
        "holder": key.holder if key.holders else None,
    }


def _holders(grown: Grown) -> list[tuple[Holder, int]]:
    counts: dict[object, tuple[Holder, int]] = {}
    for buffer in grown.buffers:
        for holder in buffer.holders:
            first, count = counts.get(holder.process, (holder, 0))
            counts[holder.process] = first, count + 1
    return sorted(counts.values(), key=lambda pair: (-pair[1], pair[0].process.pid))
