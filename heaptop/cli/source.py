"""Opens the source that `-b` names, for as long as a verb runs."""

from collections.abc import Iterator
from contextlib import contextmanager

from heaptop.backend.base import Backend, Recorded, Timeline
from heaptop.backend.select import open_backend
from heaptop.cli.options import Options
from heaptop.cli.output import narrate
from heaptop.errors import UsageError


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
        stand_at(found.backend, options.at)
        yield found.backend
    finally:
        found.backend.close()


def stand_at(backend: Backend, moment: str | None) -> None:
    """Stand at the moment of a recording that `--at` names.

    Raises:
        UsageError: it is no moment, or the source is no recording.
    """
    if moment is None:
        return
    if not isinstance(backend, Timeline):
        raise UsageError("--at", f"{backend.source} is not a recording", "take it with -b replay:PATH")
    from heaptop.analysis.moment import find_moment

    told = backend.told() if isinstance(backend, Recorded) else ()
    marks = [(index, one.mark) for index, one in enumerate(told) if one.mark]
    at = backend.moments()
    backend.seek(find_moment(moment, at, len(at) - 1, marks))
