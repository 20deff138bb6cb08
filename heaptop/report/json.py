r"""Snapshots as JSON, in the stable shape that `heaptop-1.schema.json` beside this file describes.

One document has a line per list item: easy to grep and to compare, and written by the C encoder (50,000 buffers in a
fraction of a second). Output is ASCII; a byte of a name that is not UTF-8 is a lone surrogate, `\udcXX` (PEP 383).
"""

import json
from collections.abc import Iterable, Mapping
from typing import Final

from heaptop.analysis.fragmentation import extfrag_index, unusable_index
from heaptop.analysis.occupancy import runs, used_bits
from heaptop.analysis.orphans import Part, parts_of
from heaptop.call_stack import NamedFrame, Origin
from heaptop.model import (
    Buffer,
    CmaArea,
    CmaRange,
    ExporterTotal,
    Gap,
    Heap,
    Holder,
    Memory,
    Process,
    Provenance,
    Snapshot,
    Zone,
)
from heaptop.report.moment import timestamp
from heaptop.report.totals import totals

SCHEMA: Final = "heaptop/1"

Json = dict[str, object]

_encode: Final = json.JSONEncoder(allow_nan=False).encode

LISTS: Final = ("heaps", "buffers", "processes", "cma")
"""The lists a document can hold, each with its companions: exporters and memory, none, totals, memory."""


def document(snapshot: Snapshot, lists: Iterable[str], first_seen: Mapping[int, float] | None = None) -> Json:
    """The document that holds `lists`. `first_seen` (seconds since the epoch, by inode) is what a session knows."""
    wanted = frozenset(lists)
    seen = first_seen or {}
    result = head(snapshot)
    if wanted & {"heaps", "cma"}:
        result["memory"] = _memory(snapshot.memory)
    if "heaps" in wanted:
        result["exporters"] = [_exporter(exporter) for exporter in snapshot.exporters]
        result["heaps"] = [_heap(heap) for heap in snapshot.heaps]
    if "buffers" in wanted:
        result["buffers"] = [buffer_item(buffer, snapshot, seen.get(buffer.inode)) for buffer in snapshot.buffers]
    if "processes" in wanted:
        result["totals"] = _totals(snapshot)
        result["processes"] = [_process(process) for process in snapshot.processes]
    if "cma" in wanted:
        result["cma"] = [_area(area) for area in snapshot.cma]
    return result


def head(snapshot: Snapshot) -> Json:
    """What every document starts with."""
    return {
        "schema": SCHEMA,
        "source": snapshot.source,
        "kernel": snapshot.kernel,
        "boot_id": snapshot.boot_id,
        "captured_at": timestamp(snapshot.captured_at),
        "gaps": [gap_item(one) for one in snapshot.gaps],
    }


def dumps(value: Json) -> str:
    """A document as text: a line per key, and a line per item of a list of objects. Ends in a newline."""
    fields = ",\n".join(f"{_encode(key)}: {_field(item)}" for key, item in value.items())
    return f"{{\n{fields}\n}}\n"


def dumps_line(value: Json) -> str:
    """A document as one line, for streams (JSON Lines). Ends in a newline."""
    return json.dumps(value, allow_nan=False, separators=(",", ":")) + "\n"


def _field(value: object) -> str:
    if not (isinstance(value, list) and value and isinstance(value[0], dict)):
        return _encode(value)
    items = ",\n".join(map(_encode, value))
    return f"[\n{items}\n]"


def gap_item(gap: Gap) -> Json:
    """What could not be read."""
    return {"what": gap.what, "why": gap.why, "remedy": gap.remedy}


def _provenance(provenance: Provenance) -> Json:
    return {name: provenance[name] for name in sorted(provenance)}


def _heap(heap: Heap) -> Json:
    return {
        "name": heap.name,
        "exporter": heap.exporter,
        "buffers": heap.buffers,
        "size_bytes": heap.size_bytes,
        "cma_area": heap.cma_area,
        "device": None if heap.device is None else list(heap.device),
        "mode": heap.mode,
        "provenance": _provenance(heap.provenance),
    }


def _exporter(exporter: ExporterTotal) -> Json:
    return {
        "name": exporter.name,
        "buffers": exporter.buffers,
        "size_bytes": exporter.size_bytes,
        "is_heap": exporter.is_heap,
    }


def buffer_item(buffer: Buffer, snapshot: Snapshot, first_seen: float | None = None) -> Json:
    """A buffer of this snapshot, whole."""
    return {
        "inode": buffer.inode,
        "size_bytes": buffer.size_bytes,
        "exporter": buffer.exporter,
        "name": buffer.name,
        "heap": buffer.heap,
        "file_count": buffer.file_count,
        "hidden_refs": buffer.hidden_refs,
        "hidden_by": None if buffer.hidden_refs is None else [_part(part) for part in parts_of(buffer, snapshot)],
        "attachments": None if buffer.attachments is None else list(buffer.attachments),
        "fences": None
        if buffer.fences is None
        else [{"usage": fence.usage, "text": fence.text, "signalled": fence.signalled} for fence in buffer.fences],
        "runs": None if buffer.runs is None else [{"pfn": pfn, "count_pages": count} for pfn, count in buffer.runs],
        "origin": None if buffer.origin is None else _origin(buffer.origin),
        "first_seen": timestamp(first_seen),
        "holders": [_holder(holder) for holder in buffer.holders],
        "provenance": _provenance(buffer.provenance),
    }


def _origin(origin: Origin) -> Json:
    """As it was taken: names of code are looked up by `heaptop sites`."""
    return {
        "pid": origin.pid,
        "tid": origin.tid,
        "comm": origin.comm,
        "time": timestamp(origin.time),
        "cut": origin.stack.cut or None,
        "frames": [
            {"function": frame.function, "file": frame.file, "line": frame.line}
            if isinstance(frame, NamedFrame)
            else {"build_id": frame.build_id or None, "path": frame.path or None, "address": frame.address}
            for frame in origin.stack.frames
        ],
    }


def _part(part: Part) -> Json:
    return {
        "kind": part.kind,
        "references": part.references,
        "is_certain": part.is_certain,
        "is_hidden": part.is_hidden,
        "who": part.who,
    }


def _holder(holder: Holder) -> Json:
    return {
        "pid": holder.process.pid,
        "start_time": holder.process.start_time,
        "comm": holder.comm,
        "fds": sorted({ref.fd for ref in holder.fds}) if holder.names_fds else None,
        "fd_refs": [{"fd": ref.fd, "tid": ref.tid, "flags": ref.flags} for ref in holder.fds],
        "fd_count": holder.fd_count,
        "maps": [
            {"start": ref.start, "length_bytes": ref.length_bytes, "offset_bytes": ref.offset_bytes, "perms": ref.perms}
            for ref in holder.maps
        ]
        if holder.names_maps
        else None,
        "map_count": holder.map_count,
    }


def _process(process: Process) -> Json:
    return {
        "pid": process.id.pid,
        "start_time": process.id.start_time,
        "comm": process.comm,
        "uid": process.uid,
        "cmdline": None if process.cmdline is None else list(process.cmdline),
        "cgroup": process.cgroup,
        "oom_score_adj": process.oom_score_adj,
        "rss_bytes": process.rss_bytes,
        "pss_bytes": process.pss_bytes,
        "buffers": len(process.inodes),
        "inodes": list(process.inodes),
        "threads_with_own_table": list(process.threads_with_own_table),
        "libraries": None if process.libraries is None else list(process.libraries),
    }


def _totals(snapshot: Snapshot) -> Json:
    sums = totals(snapshot)
    return {
        "total_bytes": sums.total_bytes,
        "kernel_rss_bytes": sums.kernel_rss_bytes,
        "userspace_rss_bytes": sums.userspace_rss_bytes,
        "userspace_pss_bytes": sums.userspace_pss_bytes,
    }


def _memory(memory: Memory) -> Json:
    return {
        "total_bytes": memory.total_bytes,
        "available_bytes": memory.available_bytes,
        "cma_total_bytes": memory.cma_total_bytes,
        "cma_free_bytes": memory.cma_free_bytes,
        "cma_alloc_success": memory.cma_alloc_success,
        "cma_alloc_fail": memory.cma_alloc_fail,
        "pools_bytes": memory.pools_bytes,
        "cma_free_blocks": memory.cma_free_blocks,
        "zones": [_zone(zone) for zone in memory.zones],
    }


def _zone(zone: Zone) -> Json:
    node, name, free_blocks = zone
    return {
        "node": node,
        "zone": name,
        "free_blocks": list(free_blocks),
        "unusable_index": [unusable_index(free_blocks, order) / 1000 for order in range(len(free_blocks))],
        "extfrag_index": [extfrag_index(free_blocks, order) / 1000 for order in range(len(free_blocks))],
    }


def _area(area: CmaArea) -> Json:
    return {
        "name": area.name,
        "base_pfn": area.base_pfn,
        "count_pages": area.count_pages,
        "order_per_bit": area.order_per_bit,
        "used_pages": area.used_pages,
        "max_free_run_pages": area.max_free_run_pages,
        "alloc_pages_success": area.alloc_pages_success,
        "alloc_pages_fail": area.alloc_pages_fail,
        "release_pages_success": area.release_pages_success,
        "failures": None if area.failures is None else [failure._asdict() for failure in area.failures],
        "ranges": [_range(part, area.order_per_bit) for part in area.ranges],
        "provenance": _provenance(area.provenance),
    }


def _range(part: CmaRange, order_per_bit: int | None) -> Json:
    result: Json = {"base_pfn": part.base_pfn, "count_pages": part.count_pages, "used_pages": None, "free_runs": None}
    if part.bitmap is None or order_per_bit is None:
        return result
    count_bits = part.count_pages >> order_per_bit
    result["used_pages"] = used_bits(part.bitmap, count_bits) << order_per_bit
    if part.base_pfn is not None:
        result["free_runs"] = [
            {"pfn": part.base_pfn + (run.start_bit << order_per_bit), "count_pages": run.count_bits << order_per_bit}
            for run in runs(part.bitmap, count_bits)
            if not run.used
        ]
    return result
