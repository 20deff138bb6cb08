"""What one refresh brings to the screen: the update, indexed (in the poller's thread, so that the screen need not)."""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

from heaptop.analysis.diff import Delta, diff
from heaptop.model import Buffer, Process, ProcessId, Snapshot
from heaptop.session import Update

NEW_SCANS = 3
"""For how many scans a new row carries its `+`, as a gone one its `-`."""


@dataclass(frozen=True, slots=True)
class Frame:
    """An update with its indexes.

    `buffers` are those alive and, after them, those just gone (also in `gone`). `new` came in the last scans, but not
    with the first. `since_held` is what changed since the frame the app holds still (paused), else None. `rate_per_s`
    is by how many buffers their number changes each second, None where time or the scan before is not known.
    """

    update: Update
    buffers: Mapping[int, Buffer]
    gone: Mapping[int, Buffer]
    new: frozenset[int]
    processes: Mapping[ProcessId, Process]
    since_held: Delta | None = None
    rate_per_s: float | None = None


class Framer:
    """Makes frames of a session's updates, one after the other. Remembers the buffers of the last scans, no more."""

    def __init__(self) -> None:
        self.held: Update | None = None
        self._last_seen: dict[int, Buffer] = {}
        self._new: deque[frozenset[int]] = deque(maxlen=NEW_SCANS)
        self._before: Snapshot | None = None

    def frame(self, update: Update) -> Frame:
        """The next frame. Every update of the session must come by here: a row that is gone is known from before."""
        alive = {buffer.inode: buffer for buffer in update.snapshot.buffers}
        self._last_seen.update((buffer.inode, buffer) for buffer in update.delta.gone)
        gone = {
            inode: self._last_seen[inode]
            for inode in update.history.gone
            if inode not in alive and inode in self._last_seen
        }
        self._last_seen = gone
        self._new.append(
            frozenset() if self._before is None else frozenset(buffer.inode for buffer in update.delta.new)
        )
        rate_per_s = _rate(self._before, update.snapshot)
        self._before = update.snapshot
        return Frame(
            update=update,
            buffers={**alive, **gone} if gone else alive,
            gone=dict(gone),
            new=frozenset().union(*self._new) & alive.keys(),
            processes={process.id: process for process in update.snapshot.processes},
            since_held=None if self.held is None else diff(self.held.snapshot, update.snapshot),
            rate_per_s=rate_per_s,
        )


def _rate(before: Snapshot | None, now: Snapshot) -> float | None:
    if before is None or before.captured_at is None or now.captured_at is None or now.captured_at <= before.captured_at:
        return None
    return (len(now.buffers) - len(before.buffers)) / (now.captured_at - before.captured_at)
