"""What the verbs print with: stdout is data, stderr narration."""

import os
import sys
from typing import TYPE_CHECKING, Final

from heaptop.cli.options import Options
from heaptop.errors import HeaptopError, UsageError, errno_text
from heaptop.units import printable

if TYPE_CHECKING:
    from heaptop.model import Snapshot
    from heaptop.report.table import Look

COLUMNS: Final = 80
"""The width of a terminal that tells none, as a serial line does."""


def emit(text: str) -> None:
    """Data, to stdout, at once.

    Raises:
        BrokenPipeError: the reader is gone.
        HeaptopError: it cannot be written (a full disk).
    """
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise HeaptopError("stdout", errno_text(error.errno or 0)) from error


def emit_bytes(data: bytes) -> None:
    """The same for what is no text: not to a terminal.

    Raises:
        BrokenPipeError, HeaptopError: as `emit`.
    """
    if sys.stdout.isatty():
        raise UsageError("stdout is a terminal", "this is no text", "name a file, or pipe it")
    try:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise HeaptopError("stdout", errno_text(error.errno or 0)) from error


def narrate(text: str) -> None:
    """One line beside the data, to stderr; `text` may hold names from outside."""
    sys.stderr.write(f"{printable(text)}\n")
    sys.stderr.flush()


def look_of(options: Options) -> "Look":
    """How stdout wants its text: a terminal gets its width and colours, anything else gets everything."""
    from heaptop.report.table import Look

    unicode = (sys.stdout.encoding or "").lower().replace("-", "").startswith("utf")
    if not sys.stdout.isatty():
        return Look(unicode=unicode)
    plain = options.no_color or bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM", "dumb") == "dumb"
    columns = os.get_terminal_size(sys.stdout.fileno()).columns
    return Look(width=columns or COLUMNS, colour=not plain, unicode=unicode)


def narrate_gaps(snapshot: "Snapshot") -> None:
    """What could not be read, why, and what to do about it."""
    from heaptop.report.text import note

    for gap in snapshot.gaps:
        narrate(note(gap))
