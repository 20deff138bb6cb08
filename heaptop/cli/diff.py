"""`heaptop diff`: what changed between two captures, recordings, dumps or moments, or since one of them."""

import argparse
import os
from typing import TYPE_CHECKING, Final

from heaptop.analysis.diff import Delta, diff, told_by_both
from heaptop.assemble import assemble
from heaptop.backend.base import Backend, Timeline, whole_capture
from heaptop.backend.select import open_backend
from heaptop.cli.options import Options as CommonOptions
from heaptop.cli.output import emit, look_of, narrate, narrate_gaps
from heaptop.cli.source import stand_at
from heaptop.errors import Exit
from heaptop.model import Snapshot

if TYPE_CHECKING:
    from heaptop.analysis.filter import Filter

KINDS: Final = ("auto", "kernel", "emulator", "simulation", "replay", "adb", "ssh")
"""How sources begin, as -b takes them. A file of such a name is written ./NAME."""

MANUAL: Final = {
    "diff": "A and B are recordings or dumps, or sources as -b takes them. PATH@MOMENT is a moment of a recording, as "
    "--at has it; without one it is the last. Without B it is the source of -b, so that diff A says what changed since "
    "A was captured; a recording of many moments is compared with itself, its first with its last. Buffers are "
    "compared by inode within a boot, classes always. The exit code is 0, or with --exit-code 1 where anything "
    "differs that --filter lets through.",
}


class Options(CommonOptions):
    """What was asked for."""

    before: str = ""
    now: str | None = None
    exit_code: bool = False


def arguments(parser: argparse.ArgumentParser) -> None:
    """Its own arguments."""
    parser.add_argument("before", metavar="A", help="a recording or dump, with @MOMENT where it has many, or a source")
    parser.add_argument("now", metavar="B", nargs="?", help="what it is compared with (default: the source of -b)")
    parser.add_argument("--exit-code", action="store_true", help="exit with 1 where anything differs")


def run(options: Options) -> int:
    """Look at both, compare, print.

    Raises:
        UsageError: the filter, a moment or a source cannot be taken.
        SourceError, RecordingError: a source cannot be opened.
    """
    chosen = None
    if options.filter is not None:
        from heaptop.analysis.filter import compile_filter

        chosen = compile_filter(options.filter)
    before, now = _both(options)
    delta = told_by_both(diff(before, now))
    if chosen is not None:
        before, now, delta = _filtered(before, now, delta, chosen)
    from heaptop.report import diff as report

    if options.json:
        from heaptop.report import json

        emit(json.dumps(report.document(before, now, delta)))
    else:
        emit(report.text(before, now, delta, look_of(options)))
        narrate_gaps(now)
    return Exit.CHECK_FAILED if options.exit_code and not report.is_same(delta) else Exit.OK


def _both(options: Options) -> tuple[Snapshot, Snapshot]:
    backend, moment = _opened(options.before, options)
    try:
        with_itself = options.now is None and moment is None and "backend" not in vars(options)
        if with_itself and isinstance(backend, Timeline) and len(backend.moments()) > 1:
            backend.seek(0)
            before = assemble(backend.capture())
            backend.seek(len(backend.moments()) - 1)
            return before, assemble(backend.capture())
        before = assemble(whole_capture(backend))
    finally:
        backend.close()
    backend, _ = _opened(options.backend if options.now is None else options.now, options)
    try:
        return before, assemble(whole_capture(backend))
    finally:
        backend.close()


def _opened(what: str, options: Options) -> tuple[Backend, str | None]:
    """The source, standing at the moment that is named; and that."""
    path, at, moment = what.rpartition("@")
    if not at or os.path.exists(what):
        path, moment = what, ""
    kind, _, _ = path.partition(":")
    source = path if kind in KINDS else f"replay:{path}"
    found = open_backend(source, root=options.root, readonly=True, off=options.off)
    if found.note:
        narrate(f"heaptop: {found.note}")
    try:
        stand_at(found.backend, moment or None)
    except BaseException:
        found.backend.close()
        raise
    return found.backend, moment or None


def _filtered(before: Snapshot, now: Snapshot, delta: Delta, chosen: "Filter") -> tuple[Snapshot, Snapshot, Delta]:
    """Both with the buffers that match, and what of the difference does, before or now."""
    old, new = (
        one._replace(buffers=tuple(buffer for buffer in one.buffers if chosen.matches(buffer))) for one in (before, now)
    )
    kept = tuple(pair for pair in delta.changed if any(map(chosen.matches, pair)))
    came = tuple(buffer for buffer in delta.new if chosen.matches(buffer))
    went = tuple(buffer for buffer in delta.gone if chosen.matches(buffer))
    grown = sum((new.size_bytes or 0) - (old.size_bytes or 0) for old, new in kept)
    size = sum(one.size_bytes or 0 for one in came) - sum(one.size_bytes or 0 for one in went) + grown
    return old, new, Delta(came, went, kept, size, len(came) - len(went))
