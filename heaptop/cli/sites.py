"""`heaptop sites`: which places in programs the buffers come from."""

import argparse
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Final

from heaptop.analysis.sites import By, Of, PeakKeeper, SiteTotal, by_stack, chosen, grouped, samples
from heaptop.cli import values
from heaptop.cli.options import Options as CommonOptions
from heaptop.cli.output import emit, look_of, narrate, narrate_gaps
from heaptop.cli.source import opened
from heaptop.errors import Exit, UsageError
from heaptop.model import Buffer, Snapshot

if TYPE_CHECKING:
    from heaptop.symbols.symbolizer import Symbolizer

SITES_SHOWN: Final = 20
LOOK_S: Final = 0.5
LEAKED_S: Final = 20.0
ENDS: Final = (".json", ".txt", ".collapsed", ".html", ".svg")
"""How the name of an exported file ends."""

MANUAL: Final = {
    "sites": "Groups buffers by the place in the program that allocated them, with the call stacks that lead there, "
    "innermost first. Call stacks are known of buffers whose allocation heaptop watched: those of a program under "
    "heaptop run, and on a real kernel those allocated while heaptop events --stacks watches. --of leaked takes only "
    "what has grown steadily while it watched (see heaptop leaks), --of peak the moment with most bytes of all looks. "
    "--export writes a profile for speedscope (.json), collapsed stacks (.txt), or a flame graph (.html, .svg).",
}


class Options(CommonOptions):
    """What was asked for."""

    of: str = Of.LIVE.value
    by: str = By.BYTES.value
    duration: float | None = None
    export: str | None = None
    symbols: list[str] | None = None
    limit: int = SITES_SHOWN
    force: bool = False


def arguments(parser: argparse.ArgumentParser) -> None:
    """Its own arguments."""
    parser.add_argument(
        "--of", metavar="BUFFERS", choices=[of.value for of in Of], help="live (default), leaked or peak"
    )
    parser.add_argument("--by", metavar="WEIGHT", choices=[by.value for by in By], help="bytes (default) or count")
    parser.add_argument(
        "--for",
        dest="duration",
        metavar="DURATION",
        type=values.duration,
        help=f"watch for this time (default: one look; --of leaked {LEAKED_S:.0f}s)",
    )
    parser.add_argument("--export", metavar="FILE", help=f"write a file that ends in {', '.join(ENDS)}")
    parser.add_argument("--force", action="store_true", help="write it in place of one that exists")
    parser.add_argument(
        "--symbols", metavar="DIR", action="append", help="look here for unstripped files, too; may be given again"
    )
    parser.add_argument("-n", dest="limit", metavar="COUNT", type=values.count, help=f"sites shown ({SITES_SHOWN})")


def check(options: Options) -> None:
    """That the name of the file says what it is to be.

    Raises:
        UsageError: it does not.
    """
    if options.export is not None and not options.export.endswith(ENDS):
        raise UsageError(f"--export {options.export}", "of no known kind", f"end it in {', '.join(ENDS)}")


def run(options: Options) -> int:
    """Look, name, print.

    Raises:
        UsageError: the filter cannot be taken, or the file exists.
        SourceError, RecordingError: the source cannot be opened, or is gone.
    """
    from heaptop.symbols.files import Places
    from heaptop.symbols.symbolizer import Symbolizer

    of, by = Of(options.of), By(options.by)
    snapshot, buffers = _looked(options, of)
    totals = by_stack(buffers, by)
    with closing(Symbolizer(Places(folders=tuple(options.symbols or ())))) as symbolizer:
        if options.export is not None:
            title = f"{snapshot.source}, {of.value} buffers"
            _export(options.export, totals, symbolizer, by, title, force=options.force)
        else:
            _print(snapshot, totals, symbolizer, options)
        for note in symbolizer.notes():
            narrate(f"note: {note}")
    if buffers and not any(buffer.origin is not None for buffer in buffers):
        narrate("note: no call stack is known here; run the program with `heaptop run`")
    return Exit.OK


def _looked(options: Options, of: Of) -> tuple[Snapshot, Sequence[Buffer]]:
    """The last snapshot of all looks, and the buffers asked for."""
    from heaptop.session import Session

    matches = _filter(options.filter)
    duration_s = LEAKED_S if options.duration is None and of is Of.LEAKED else options.duration or 0.0
    with opened(options) as backend:
        session, peak = Session(backend, time.time), PeakKeeper()
        end = time.monotonic() + duration_s
        if duration_s:
            narrate(f"heaptop: watching for {duration_s:g} s")
        while True:
            snapshot = session.refresh().snapshot
            peak.look(snapshot)
            left_s = end - time.monotonic()
            if left_s <= 0:
                break
            time.sleep(min(LOOK_S, left_s))
    narrate_gaps(snapshot)
    evidence = (suspect.evidence for suspect in session.growth().suspects)
    suspects = [inode for each in evidence if each is not None for inode in each.inodes]
    return snapshot, [buffer for buffer in chosen(of, snapshot, suspects, peak) if matches is None or matches(buffer)]


def _filter(text: str | None) -> Callable[[Buffer], bool] | None:
    if text is None:
        return None
    from heaptop.analysis.filter import compile_filter

    return compile_filter(text).matches


def _print(snapshot: Snapshot, totals: Sequence[SiteTotal], symbolizer: "Symbolizer", options: Options) -> None:
    from heaptop.report import sites as report

    groups, of = grouped(totals, symbolizer.name), Of(options.of)
    if options.json:
        from heaptop.report import json

        emit(json.dumps(report.document(snapshot, groups, symbolizer.name, of)))
    else:
        emit(report.text(snapshot, groups, symbolizer.name, of, look_of(options), limit=options.limit))


def _export(
    path: str, totals: Sequence[SiteTotal], symbolizer: "Symbolizer", by: By, title: str, *, force: bool
) -> None:
    from heaptop.recording.file import write_file
    from heaptop.report.site_exports import content, format_of

    write_file(path, content(format_of(path) or "", samples(totals, symbolizer.name), title, by), force=force)
    count = sum(total.count for total in totals)
    narrate(f"heaptop: wrote {path}: {count} buffers in {len(totals)} call stacks")
