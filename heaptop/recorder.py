"""Records what a session sees: each refresh is a moment, and what passes a threshold a capture of its own.

The app and `heaptop record` both stand on it. It is called in the thread that owns the session.
"""

import time
from collections.abc import Callable
from typing import Final

from heaptop.analysis.incident import Incident, IncidentWatch, Kind, Thresholds
from heaptop.capture import Capture
from heaptop.recording.facts import Facts
from heaptop.recording.folder import RecordingFolder
from heaptop.recording.journal import Bounds, Counts, Journal
from heaptop.session import Update, uptime

BOUNDS: Final = Bounds()
NO_THRESHOLDS: Final = Thresholds()


class Recorder:
    """A recording that is being made. `tell` is given lines for the user."""

    def __init__(
        self,
        path: str,
        *,
        bounds: Bounds = BOUNDS,
        thresholds: Thresholds = NO_THRESHOLDS,
        has_names: bool = True,
        tell: Callable[[str], None],
        clock: Callable[[], float] = time.time,
        uptime: Callable[[], float] = uptime,
    ) -> None:
        """Begin a recording at `path`, or go on with the one that is there. `has_names`: they were not replaced.

        Raises:
            RecordingError: it cannot be made, or is being made by another.
        """
        self.path = path
        self._tell = tell
        self._uptime = uptime
        self._watch = IncidentWatch(thresholds)
        self._marks: list[str] = []
        self._incidents: list[Incident] = []
        self._was_full = False
        self._journal = Journal(
            RecordingFolder(path, has_names=has_names), bounds, clock=clock, uptime=uptime, tell=tell
        )

    @property
    def counts(self) -> Counts:
        """What it has done so far."""
        return self._journal.counts

    @property
    def size_bytes(self) -> int:
        """What the recording takes."""
        return self._journal.size_bytes

    @property
    def waiting(self) -> str:
        """Why nothing is being written; empty where all is well."""
        return self._journal.waiting

    def mark(self, label: str) -> None:
        """Let the next moment carry a mark."""
        self._marks.append(label)

    def ask(self, why: str) -> None:
        """Let the next look be an incident."""
        self._incidents.append(Incident(Kind.ASKED, why))

    def failed(self, why: str) -> bool:
        """An allocation failed: whether the next look is an incident, which then should be soon."""
        incident = self._watch.failure(why, self._uptime())
        if incident is not None:
            self._incidents.append(incident)
        return incident is not None

    def observe(self, capture: Capture, update: Update) -> None:
        """Write the moment, and what it gives cause for.

        Raises:
            RecordingError: the recording is gone.
        """
        incidents = [*self._incidents, *self._watch.look(update.snapshot, self._uptime())]
        marks = [*self._marks, *(f"incident ({incident.kind}): {incident.why}" for incident in incidents)]
        self._incidents, self._marks = [], []
        self._journal.add(capture, _facts(update, "; ".join(marks)))
        for incident in incidents:
            self._write(capture, incident)
        self._tell_first_drop()

    def close(self) -> None:
        """End the recording. May be called twice."""
        self._journal.close()

    def _write(self, capture: Capture, incident: Incident) -> None:
        name = self._journal.incident(capture, incident.kind)
        if name is not None:
            more = f" ({incident.passed_over} more were passed over)" if incident.passed_over else ""
            self._tell(f"incident: {incident.why}{more}: {name}")

    def _tell_first_drop(self) -> None:
        if self.counts.dropped and not self._was_full:
            self._was_full = True
            self._tell("the recording has reached its bound: what is oldest is dropped from now on")


def _facts(update: Update, mark: str) -> Facts:
    snapshot, delta = update.snapshot, update.delta
    return Facts(
        buffers=len(snapshot.buffers),
        size_bytes=snapshot.size_bytes,
        new=tuple(buffer.inode for buffer in delta.new),
        gone=tuple(buffer.inode for buffer in delta.gone),
        changed=len(delta.changed),
        mark=mark,
        first_seen=dict(update.history.first_seen),
    )
