"""`heaptop events`: allocations and frees as they happen, until interrupted or for a time."""

import argparse
import signal
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager, nullcontext
from types import FrameType
from typing import TYPE_CHECKING, Final

from heaptop.analysis.events import as_buffer
from heaptop.assemble import assemble
from heaptop.backend.base import Backend
from heaptop.cli import values
from heaptop.cli.options import Options as CommonOptions
from heaptop.cli.output import emit, narrate
from heaptop.cli.source import opened
from heaptop.errors import Exit, UsageError
from heaptop.model import Event, EventKind, Snapshot
from heaptop.report import events as report
from heaptop.report.text import note
from heaptop.trace.base import EventSource
from heaptop.watching import event_source

if TYPE_CHECKING:
    from heaptop.analysis.filter import Filter

WAIT_S: Final = 0.2
"""The longest time until an interrupt is noticed."""


MANUAL: Final = {
    "events": "A line per event, as it happens: alloc and free with process, thread, size, inode, exporter and the "
    "time that the call took; alloc_fail with the heap's errno; cma_fail with the reason (no run large enough, or "
    "pages pinned) and the area's map at that moment. A free is told of whoever dropped the last reference, which "
    "need not be the owner. Probes are taken away on the way out, even by SIGKILL. The end tells how many events "
    "there were, how many were lost, and what watching cost. With --stacks the call stack of each allocation, in any "
    "process, is kept for heaptop sites and recordings meanwhile. It needs root (or CAP_BPF and CAP_PERFMON), or the "
    "emulator.",
}


class Options(CommonOptions):
    """What was asked for."""

    duration: float | None = None
    stacks: bool = False


def arguments(parser: argparse.ArgumentParser) -> None:
    """Its own arguments."""
    parser.add_argument(
        "--for",
        dest="duration",
        metavar="DURATION",
        type=values.duration,
        help="end after this time (default: when interrupted)",
    )
    parser.add_argument(
        "--stacks", action="store_true", help="take note of where buffers are allocated, for heaptop sites elsewhere"
    )


def run(options: Options) -> int:
    """Watch, tell, and in the end say what it cost. Nothing stays behind, whatever ends it.

    Raises:
        UsageError: the filter cannot be taken, or this source has no events.
        SourceError: the kernel cannot or may not be watched.
    """
    chosen = None if options.filter is None else _compiled(options.filter)
    options.readonly = False  # watching allocates nothing and writes to no device
    with opened(options) as backend:
        source = event_source(backend, options.root)
        with _stacks(backend) if options.stacks else nullcontext():
            source.start()
            try:
                return _Stream(source, chosen, options, backend.source).run()
            finally:
                source.stop()


@contextmanager
def _stacks(backend: Backend) -> Iterator[None]:
    """Take note of the call stacks of all processes' allocations meanwhile."""
    if backend.source != "kernel":
        raise UsageError("--stacks", f"{backend.source} has none", "run the program with `heaptop run`")
    from heaptop.trace.stack_samples import StackSamples

    samples = StackSamples(_alive)
    try:
        yield
    finally:
        samples.close()
        late = f", {samples.missed} came too late to be understood" if samples.missed else ""
        lost = f", {samples.lost} lost" if samples.lost else ""
        narrate(f"heaptop: {samples.taken} call stacks{late}{lost}")


def _alive() -> frozenset[int]:
    """Inodes of all live buffers."""
    from heaptop.backend.kernel import KernelBackend

    with closing(KernelBackend()) as backend:
        return frozenset(buffer.inode for buffer in assemble(backend.capture()).buffers)


def _compiled(text: str) -> "Filter":
    from heaptop.analysis.filter import compile_filter

    return compile_filter(text)


class _Stream:
    """Prints the events of a source that match."""

    def __init__(self, source: EventSource, chosen: "Filter | None", options: Options, name: str) -> None:
        self._source = source
        self._chosen = chosen
        self._options = options
        self._name = name
        self._counts: Counter[EventKind] = Counter()
        self._lost = 0

    def run(self) -> int:
        began, own = time.monotonic(), time.process_time()
        end = None if self._options.duration is None else began + self._options.duration
        for gap in self._source.gaps:
            narrate(note(gap))
        narrate(f"heaptop: watching {', '.join(self._source.watched)}")
        try:
            with _interrupts() as interrupts:
                while not interrupts and (end is None or time.monotonic() < end):
                    wait_s = WAIT_S if end is None else max(0.0, min(WAIT_S, end - time.monotonic()))
                    self._print(self._source.read(wait_s))
                self._print(self._source.finish())
        finally:
            passed_s, own_s = time.monotonic() - began, time.process_time() - own
            costs = own_s, passed_s, self._source.kernel_s()
            narrate(f"heaptop: {report.summary(self._counts, self._source.lost, *costs)}")
        return Exit.INTERRUPTED if interrupts else Exit.OK

    def _print(self, events: tuple[Event, ...]) -> None:
        lines = [self._text(event) for event in events if self._matches(event)]
        if lines:
            emit("".join(lines))
        if self._source.lost > self._lost:
            narrate(f"note: {self._source.lost - self._lost} events are lost: more came than could be taken")
            self._lost = self._source.lost

    def _matches(self, event: Event) -> bool:
        return self._chosen is None or self._chosen.matches(as_buffer(event))

    def _text(self, event: Event) -> str:
        self._counts[event.kind] += 1
        look = self._source.look(event)
        seen = None if look is None else _of_area(assemble(look.capture), event.area)
        if not self._options.json:
            return report.line(event, seen)
        from heaptop.report import json

        after_s = None if look is None else look.after_s
        return json.dumps_line(report.document(self._name, event, seen, after_s))


def _of_area(snapshot: Snapshot, name: str | None) -> Snapshot:
    return snapshot._replace(cma=tuple(area for area in snapshot.cma if area.name == name))


@contextmanager
def _interrupts() -> Iterator[list[int]]:
    """Collects SIGINT instead of raising it, so that what was seen is told whole; a second one raises."""
    received: list[int] = []

    def receive(number: int, _: FrameType | None) -> None:
        received.append(number)
        signal.signal(signal.SIGINT, before)

    before = signal.getsignal(signal.SIGINT)
    if before is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, receive)
    try:
        yield received
    finally:
        signal.signal(signal.SIGINT, before)
