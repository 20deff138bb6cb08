"""`heaptop capture`: one capture as a recording."""

import argparse
from typing import Final

from heaptop import recording
from heaptop.assemble import assemble
from heaptop.backend.base import whole_capture
from heaptop.cli.options import Options as CommonOptions
from heaptop.cli.output import emit, narrate, narrate_gaps
from heaptop.cli.source import opened
from heaptop.errors import Exit
from heaptop.model import Snapshot

MANUAL: Final = {
    "capture": "The recording is a folder, or a tar where PATH ends so, of plain files at their real paths. It "
    "appears whole or not at all. With --json the document of exactly this capture, all lists in it, goes to "
    "standard output; with --csv its buffers. A recording holds the names of processes and buffers.",
}


class Options(CommonOptions):
    """What was asked for."""

    path: str = ""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Its own arguments."""
    parser.add_argument("path", metavar="PATH", help="a folder, or a tar if it ends in .tar, .tar.gz or .tar.xz")


def run(options: Options) -> int:
    """Write one capture to `options.path`; with --json or --csv, print what exactly that capture tells.

    Raises:
        SourceError: the source cannot be opened, or is gone.
        RecordingError: the recording cannot be written.
    """
    with opened(options) as backend:
        capture = whole_capture(backend)
        recording.write(capture, options.path)
    snapshot = assemble(capture)
    narrate(_summary(options.path, snapshot))
    narrate("note: it holds the names of processes and buffers; look before you share it")
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
