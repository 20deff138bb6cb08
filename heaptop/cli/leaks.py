"""`heaptop leaks`: watches for a time (or reads all moments of a recording) and names the classes that grow."""

import argparse
import time
from collections.abc import Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Final, NamedTuple

from heaptop.analysis.orphans import Orphan, orphans
from heaptop.analysis.suspects import Growth, Kind, Verdict
from heaptop.backend.base import Timeline
from heaptop.cli import values
from heaptop.cli.interrupts import Received, interrupts
from heaptop.cli.options import Options as CommonOptions
from heaptop.cli.output import emit, look_of, narrate, narrate_gaps
from heaptop.cli.source import opened
from heaptop.errors import Exit
from heaptop.model import Snapshot
from heaptop.session import Session

if TYPE_CHECKING:
    from heaptop.analysis.sites import SiteShare

FOR_S: Final = 20.0
LOOKS_WANTED: Final = 40
INTERVAL_S_MAX: Final = 1.0

MANUAL: Final = {
    "leaks": "Looks at all buffers again and again (of a recording: at all its moments) and names the classes that "
    "grow: exporter, size, name and holder, buffers and bytes a minute, how sure that is, and what it rests on. A "
    "class is a suspect where buffers came all along, steadily and still, and are clearly older than those like them "
    "get. A pool that has filled, a ring and what comes and goes are none. No verdict rests on one sighting: watch "
    "for at least ten times as long as the program takes to lose a buffer.",
}


class Options(CommonOptions):
    """What was asked for."""

    duration: float | None = None
    all: bool = False
    exit_code: bool = False


def arguments(parser: argparse.ArgumentParser) -> None:
    """Its own arguments."""
    parser.add_argument(
        "--for",
        dest="duration",
        metavar="DURATION",
        type=values.duration,
        help=f"watch for this time (default: {FOR_S:.0f}s; of a recording its last part, default: all)",
    )
    parser.add_argument("--all", action="store_true", help="tell of plateaus and of what comes and goes, too")
    parser.add_argument("--exit-code", action="store_true", help="exit with 1 where there is a suspect")


def run(options: Options) -> int:
    """Watch, judge, print. An interrupt ends the watching, not the telling.

    Raises:
        UsageError: the filter cannot be taken.
        SourceError, RecordingError: the source cannot be opened, or is gone.
    """
    chosen = None
    if options.filter is not None:
        from heaptop.analysis.filter import compile_filter

        chosen = compile_filter(options.filter)
    with interrupts() as received, opened(options) as backend:
        session = Session(backend, time.time)
        if isinstance(backend, Timeline):
            _replay(session, backend, options.duration, received)
        else:
            _watch(session, options, received)
    growth, snapshot = session.growth(), session.snapshot
    if snapshot is None:
        return Exit.INTERRUPTED
    orphaned = orphans(snapshot, session.let_go)
    if chosen is not None:
        orphaned = tuple(one for one in orphaned if chosen.matches(one.buffer))
    kinds = frozenset(Kind) if options.all else {Kind.SUSPECT, Kind.GROWING}
    from heaptop.analysis.verdict_words import as_buffer

    verdicts = [
        one for one in growth.verdicts if one.kind in kinds and (chosen is None or chosen.matches(as_buffer(one)))
    ]
    _print(_Found(snapshot, growth, verdicts, orphaned, session.allocated), options)
    if received:
        return Exit.INTERRUPTED
    found = any(one.kind is Kind.SUSPECT for one in verdicts)
    return Exit.CHECK_FAILED if options.exit_code and found else Exit.OK


class _Found(NamedTuple):
    """What there is to tell."""

    snapshot: Snapshot
    growth: Growth
    verdicts: Sequence[Verdict]
    orphans: Sequence[Orphan]
    allocated: int | None


def _print(found: _Found, options: Options) -> None:
    from heaptop.report import growth as report

    sites = _call_sites(found.snapshot, found.verdicts)
    if options.json:
        from heaptop.report import json

        emit(json.dumps(report.document(*found, sites=sites)))
        return
    emit(report.text(found.snapshot, found.growth, found.verdicts, look_of(options), sites))
    emit(report.orphan_text(found.orphans))
    if found.allocated:
        narrate(f"heaptop: {found.allocated} buffers were allocated meanwhile, by the numbers of their inodes")
    narrate_gaps(found.snapshot)


def _replay(session: Session, backend: Timeline, last_s: float | None, received: Received) -> None:
    """All moments of a recording, or those of its last part."""
    moments = backend.moments()
    first = 0 if last_s is None else max(0.0, moments[-1] - last_s)
    wanted = [index for index, moment in enumerate(moments) if moment >= first]
    if len(wanted) == 1:
        narrate("note: one moment tells no growth; record for a while with `heaptop record`")
    for index in wanted:
        if received:
            return
        backend.seek(index)
        session.refresh()


def _watch(session: Session, options: Options, received: Received) -> None:
    """Look at a live source at an even pace until the time is over."""
    duration_s = FOR_S if options.duration is None else options.duration
    interval_s = options.interval or max(values.INTERVAL_S_MIN, min(INTERVAL_S_MAX, duration_s / LOOKS_WANTED))
    narrate(f"heaptop: watching for {duration_s:g} s, a look every {interval_s:g} s")
    began = due = time.monotonic()
    session.refresh()
    while not received:
        due = max(due + interval_s, time.monotonic())
        if due > began + duration_s:
            return
        received.wait(due - time.monotonic())
        session.refresh()


def _call_sites(snapshot: Snapshot, verdicts: Sequence[Verdict]) -> "dict[int, Sequence[SiteShare]]":
    """Where the buffers of each suspect were allocated, as far as it was watched."""
    by_inode = {buffer.inode: buffer for buffer in snapshot.buffers if buffer.origin is not None}
    if not by_inode:
        return {}
    from heaptop.analysis.sites import shares
    from heaptop.symbols.symbolizer import Symbolizer

    with closing(Symbolizer()) as symbolizer:
        return {
            number: shares([by_inode[inode] for inode in one.evidence.inodes if inode in by_inode], symbolizer.name)
            for number, one in enumerate(verdicts)
            if one.evidence is not None
        }
