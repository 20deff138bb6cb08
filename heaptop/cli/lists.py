"""The verbs that print a list: heaps, buffers, processes, cma. Once, or again and again with `--interval`."""

import gc
import time
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from heaptop.analysis.orphans import has_hidden
from heaptop.analysis.sort import CMA_KEYS, HEAP_KEYS, PROCESS_KEYS, buffer_keys, sort_rows
from heaptop.assemble import assemble
from heaptop.backend.base import Attentive, Backend, Recorded, Searching
from heaptop.capture import NOTHING
from heaptop.cli.options import Options
from heaptop.cli.output import emit, look_of, narrate_gaps
from heaptop.cli.source import opened
from heaptop.errors import Exit
from heaptop.model import Buffer, ExporterTotal, Heap, Snapshot

if TYPE_CHECKING:
    from heaptop.analysis.filter import Filter
    from heaptop.session import Update

TEXT_ORDER: Final[Mapping[str, str]] = {"heaps": "-size", "buffers": "-size", "processes": "-rss", "cma": "name"}
"""How text is sorted where `--sort` says nothing: the largest first. JSON and CSV keep the model's order."""

IN_FULL: Final = frozenset({"buffers", "processes"})
"""The lists that show the flags of descriptors, and what a process links."""


HAIR_S: Final = 0.05
"""By so much less than the interval moments of a recording may be apart: its recorder was not always on time."""


class Sight(NamedTuple):
    """One look at the source, and what a session knows from earlier ones (nothing where there is no session)."""

    snapshot: Snapshot
    first_seen: Mapping[int, float] = NOTHING
    new: frozenset[int] = frozenset()


SORT_KEYS: Final[Mapping[str, Mapping[str, Callable[[Any], Any]]]] = {
    "heaps": HEAP_KEYS,
    "buffers": buffer_keys({}),
    "processes": PROCESS_KEYS,
    "cma": CMA_KEYS,
}
"""What each list can be sorted by."""

MANUAL: Final = {
    "heaps": "Each dma-heap with its buffers, their bytes and the CMA area it takes from; then the totals of other "
    "exporters, and what is held by processes and by the kernel alone. With --filter the figures are those of the "
    "buffers that match.",
    "buffers": "Every dma-buf once, joined over all sources by inode: size, name, exporter, holders, visible "
    "descriptors (fd) and mappings (map), and hidden references (hid): those that no visible descriptor or mapping "
    "explains. A ? marks a buffer that no process is seen to hold, ~ a value that is not known here.",
    "processes": "RSS counts a buffer once per process, whole; PSS divides it by the number of processes that hold "
    "it, as Android's dmabuf_dump has both. Its totals are the last line.",
}


def run(options: Options) -> int:
    """Print the list that `options.verb` names.

    Raises:
        UsageError: the filter or the sort key cannot be taken.
        SourceError, RecordingError: the source cannot be opened, or is gone.
    """
    verb = options.verb or "buffers"
    chosen = None if options.filter is None else _compiled(options.filter)
    with opened(options) as backend:
        if verb in IN_FULL and isinstance(backend, Attentive):
            backend.attend()
        for number, sight in enumerate(_sights(backend, options)):
            shown = shape(sight, verb, chosen, options.sort or _default_order(options, verb))
            emit(render(shown, options, number))
            if not options.json:
                narrate_gaps(shown.snapshot)
    return Exit.OK


def _compiled(text: str) -> "Filter":
    from heaptop.analysis.filter import compile_filter

    return compile_filter(text)


def _default_order(options: Options, verb: str) -> str | None:
    return None if options.json or options.csv else TEXT_ORDER[verb]


def _sights(backend: Backend, options: Options) -> Iterator[Sight]:
    """One look, or with an interval one after the other: until somebody ends it, or the recording ends."""
    interval_s = options.interval
    if interval_s is None:
        gc.disable()  # nothing of one look is garbage before it is printed
    if isinstance(backend, Recorded) and len(backend.moments()) > 1:
        yield from _recorded(backend, 0 if interval_s and options.at is None else backend.index, interval_s)
        return
    if interval_s is None:
        snapshot = assemble(backend.capture())
        if isinstance(backend, Searching) and has_hidden(snapshot.buffers):
            backend.search(wanted=True)
            snapshot = assemble(backend.capture())
        yield Sight(snapshot)
        return
    from heaptop.session import Session

    session = Session(backend, time.time)
    while True:
        started = time.monotonic()
        yield _sight(session.refresh())
        time.sleep(max(0.0, started + interval_s - time.monotonic()))


def _recorded(backend: Recorded, first: int, interval_s: float | None) -> Iterator[Sight]:
    """The moment of a recording, or with an interval those from `first` on that are so far apart."""
    if interval_s is None:
        yield Sight(assemble(backend.capture()), backend.first_seen(first))
        return
    from heaptop.replay import ReplaySession

    session, at, due = ReplaySession(backend), backend.moments(), 0.0
    for index in range(first, len(at)):
        if at[index] >= due or index == first:
            due = at[index] + interval_s - HAIR_S
            *_, update = session.go(index)
            yield _sight(update)


def _sight(update: "Update") -> Sight:
    return Sight(update.snapshot, update.history.first_seen, frozenset(buffer.inode for buffer in update.delta.new))


def shape(sight: Sight, verb: str, chosen: "Filter | None", order: str | None) -> Sight:
    """What is to be shown: filtered, then sorted by `order`. Sums are over what is left."""
    snapshot = sight.snapshot
    if chosen is not None:
        snapshot = _filtered(sight, verb, chosen)
    if order is not None:
        match verb:
            case "heaps":
                snapshot = snapshot._replace(heaps=sort_rows(snapshot.heaps, HEAP_KEYS, order))
            case "buffers":
                keys = buffer_keys(sight.first_seen)
                snapshot = snapshot._replace(buffers=sort_rows(snapshot.buffers, keys, order))
            case "processes":
                snapshot = snapshot._replace(processes=sort_rows(snapshot.processes, PROCESS_KEYS, order))
            case _:
                snapshot = snapshot._replace(cma=sort_rows(snapshot.cma, CMA_KEYS, order))
    return sight._replace(snapshot=snapshot)


def _filtered(sight: Sight, verb: str, chosen: "Filter") -> Snapshot:
    from heaptop.analysis.filter import FilterContext

    snapshot = sight.snapshot
    context = FilterContext(
        now=snapshot.captured_at,
        first_seen=sight.first_seen,
        new=sight.new,
        uids={process.id: process.uid for process in snapshot.processes if process.uid is not None},
    )
    if verb == "processes":
        by_inode = {buffer.inode: buffer for buffer in snapshot.buffers}
        kept = tuple(process for process in snapshot.processes if chosen.matches_process(process, by_inode, context))
        held = {inode for process in kept for inode in process.inodes}
        return snapshot._replace(processes=kept, buffers=tuple(b for b in snapshot.buffers if b.inode in held))
    buffers = tuple(buffer for buffer in snapshot.buffers if chosen.matches(buffer, context))
    return snapshot._replace(
        buffers=buffers,
        heaps=tuple(_recounted(heap, buffers) for heap in snapshot.heaps),
        exporters=tuple(total for old in snapshot.exporters if (total := _exporter_total(old, buffers)).buffers),
    )


def _recounted(heap: Heap, buffers: tuple[Buffer, ...]) -> Heap:
    """The heap with the figures of `buffers` alone; a heap whose buffers cannot be told stays so."""
    if heap.buffers is None:
        return heap
    mine = [buffer for buffer in buffers if buffer.heap == heap.name]
    return heap._replace(buffers=len(mine), size_bytes=sum(buffer.size_bytes or 0 for buffer in mine))


def _exporter_total(total: ExporterTotal, buffers: tuple[Buffer, ...]) -> ExporterTotal:
    mine = [buffer for buffer in buffers if buffer.exporter == total.name]
    return total._replace(buffers=len(mine), size_bytes=sum(buffer.size_bytes or 0 for buffer in mine))


def render(sight: Sight, options: Options, number: int = 0) -> str:
    """The text of one look; `number` counts the looks of a stream from 0."""
    verb = options.verb or "buffers"
    streaming = options.interval is not None
    if options.json:
        from heaptop.report import json

        document = json.document(sight.snapshot, (verb,), sight.first_seen)
        return json.dumps_line(document) if streaming else json.dumps(document)
    if options.csv:
        from heaptop.report import csv
        from heaptop.report.moment import timestamp

        moment = timestamp(sight.snapshot.captured_at)
        lines = csv.table(sight.snapshot, verb)
        if streaming:  # a column more tells the looks apart, and only the first has the header
            lines = [("captured_at" if index == 0 else moment, *line) for index, line in enumerate(lines)]
        return csv.dumps(lines[1:] if number else lines)
    from heaptop.report import text

    block = text.LISTS[verb](sight.snapshot, look_of(options))
    return f"\n{block}" if number else block
