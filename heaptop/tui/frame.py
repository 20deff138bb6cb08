"""What one refresh brings to the screen: the update, indexed (in the poller's thread, so that the screen need not)."""

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import NamedTuple

from heaptop.analysis.diff import Delta, diff
from heaptop.changes import changed_items
from heaptop.model import Buffer, Process, ProcessId, Snapshot
from heaptop.session import Update

NEW_SCANS = 3
"""For how many scans a new row carries its `+`, as a gone one its `-`."""

REFERENCES_MAX = 12
"""So many file counts of a buffer are remembered."""

TOUCHED_SCANS = 16
"""For how many scans what changed is remembered, for a screen that skips some."""


_INODE, _SIZE, _HOLDERS = attrgetter("inode"), attrgetter("size_bytes"), attrgetter("holders")


class Sums(NamedTuple):
    """Bytes of all buffers; number and bytes of those that nobody is seen to hold. Sizes not known count as 0."""

    size_bytes: int
    orphans: int
    orphan_bytes: int


NOTHING = Sums(0, 0, 0)


def sums_of(buffers: Sequence[Buffer]) -> Sums:
    """Sums of these buffers."""
    orphans = [buffer for buffer, held in zip(buffers, map(_HOLDERS, buffers), strict=True) if not held]
    return Sums(sum(filter(None, map(_SIZE, buffers))), len(orphans), sum(filter(None, map(_SIZE, orphans))))


@dataclass(frozen=True, slots=True)
class Frame:
    """An update with its indexes.

    `buffers` are those alive and, after them, those just gone (also in `gone`). `new` came in the last scans, but not
    with the first. `since_held` is what changed since the frame the app holds still (paused), else None. `rate_per_s`
    is by how many buffers their number changes each second, None where time or the scan before is not known. `touched`
    has, for the last updates by number, the inodes each changed. `references` are file counts over time, oldest first,
    of buffers whose count has changed.
    """

    update: Update
    buffers: Mapping[int, Buffer]
    gone: Mapping[int, Buffer]
    new: frozenset[int]
    processes: Mapping[ProcessId, Process]
    since_held: Delta | None = None
    rate_per_s: float | None = None
    sums: Sums = NOTHING
    touched: tuple[tuple[int, frozenset[int]], ...] = ()
    references: Mapping[int, tuple[int, ...]] = field(default_factory=dict)

    @property
    def size_bytes(self) -> int:
        """Of all buffers, where told."""
        return self.sums.size_bytes

    def touched_since(self, number: int) -> frozenset[int] | None:
        """Buffers that came, went or changed after update `number`; None where that is too long ago to tell."""
        if number == self.update.number:
            return frozenset()
        if not self.touched or number < self.touched[0][0] - 1:
            return None
        return frozenset().union(*(inodes for then, inodes in self.touched if then > number))


class Framer:
    """Makes frames of a session's updates, one after the other. Remembers the buffers of the last scans, no more."""

    def __init__(self) -> None:
        self.held: Update | None = None
        self._last_seen: dict[int, Buffer] = {}
        self._new: deque[frozenset[int]] = deque(maxlen=NEW_SCANS)
        self._touched: deque[tuple[int, frozenset[int]]] = deque(maxlen=TOUCHED_SCANS)
        self._gone: set[int] = set()
        self._references: Mapping[int, tuple[int, ...]] = {}
        self._before: Snapshot | None = None
        self._alive: dict[int, Buffer] = {}
        self._processes: dict[ProcessId, Process] = {}
        self._sums = NOTHING

    def frame(self, update: Update) -> Frame:
        """The next frame. Every update of the session must come by here: a row that is gone is known from before."""
        if self._touched and update.number > self._touched[-1][0] + 1:
            self._forget()
        self._index(update.snapshot)
        alive = self._alive
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
        self._touched.append((update.number, self._touched_by(update)))
        self._note_references(update)
        rate_per_s = _rate(self._before, update.snapshot)
        self._before = update.snapshot
        return Frame(
            update=update,
            buffers={**alive, **gone} if gone else alive,
            gone=dict(gone),
            new=frozenset().union(*self._new) & alive.keys(),
            processes=self._processes,
            since_held=None if self.held is None else diff(self.held.snapshot, update.snapshot),
            rate_per_s=rate_per_s,
            sums=self._sums,
            touched=tuple(self._touched),
            references=self._references,
        )

    def _index(self, snapshot: Snapshot) -> None:
        """Of the very same tuples there is nothing to index again."""
        before, buffers = self._before, snapshot.buffers
        if before is None:
            self._alive = dict(zip(map(_INODE, buffers), buffers, strict=True))
            self._sums = sums_of(buffers)
        elif before.buffers is not buffers:
            touched = changed_items(before.buffers, buffers, _INODE)
            self._alive = dict(self._alive)  # frames that were handed out keep theirs
            for inode, _, buffer in touched:
                if buffer is None:
                    del self._alive[inode]
                else:
                    self._alive[inode] = buffer
            went = sums_of([old for _, old, _ in touched if old is not None])
            came = sums_of([now for _, _, now in touched if now is not None])
            self._sums = Sums(*(old + more - less for old, more, less in zip(self._sums, came, went, strict=True)))
        if before is None or before.processes is not snapshot.processes:
            self._processes = {process.id: process for process in snapshot.processes}

    def _forget(self) -> None:
        """The session began anew, at another moment of a recording: what is remembered is of another time."""
        self._last_seen, self._gone, self._references, self._before = {}, set(), {}, None
        self._new.clear()
        self._touched.clear()

    def _note_references(self, update: Update) -> None:
        """Frames already handed out keep the mapping they have: a new one is made where a count changed."""
        counts = {
            after.inode: (before.file_count, after.file_count)
            for before, after in update.delta.changed
            if before.file_count is not None and after.file_count not in (None, before.file_count)
        }
        if counts:
            told = dict(self._references)
            for buffer in update.delta.gone:
                told.pop(buffer.inode, None)
            for inode, (before, now) in counts.items():
                told[inode] = (*told.get(inode, (before,)), now)[-REFERENCES_MAX:]
            self._references = told

    def _touched_by(self, update: Update) -> frozenset[int]:
        """What this update changed, and the rows of gone buffers that end with it."""
        delta, gone = update.delta, update.history.gone.keys()
        inodes = [buffer.inode for buffer in (*delta.new, *delta.gone)]
        ended, self._gone = self._gone - gone, set(gone)
        return frozenset(inodes + [after.inode for _, after in delta.changed]).union(ended)


def _rate(before: Snapshot | None, now: Snapshot) -> float | None:
    if before is None or before.captured_at is None or now.captured_at is None or now.captured_at <= before.captured_at:
        return None
    return (len(now.buffers) - len(before.buffers)) / (now.captured_at - before.captured_at)
