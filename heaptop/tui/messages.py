"""What happened, as messages to the app. They carry frozen values; a slow screen gets only the newest."""

from textual.message import Message

from heaptop.errors import HeaptopError
from heaptop.tui.frame import Frame


class SnapshotArrived(Message):
    """A scan is done."""

    def __init__(self, frame: Frame) -> None:
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
