"""Live events of the app: on and off, and what was told of them. No Textual here."""

from collections.abc import Callable, Sequence
from typing import Any

from heaptop.backend.base import Backend
from heaptop.model import Event, EventKind
from heaptop.tui.event_log import EventLog
from heaptop.tui.poller import Poller
from heaptop.tui.watcher import Told, Watcher
from heaptop.watching import event_source


class Live:
    """At most one watcher, and the log of the last one. For the app's thread; `tell` is called in the watcher's."""

    def __init__(self, poller: Poller, tell: Callable[["EventLog", Told], None]) -> None:
        """`tell` brings what a watcher told to the app's thread, which gives it to `take`."""
        self._poller = poller
        self._tell = tell
        self._watcher: Watcher | None = None
        self._knows_places = False
        self.log: EventLog | None = None

    @property
    def is_on(self) -> bool:
        """Whether events are watched."""
        return self._watcher is not None

    def turn_on(self) -> None:
        """Begin to watch, with a new log."""
        log = self.log = EventLog()
        backend = self._poller.backend
        if backend is None:
            return  # not open yet
        # The backend is the poller's: whatever is asked of it is asked in the poller's thread.
        self._watcher = Watcher(
            lambda: event_source(backend, ask=self._ask), lambda told: self._tell(log, told), self._learn
        )
        self._watcher.start()

    def turn_off(self, patience_s: float = 0) -> None:
        """Watch no more: the probes are gone within a moment, at the latest when this process is."""
        watcher, self._watcher = self._watcher, None
        if watcher is not None:
            watcher.stop(patience_s)

    def take(self, log: EventLog, told: Told) -> bool:
        """What a watcher told; False where it is not the one whose log is shown."""
        log.take(told)
        if log is not self.log:
            return False
        if log.is_over:
            self._watcher = None
        return True

    def _ask(self, job: Callable[[Backend], Any]) -> Any:
        return self._poller.submit(job).result()

    def _learn(self, events: Sequence[Event]) -> None:
        """In the watcher's thread: the session learns where buffers lie."""
        self._knows_places |= any(event.pfn is not None for event in events)
        if self._knows_places:
            told = [event for event in events if event.pfn is not None or event.kind is EventKind.FREE]
            self._poller.submit_to_session(lambda session: session.note_events(told))
