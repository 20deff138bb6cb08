"""`heaptop capture`: one capture as a recording."""

import argparse
from typing import Final

from heaptop import recording
from heaptop.assemble import assemble
from heaptop.backend.base import whole_capture
from heaptop.cli.anonymous import HOLDS_NAMES, HOLDS_STAND_INS, anonymise_arguments, anonymiser_of, left_out
from heaptop.cli.options import Options as CommonOptions
from heaptop.cli.output import emit, narrate, narrate_gaps
from heaptop.cli.source import opened
from heaptop.errors import Exit
from heaptop.model import Snapshot

MANUAL: Final = {
    "capture": "The recording is a folder, or a tar where PATH ends so, of plain files at their real paths. It "
    "appears whole or not at all. With --json the document of exactly this capture, all lists in it, goes to "
    "standard output; with --csv its buffers. A recording holds the names of processes and buffers; "
    "with --anonymise each is replaced, the same everywhere in it, and with --key in every other one made with it.",
}


class Options(CommonOptions):
    """What was asked for."""

    path: str = ""
    anonymise: bool = False
    key: str | None = None


def arguments(parser: argparse.ArgumentParser) -> None:
    """Its own arguments."""
    parser.add_argument("path", metavar="PATH", help="a folder, or a tar if it ends in .tar, .tar.gz or .tar.xz")
    anonymise_arguments(parser)


def run(options: Options) -> int:
    """Write one capture to `options.path`; with --json or --csv, print what exactly that capture tells.

    Raises:
        UsageError: the key cannot be taken.
        SourceError: the source cannot be opened, or is gone.
        RecordingError: the recording cannot be written.
    """
    anonymiser = anonymiser_of(anonymise=options.anonymise, key=options.key)
    with opened(options) as backend:
        capture = whole_capture(backend)
        if anonymiser is not None:
            capture = anonymiser.capture(capture)
        recording.write(capture, options.path)
    snapshot = assemble(capture)
    narrate(_summary(options.path, snapshot))
    for text in (HOLDS_NAMES if anonymiser is None else HOLDS_STAND_INS, *left_out(anonymiser)):
        narrate(text)
    if options.json:
        from heaptop.report import json

        emit(json.dumps(json.document(snapshot, json.LISTS)))
    elif options.csv:
        from heaptop.report import csv

        emit(csv.dumps(csv.table(snapshot, "buffers")))
    else:
        narrate_gaps(snapshot)
    return Exit.OK


def _summary(path: str, snapshot: Snapshot) -> str:
    from heaptop.report.text import counted
    from heaptop.units import format_size

    size = format_size(snapshot.size_bytes)
    held = counted(len(snapshot.processes), "process", "processes")
    return f"heaptop: wrote {path}: {counted(len(snapshot.buffers), 'buffer')} ({size}), {held}"
