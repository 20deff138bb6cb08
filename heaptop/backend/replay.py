"""A recording as a source of captures."""

from collections.abc import Sequence

from heaptop import recording
from heaptop.backend.chosen import without
from heaptop.capture import Capture


class ReplayBackend:
    """Hands over the one capture of a recording, again and again: a `Timeline` of one. It cannot allocate."""

    def __init__(self, path: str, *, off: frozenset[str] = frozenset()) -> None:
        """Read the recording at `path`, and leave out the sources that are `off`.

        Raises:
            RecordingError: there is none, or it cannot be read.
        """
        self._capture = without(recording.read(path), off)

    @property
    def source(self) -> str:
        """`replay:PATH`."""
        return self._capture.source

    def capture(self) -> Capture:
        """The recording's capture, always the very same."""
        return self._capture

    def moments(self) -> Sequence[float]:
        """The one moment there is."""
        return (self._capture.captured_at or 0.0,)

    def seek(self, index: int) -> None:
        """Stay.

        Raises:
            IndexError: any other moment is asked for.
        """
        if index != 0:
            raise IndexError(index)

    def close(self) -> None:
        """Nothing is held."""
