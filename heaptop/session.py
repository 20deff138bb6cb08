"""A session: one backend looked at again and again, with what only time can tell.

The app and the headless verbs both stand on it. It keeps first sightings, who held a buffer last, growth per process,
short trends and the mark; it draws and prints nothing.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from heaptop.analysis.diff import Delta
from heaptop.backend.base import Backend
from heaptop.model import ProcessId, Snapshot


@dataclass(frozen=True, slots=True)
class Cost:
    """What one refresh cost: wall time of capture and assembly, and heaptop's own CPU use since the last one (0..1+)."""

    capture_s: float
    assemble_s: float
    cpu_share: float


@dataclass(frozen=True, slots=True)
class Mark:
    """A moment the user set to compare with."""

    label: str
    snapshot: Snapshot
    set_at: float


@dataclass(frozen=True, slots=True)
class History:
    """What was seen over the life of a session. Times are seconds since the epoch, trends oldest first, bounded.

    `first_seen` by inode (for buffers alive now), `gone` inodes with the time they were first missed (kept for three
    refreshes), `last_holders` by inode: comms of those who held it when it was last held, `growth_bytes` RSS now less
    RSS when the process was first seen.
    """

    first_seen: Mapping[int, float]
    gone: Mapping[int, float]
    last_holders: Mapping[int, tuple[str, ...]]
    growth_bytes: Mapping[ProcessId, int]
    heap_trend_bytes: Mapping[str, tuple[int, ...]]
    process_trend_bytes: Mapping[ProcessId, tuple[int, ...]]
    total_trend_bytes: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Update:
    """One refresh: the snapshot, what changed since the one before and since the mark, and what it cost."""

    snapshot: Snapshot
    delta: Delta
    since_mark: Delta | None
    history: History
    cost: Cost
    number: int


class Session:
    """Refreshes from a backend. Not safe for use by two threads at once; the app calls it from its one poller."""

    def __init__(self, backend: Backend, clock: Callable[[], float]) -> None:
        """`clock` gives seconds since the epoch (an argument, so that tests and recordings have their own)."""
        raise NotImplementedError

    def refresh(self) -> Update:
        """Capture, assemble, compare.

        Raises:
            SourceError, RecordingError: as `Backend.capture`.
        """
        raise NotImplementedError

    def set_mark(self, label: str | None = None) -> Mark:
        """Remember the newest snapshot (the first refresh must have happened); labels go A, B, C…"""
        raise NotImplementedError
