"""A recording as a source of captures."""

from collections.abc import Mapping, Sequence

from heaptop import recording
from heaptop.backend.chosen import Chosen
from heaptop.capture import Capture
from heaptop.recording.moments import Break, Moment
from heaptop.recording.series import Series


class ReplayBackend:
    """Hands over the captures of a recording, a `Timeline`. It cannot allocate."""

    def __init__(self, path: str, *, off: frozenset[str] = frozenset()) -> None:
        """Open the recording at `path`, at its last moment, and leave out the sources that are `off`.

        Raises:
            RecordingError: there is none, or it cannot be read.
        """
        found = recording.read_all(path)
        self._source = f"replay:{path}"
        self._chosen = Chosen(off)
        self._series: Series | None = found if isinstance(found, Series) else None
        self._capture: Capture | None = found if isinstance(found, Capture) else None
        at = () if self._capture is None else (self._capture.captured_at or 0.0,)
        self._moments = at if self._series is None else self._series.line.at
        self._index = len(self._moments) - 1

    @property
    def source(self) -> str:
        """`replay:PATH`."""
        return self._source

    def capture(self) -> Capture:
        """The capture of the moment it stands at, the very same until the next seek."""
        if self._capture is None:
            assert self._series is not None
            self._capture = self._series.capture(self._index)
        return self._chosen.of(self._capture)

    def moments(self) -> Sequence[float]:
        """When each capture was taken; 0 where a single one does not tell."""
        return self._moments

    @property
    def index(self) -> int:
        """Where it stands."""
        return self._index

    def seek(self, index: int) -> None:
        """Stand at another moment.

        Raises:
            IndexError: there is no such moment.
        """
        if not 0 <= index < len(self._moments):
            raise IndexError(index)
        if index != self._index:
            self._index, self._capture = index, None

    def told(self) -> Sequence[Moment]:
        """What the recorder told of each moment; empty where nothing."""
        return () if self._series is None else self._series.moments

    def breaks(self) -> Sequence[Break]:
        """Where time or the boot does not go on."""
        return () if self._series is None else self._series.line.breaks

    def first_seen(self, index: int) -> Mapping[int, float]:
        """When buffers of that moment had first been seen, as far as the recorder told: seconds since the epoch."""
        return {} if self._series is None else self._series.first_seen(index)

    def close(self) -> None:
        """Nothing is held."""
