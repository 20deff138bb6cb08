"""`heaptop bench`: how long heaps take to allocate, and buffers to be mapped, touched, synced and freed."""

import argparse
from typing import TYPE_CHECKING, Final

from heaptop.analysis.budget import check_budget
from heaptop.analysis.latencies import distribution
from heaptop.assemble import assemble
from heaptop.cli import values
from heaptop.cli.options import Options as CommonOptions
from heaptop.cli.options import closest
from heaptop.cli.output import emit, look_of, narrate
from heaptop.cli.source import opened
from heaptop.errors import Exit, SourceError, UsageError
from heaptop.units import printable

if TYPE_CHECKING:
    from heaptop.backend.base import Allocator, Backend
    from heaptop.backend.latency import Times
    from heaptop.report.latencies import Measured

SIZES: Final = (4 << 10, 64 << 10, 1 << 20, 8 << 20)
COUNT: Final = 200
LIMIT_S: Final = 2.0

MANUAL: Final = {
    "bench": "Allocates buffers of each heap (all, where none is named) and size, one at a time: tells how long ALLOC, "
    "mmap, the first touch of every page, a pair of SYNCs and the last close take, as percentiles. --against HEAP "
    "takes the same of that heap in turn with it. A size of more than half of the memory available is refused without "
    "--force. What a heap refuses is told, and the others go on. The emulator's buffers are memfds, which know no "
    "SYNC.",
}


class Options(CommonOptions):
    """What was asked for."""

    heaps: tuple[str, ...] = ()
    sizes: tuple[int, ...] = SIZES
    count: int = COUNT
    against: str | None = None
    force: bool = False


def arguments(parser: argparse.ArgumentParser) -> None:
    """Its own arguments."""
    parser.add_argument("heaps", metavar="HEAP", nargs="*", help="the heaps to measure (default: all)")
    parser.add_argument(
        "--size",
        dest="sizes",
        metavar="SIZE,…",
        type=_sizes,
        help="sizes, like 4K,1M (default: 4K,64K,1M,8M)",
    )
    parser.add_argument(
        "--count", metavar="N", type=values.count, help=f"buffers of each size (default: {COUNT}, or what 2 s take)"
    )
    parser.add_argument("--against", metavar="HEAP", help="measure this heap in turn with each, and tell the ratio")
    parser.add_argument("--force", action="store_true", help="allocate more than half of the memory available")


def run(options: Options) -> int:
    """Measure, and tell.

    Raises:
        UsageError: this source cannot allocate, a heap is unknown, or a size is too much of the memory available.
        SourceError: the source cannot be opened, or is gone.
    """
    from heaptop.backend.base import Allocator

    if options.readonly:
        raise UsageError("bench", "--readonly allocates nothing", "leave it out")
    with opened(options) as backend:
        if not isinstance(backend, Allocator):
            why = f"{backend.source} cannot allocate"
            raise UsageError("bench", why, "only the running kernel and the emulator can")
        heaps = _heaps(backend, options)
        if not options.force:
            check_budget(assemble(backend.capture()), max(options.sizes), 1, "take --force")
        rows = [row for heap in heaps for size in options.sizes for row in _measured(backend, heap, size, options)]
        _tell(rows, backend.source, options)
    refused = {(row.heap, row.size_bytes): row.error for row in rows if row.error is not None}
    for error in refused.values():
        narrate(f"note: {error}")
    return Exit.UNAVAILABLE if all(row.found is None for row in rows) else Exit.OK


def _heaps(backend: "Backend", options: Options) -> tuple[str, ...]:
    from heaptop.backend.base import Allocator

    assert isinstance(backend, Allocator)
    names = tuple(backend.heaps())
    if not names:
        raise SourceError(f"{backend.source} has no dma-heap", remedy="heaptop doctor says why; -b emulator has some")
    for name in (*options.heaps, *([] if options.against is None else [options.against])):
        if name not in names:
            raise UsageError(f"no heap {printable(name)!r} on {backend.source}", remedy=closest(name, names))
    return options.heaps or tuple(name for name in names if name != options.against) or names


def _measured(allocator: "Allocator", heap: str, size_bytes: int, options: Options) -> "list[Measured]":
    """One heap and size: a row a step."""
    from heaptop.backend.latency import STEPS, measure
    from heaptop.report.latencies import Measured

    heaps = (heap,) if options.against is None else (heap, options.against)
    # A count that was asked for is kept, however long it takes.
    limit_s = LIMIT_S if "count" not in vars(options) else float("inf")
    found, *other = measure(allocator, heaps, size_bytes, options.count, limit_s=limit_s)
    return [
        Measured(
            heap=heap,
            size_bytes=size_bytes,
            step=step,
            found=distribution(found.times_s[step]),
            error=_refusal(found),
            against=options.against,
            beside=distribution(other[0].times_s[step]) if other else None,
        )
        for step in STEPS
    ]


def _refusal(times: "Times") -> str | None:
    return None if times.refusal is None else str(times.refusal)


def _tell(rows: "list[Measured]", source: str, options: Options) -> None:
    from heaptop.report import latencies

    if options.json:
        from heaptop.report import json

        lines = [latencies.fields(row) for row in rows]
        emit(json.dumps({"schema": json.SCHEMA, "source": source, "latencies": lines}))
    elif options.csv:
        from heaptop.report import csv

        emit(csv.dumps([latencies.HEADER, *(tuple(latencies.fields(row).values()) for row in rows)]))
    else:
        emit(latencies.text(rows, look_of(options)))


def _sizes(text: str) -> tuple[int, ...]:
    return tuple(values.size(part) for part in text.split(","))
