"""Opens the source that `-b` names, for as long as a verb runs."""

from collections.abc import Iterator
from contextlib import contextmanager

from heaptop.backend.base import Backend
from heaptop.backend.select import open_backend
from heaptop.cli.options import Options
from heaptop.cli.output import narrate


@contextmanager
def opened(options: Options) -> Iterator[Backend]:
    """The backend; says on stderr what `auto` took, and why. It is closed on the way out, whatever happens.

    Raises:
        UsageError, SourceError, RecordingError: it cannot be opened.
    """
    found = open_backend(options.backend, root=options.root, readonly=options.readonly, off=options.off)
    try:
        if found.note:
            narrate(f"heaptop: {found.note}")
        yield found.backend
    finally:
        found.backend.close()
