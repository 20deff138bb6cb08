r"""Lists as CSV (RFC 4180): a header line with units in the names, one row per item, CRLF, UTF-8.

An empty cell is a value not known here. Text from outside keeps its newlines (in quotes, as RFC 4180 has it); other
control characters and bytes that are not UTF-8 are escaped like `\x1b`. A text cell that a spreadsheet would take for
a formula (it starts with `=`, `+`, `-` or `@`) gets a leading apostrophe. JSON is the form without loss.
"""

from collections.abc import Iterable, Sequence
from typing import Final

from heaptop.model import Buffer, CmaArea, Heap, Holder, Process, Snapshot
from heaptop.units import printable

Value = str | int | float | bool | None

HEADERS: Final[dict[str, tuple[str, ...]]] = {
    "heaps": ("name", "exporter", "buffers", "size_bytes", "cma_area"),
    "buffers": (
        "inode",
        "size_bytes",
        "name",
        "exporter",
        "heap",
        "file_count",
        "fd_refs",
        "map_refs",
        "hidden_refs",
        "attachments",
        "holders",
    ),
    "processes": ("pid", "comm", "uid", "rss_bytes", "pss_bytes", "buffers", "oom_score_adj", "cgroup", "cmdline"),
    "cma": (
        "name",
        "base_pfn",
        "count_pages",
        "order_per_bit",
        "used_pages",
        "max_free_run_pages",
        "alloc_pages_success",
        "alloc_pages_fail",
        "release_pages_success",
        "ranges",
    ),
}


def table(snapshot: Snapshot, which: str) -> list[tuple[Value, ...]]:
    """One list: its header, then its rows."""
    rows: list[tuple[Value, ...]]
    match which:
        case "heaps":
            rows = [_heap(heap) for heap in snapshot.heaps]
        case "buffers":
            rows = [_buffer(buffer) for buffer in snapshot.buffers]
        case "processes":
            rows = [_process(process) for process in snapshot.processes]
        case _:
            rows = [_area(area) for area in snapshot.cma]
    return [HEADERS[which], *rows]


def dumps(lines: Iterable[Sequence[Value]]) -> str:
    """Rows as text; a str cell is taken as text from outside."""
    return "".join(",".join(_cell(value) for value in line) + "\r\n" for line in lines)


def _cell(value: Value) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        return str(value)
    text = "\n".join(printable(line) for line in value.split("\n"))
    if text.startswith(("=", "+", "-", "@")):
        text = "'" + text
    if any(char in text for char in ',"\n'):
        return '"' + text.replace('"', '""') + '"'
    return text


def _heap(heap: Heap) -> tuple[Value, ...]:
    return heap.name, heap.exporter, heap.buffers, heap.size_bytes, heap.cma_area


def _buffer(buffer: Buffer) -> tuple[Value, ...]:
    return (
        buffer.inode,
        buffer.size_bytes,
        buffer.name,
        buffer.exporter,
        buffer.heap,
        buffer.file_count,
        buffer.fd_count,
        buffer.map_count,
        buffer.hidden_refs,
        None if buffer.attachments is None else " ".join(buffer.attachments),
        " ".join(holder_label(holder) for holder in buffer.holders),
    )


def holder_label(holder: Holder) -> str:
    """A holder as `cameraserver(812)`."""
    return f"{holder.comm}({holder.process.pid})"


def _process(process: Process) -> tuple[Value, ...]:
    return (
        process.id.pid,
        process.comm,
        process.uid,
        process.rss_bytes,
        process.pss_bytes,
        len(process.inodes),
        process.oom_score_adj,
        process.cgroup,
        None if process.cmdline is None else " ".join(process.cmdline),
    )


def _area(area: CmaArea) -> tuple[Value, ...]:
    return (
        area.name,
        area.base_pfn,
        area.count_pages,
        area.order_per_bit,
        area.used_pages,
        area.max_free_run_pages,
        area.alloc_pages_success,
        area.alloc_pages_fail,
        area.release_pages_success,
        len(area.ranges),
    )
