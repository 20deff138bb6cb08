"""The live events that the screen shows: the newest, what they cost, and what is wrong. No Textual here."""

from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from heaptop.model import EventKind
from heaptop.tui.watcher import EVENTS_MAX, Ended, Happened, Seen, Told, Watching
from heaptop.units import printable


@dataclass(slots=True)
class EventLog:
    """What was told by one watcher, oldest first, bounded. While `held` (the app is paused) `shown` stands still."""

    watched: tuple[str, ...] = ()
    gaps: tuple[str, ...] = ()
    last: Happened | None = None
    is_over: bool = False
    error: str = ""
    _events: deque[Seen] = field(default_factory=lambda: deque(maxlen=EVENTS_MAX))
    _held: tuple[Seen, ...] | None = None

    def take(self, told: Told) -> None:
        """The next thing that a watcher told."""
        match told:
            case Watching():
                self.watched, self.gaps = told.watched, told.gaps
            case Happened():
                self.last = told
                self._events.extend(told.newest)
            case Ended():
                self.is_over = True
                self.error = "" if told.error is None else printable(str(told.error))

    def hold(self, *, still: bool) -> None:
        """Stand still, or go on with the newest."""
        self._held = tuple(self._events) if still else None

    @property
    def shown(self) -> Sequence[Seen]:
        """The events to draw."""
        return self._events if self._held is None else self._held

    @property
    def newer(self) -> int:
        """How many have come since it stands still."""
        if self._held is None:
            return 0
        return self.counts.total() - (self._held[-1].number if self._held else 0)

    @property
    def counts(self) -> Counter[EventKind]:
        """All events by kind, those no longer kept too."""
        return Counter() if self.last is None else self.last.counts
