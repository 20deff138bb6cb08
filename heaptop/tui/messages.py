"""What happened, as messages to the app. They carry frozen values; a slow screen gets only the newest."""

from typing import TYPE_CHECKING

from textual.message import Message

from heaptop.errors import HeaptopError

if TYPE_CHECKING:
    from heaptop.backend.base import Backend
    from heaptop.tui.event_log import EventLog
    from heaptop.tui.frame import Frame
    from heaptop.tui.watcher import Told


class SourceFound(Message):
    """The source is open; `note` says what the user should know about the choice, if anything."""

    def __init__(self, backend: "Backend", note: str) -> None:
        super().__init__()
        self.backend = backend
        self.note = note


class SourceRefused(Message):
    """The source cannot be opened."""


class SnapshotArrived(Message):
    """A scan is done."""

    def __init__(self, frame: "Frame") -> None:
        super().__init__()
        self.frame = frame

    def can_replace(self, message: Message) -> bool:
        """A newer snapshot stands for an older one that was not drawn yet."""
        return isinstance(message, SnapshotArrived)


class SourceLost(Message):
    """A scan could not be done; the app goes on with what it has."""

    def __init__(self, error: HeaptopError) -> None:
        super().__init__()
        self.error = error

    def can_replace(self, message: Message) -> bool:
        """The newest reason is enough."""
        return isinstance(message, SourceLost)


class PollerBroke(Message):
    """A bug ended the poller."""

    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self.error = error


class EventsTold(Message):
    """What the watcher of live events told, for its log."""

    def __init__(self, log: "EventLog", told: "Told") -> None:
        super().__init__()
        self.log = log
        self.told = told
