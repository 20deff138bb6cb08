"""`heaptop alloc`: allocates test buffers, holds them, and frees them whatever ends the program."""

import argparse
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from heaptop.analysis.budget import check_budget
from heaptop.assemble import assemble
from heaptop.backend.base import Allocation, Allocator, Backend
from heaptop.backend.fill import Pattern, fill, parse_pattern
from heaptop.cli import values
from heaptop.cli.options import Options as CommonOptions
from heaptop.cli.options import closest
from heaptop.cli.output import emit, narrate
from heaptop.cli.source import opened
from heaptop.errors import AllocationError, Exit, SourceError, UsageError, errno_text
from heaptop.report.csv import Value
from heaptop.report.text import counted
from heaptop.units import format_size, printable, text_of

CSV_HEADER: Final = ("heap", "inode", "size_bytes", "name", "latency_s")


PATTERNS: Final = ("zero", "ff", "count")

MANUAL: Final = {
    "alloc": "Tells of each buffer its inode, its size and the time that the call took; holds them until interrupted "
    "or for --hold, then frees them. More than half of the memory available (MemAvailable of that source) is refused "
    "without --force. With --json each buffer is a line.",
}


class Options(CommonOptions):
    """What was asked for."""

    heap: str = ""
    size: int = 0
    count: int = 1
    name: bytes | None = None
    pattern: str | None = None
    hold: float | None = None
    force: bool = False


def arguments(parser: argparse.ArgumentParser) -> None:
    """Its own arguments."""
    parser.add_argument("heap", metavar="HEAP", help="the heap to ask")
    parser.add_argument("size", metavar="SIZE", type=values.size, help="bytes, or a number with K, M or G")
    parser.add_argument("--count", metavar="N", type=values.count, help="how many buffers (default: 1)")
    parser.add_argument("--name", metavar="TEXT", type=values.buffer_name, help="name them (at most 31 bytes)")
    parser.add_argument("--pattern", metavar="P", help="fill them: zero, ff, count, or bytes in hex like deadbeef")
    parser.add_argument(
        "--hold", metavar="DURATION", type=values.hold, help="free them after this time (default: when interrupted)"
    )
    parser.add_argument("--force", action="store_true", help="allocate more than half of the memory available")


def run(options: Options) -> int:
    """Allocate, tell, hold, free.

    Raises:
        UsageError: this source cannot allocate, the heap is unknown, or it is too much of the memory available.
        AllocationError: the heap refused; what it gave before is freed.
        SourceError, RecordingError: the source cannot be opened.
    """
    pattern = None if options.pattern is None else parse_pattern(options.pattern)
    if options.readonly:
        raise UsageError("alloc", "--readonly allocates nothing", "leave it out")
    with opened(options) as backend:
        heap = _heap_of(backend, options.heap)
        if not options.force:
            check_budget(assemble(backend.capture()), options.size, options.count, "take --force")
        if options.csv:
            _emit_csv(CSV_HEADER)
        with _held() as held:
            for _ in range(options.count):
                held.append(_allocate(heap, options, pattern, backend.source))
                _tell(held[-1], options, backend.source)
            total = format_size(sum(allocation.size_bytes for allocation in held))
            until = "interrupted" if options.hold is None else f"{options.hold:g} s have passed"
            narrate(f"heaptop: holding {counted(len(held), 'buffer')}, {total}, until {until}")
            _wait(options.hold)
    return Exit.OK


def _heap_of(backend: Backend, name: str) -> Allocator:
    """The backend, if it can allocate from the heap called `name`."""
    if not isinstance(backend, Allocator):
        raise UsageError("alloc", f"{backend.source} cannot allocate", "only the running kernel and the emulator can")
    heaps = backend.heaps()
    if not heaps:
        raise SourceError(f"{backend.source} has no dma-heap", remedy="heaptop doctor says why; -b emulator has some")
    if name not in heaps:
        raise UsageError(f"no heap {printable(name)!r} on {backend.source}", remedy=closest(name, heaps))
    return backend


@contextmanager
def _held() -> Iterator[list[Allocation]]:
    held: list[Allocation] = []
    try:
        yield held
    finally:
        for allocation in held:
            os.close(allocation.fd)
        if held:
            narrate(f"heaptop: freed {counted(len(held), 'buffer')}")


def _allocate(heap: Allocator, options: Options, pattern: Pattern | None, source: str) -> Allocation:
    try:
        allocation = heap.allocate(options.heap, options.size, options.name)
    except AllocationError as error:
        if options.json:
            _emit_json(source, event="failed", heap=options.heap, size_bytes=options.size, **_errno_fields(error))
        raise
    if pattern is not None:
        try:
            fill(allocation.fd, allocation.size_bytes, pattern)
        except BaseException:
            os.close(allocation.fd)
            raise
    return allocation


def _errno_fields(error: AllocationError) -> dict[str, object]:
    return {"errno": error.errno, "error": errno_text(error.errno)}


def _tell(allocation: Allocation, options: Options, source: str) -> None:
    name = None if allocation.name is None else text_of(allocation.name)
    fields: dict[str, Value] = {
        "heap": allocation.heap,
        "inode": allocation.inode,
        "size_bytes": allocation.size_bytes,
        "name": name,
        "latency_s": allocation.latency_s,
    }
    if options.json:
        _emit_json(source, event="allocated", **fields)
    elif options.csv:
        _emit_csv(tuple(fields.values()))
    else:
        label = "" if name is None else f" {printable(name)}"
        size = format_size(allocation.size_bytes)
        emit(f"inode {allocation.inode}{label}: {size} of {allocation.heap} in {1e6 * allocation.latency_s:.1f} us\n")


def _emit_json(source: str, **fields: object) -> None:
    from heaptop.report import json

    emit(json.dumps_line({"schema": json.SCHEMA, "source": source, **fields}))


def _emit_csv(cells: Sequence[Value]) -> None:
    from heaptop.report import csv

    emit(csv.dumps([cells]))


def _wait(hold_s: float | None) -> None:
    """Until `hold_s` have passed, or a signal ends the wait by an exception."""
    end = None if hold_s is None else time.monotonic() + hold_s
    while end is None or (left := end - time.monotonic()) > 0:
        time.sleep(3600 if end is None else min(left, 3600))
