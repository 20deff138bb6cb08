"""One look after the other at a source: live until a time is over, or all moments of a recording at once."""

import time
from collections.abc import Iterator

from heaptop.backend.base import Backend, Timeline
from heaptop.session import Session, Update

INTERVAL_S = 1.0
"""How often a live source is looked at where nothing says so."""


def looks(backend: Backend, duration_s: float | None, interval_s: float | None) -> Iterator[Update]:
    """Every look. A live source is looked at once where no `duration_s` is given; a recording moment by moment.

    Raises:
        SourceError, RecordingError: the source is gone.
    """
    session = Session(backend, time.time)
    if isinstance(backend, Timeline):
        for index in range(len(backend.moments())):
            backend.seek(index)
            yield session.refresh()
        return
    end = time.monotonic() + (duration_s or 0.0)
    while True:
        began = time.monotonic()
        yield session.refresh()
        due = began + (interval_s or INTERVAL_S)
        if due > end:
            return
        time.sleep(max(0.0, due - time.monotonic()))
