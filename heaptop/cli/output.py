"""What the verbs print with: stdout is data, stderr narration."""

import os
import sys

from heaptop.cli.parser import Options
from heaptop.model import Snapshot
from heaptop.report.table import Look
from heaptop.units import printable


def emit(text: str) -> None:
    """Data, to stdout, at once."""
    sys.stdout.write(text)
    sys.stdout.flush()


def narrate(text: str) -> None:
    """One line beside the data, to stderr; `text` may hold names from outside."""
    sys.stderr.write(f"{printable(text)}\n")
    sys.stderr.flush()


def look_of(options: Options) -> Look:
    """How stdout wants its text: a terminal gets its width and colours, anything else gets everything."""
    unicode = (sys.stdout.encoding or "").lower().replace("-", "").startswith("utf")
    if not sys.stdout.isatty():
        return Look(unicode=unicode)
    plain = options.no_color or bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM", "dumb") == "dumb"
    return Look(width=_columns(), colour=not plain, unicode=unicode)


def _columns() -> int:
    try:
        columns = os.get_terminal_size(sys.stdout.fileno()).columns
    except OSError:
        columns = 0
    return columns or 80  # a serial line tells 0


def narrate_gaps(snapshot: Snapshot) -> None:
    """What could not be read, why, and what to do about it."""
    from heaptop.report.text import note

    for gap in snapshot.gaps:
        narrate(note(gap))
