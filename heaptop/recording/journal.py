"""Recording for days: moments go to segments, segments rotate, and what is oldest goes when a bound is reached.

What was handed to `add` is safe from a kill of this process when `add` returns, and from a crash of the kernel or a cut
of power `SYNC_S` later. A full disk costs the oldest segments, then waits; it never ends a recording.
"""

import errno
import gzip
import os
import time
from collections.abc import Callable
from typing import Final, NamedTuple

from heaptop.capture import Capture
from heaptop.errors import RecordingError
from heaptop.recording.changes import Differ
from heaptop.recording.facts import Facts
from heaptop.recording.folder import Item, RecordingFolder
from heaptop.recording.members import about_text, members_of
from heaptop.recording.moments import Moment
from heaptop.recording.segment import TAR_END, SegmentWriter, tar_bytes
from heaptop.units import format_size

SYNC_S: Final = 10.0
RETRY_S: Final = 5.0
SEGMENTS_PER_BOUND: Final = 8
"""A segment takes at most this part of the whole, so that dropping one frees little more than is needed."""
MOMENTS_MIN: Final = 600
MOMENTS_MAX: Final = 3600
"""A segment has at least so many moments, and goes on until the first, whole one is a small part of it."""
FIRST_SHARE: Final = 4
LINE_BYTES: Final = 200
"""More than a line of the table takes, with a mark of the usual length."""
INCIDENT_SHARE: Final = 4
"""Incident captures take at most this part of the whole."""
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_BOOT_ID: Final = "proc/sys/kernel/random/boot_id"


class Bounds(NamedTuple):
    """How large and old a recording may get, and what it leaves free on the file system."""

    max_bytes: int = 256 << 20
    max_age_s: float | None = None
    keep_free_bytes: int = 16 << 20


class Counts:
    """What a journal has done: moments written, moments that found no room, segments dropped, incidents written."""

    __slots__ = ("dropped", "incidents", "lost", "moments")

    def __init__(self) -> None:
        self.moments = self.lost = self.dropped = self.incidents = 0


class Journal:
    """Writes a recording. `tell` is given lines for the user: what was dropped, that it waits, that it goes on."""

    def __init__(
        self,
        folder: RecordingFolder,
        bounds: Bounds,
        *,
        clock: Callable[[], float],
        uptime: Callable[[], float],
        tell: Callable[[str], None],
    ) -> None:
        """`clock` gives seconds since the epoch, `uptime` since boot, time asleep included."""
        self._folder = folder
        self._bounds = bounds
        self._clock = clock
        self._uptime = uptime
        self._tell = tell
        self._differ = Differ()
        self._segment: SegmentWriter | None = None
        self._began_s = self._synced_s = self._failed_s = uptime()
        self._waiting = ""
        self._ended_s: dict[str, float] = {}
        self._old = folder.segments()
        self._incidents = folder.incidents()
        self._own_bytes = folder.own_bytes()
        self._number = folder.next_number()
        self.counts = Counts()

    @property
    def size_bytes(self) -> int:
        """What the recording takes."""
        own = 0 if self._segment is None else self._segment.size_bytes
        return self._own_bytes + own + sum(item.size_bytes for item in (*self._old, *self._incidents))

    @property
    def waiting(self) -> str:
        """Why nothing is being written; empty where all is well."""
        return self._waiting

    def add(self, capture: Capture, facts: Facts) -> bool:
        """Write a moment; False where there is no room for it, which has been told.

        Raises:
            RecordingError: the folder is gone, or a capture has a path that no file can have.
        """
        now_s = self._uptime()
        if self._waiting and now_s < self._failed_s + RETRY_S:
            self.counts.lost += 1
            return False
        while True:
            try:
                self._make_room()
                self._write(capture, facts, now_s)
            except OSError as error:
                if not self._give_way(error, now_s):
                    return False
            else:
                break
        self.counts.moments += 1
        if self._waiting:
            self._waiting = ""
            self._tell(f"recording goes on; moments lost: {self.counts.lost}")
        return True

    def incident(self, capture: Capture, kind: str) -> str | None:
        """Write a capture of its own, on the disk when this returns; gives its name, or None where there is no room.

        `kind` is a word of small letters.
        """
        at = capture.captured_at or self._clock()
        name = self._free_name(at, kind)
        files = [(path, content) for path, content in members_of(capture).items()]
        data = gzip.compress(tar_bytes(files, at) + TAR_END, mtime=int(at))
        share = self._bounds.max_bytes // INCIDENT_SHARE
        while self._incidents and sum(item.size_bytes for item in self._incidents) + len(data) > share:
            self._drop(self._incidents)
        while True:
            try:
                self._folder.write_whole(name, data)
            except OSError as error:
                if error.errno in _FULL and self._drop_for_others():
                    continue
                self._tell(f"no room for the incident capture {name}: {os.strerror(error.errno or 0)}")
                return None
            self._incidents.append(Item((name,), len(data), self._clock()))
            self.counts.incidents += 1
            return name

    def close(self) -> None:
        """End the segment well and let others record here. May be called twice."""
        self._end_segment()
        self._folder.close()

    # ---- a moment ----

    def _write(self, capture: Capture, facts: Facts, now_s: float) -> None:
        boot_id = _boot_of(capture)
        if self._segment is not None and self._is_over(self._segment, boot_id, now_s):
            self._end_segment()
        if self._segment is None:
            self._segment = SegmentWriter(self._folder.fd, self._number, boot_id)
            self._number += 1
            self._began_s = now_s
            members = self._differ.whole(capture)
        else:
            members = self._differ.changes(capture)
            facts = facts._replace(first_seen={})
        at = self._clock() if capture.captured_at is None else capture.captured_at
        about = about_text(capture._replace(captured_at=at), **facts.as_json(now_s))
        moment = Moment(self._segment.moments, at, now_s, facts.buffers, facts.size_bytes, facts.changes, facts.mark)
        packed = self._segment.pack(members, about, at)
        if self._segment.moments == 0:
            self._refuse_too_large(len(packed))
        while self.size_bytes + len(packed) + LINE_BYTES > self._bounds.max_bytes and self._drop(self._old):
            pass
        self._segment.write(packed, moment)
        if now_s >= self._synced_s + SYNC_S:
            self._segment.sync()
            self._synced_s = now_s

    def _is_over(self, segment: SegmentWriter, boot_id: str, now_s: float) -> bool:
        share = max(self._bounds.max_bytes // SEGMENTS_PER_BOUND, 2 * segment.first_bytes)
        age_s = now_s - self._began_s
        return (
            segment.boot_id != boot_id
            or segment.is_deleted
            or segment.moments >= MOMENTS_MAX
            or (segment.moments >= MOMENTS_MIN and segment.size_bytes >= FIRST_SHARE * segment.first_bytes)
            or segment.size_bytes >= min(share, self._bounds.max_bytes // 2)
            or (self._bounds.max_age_s is not None and age_s >= self._bounds.max_age_s / SEGMENTS_PER_BOUND)
        )

    def _end_segment(self) -> None:
        segment, self._segment = self._segment, None
        if segment is not None:
            segment.finish()
            self._ended_s[segment.name] = self._uptime()
            self._old = self._folder.segments()

    def _refuse_too_large(self, first_bytes: int) -> None:
        """That a capture fits at all: two, as the old one goes only when the new one is there."""
        if 2 * first_bytes > self._bounds.max_bytes and self.counts.moments == 0:
            size = format_size(first_bytes)
            raise RecordingError(
                "the recording cannot keep within its bound", f"one capture takes {size}", "raise --max-size"
            )

    # ---- room ----

    def _make_room(self) -> None:
        """Drop what is oldest until size, age and free space are within bounds.

        Raises:
            OSError: ENOSPC: there is nothing left to drop.
        """
        if self._folder.is_gone():
            raise FileNotFoundError(errno.ENOENT, "the folder is gone")
        while self.size_bytes > self._bounds.max_bytes and (self._old or self._segment is not None):
            if not self._old:
                self._end_segment()
            self._drop(self._old)
        while self._old and self._bounds.max_age_s is not None:
            if self._age_s(self._old[0]) <= self._bounds.max_age_s:
                break
            self._drop(self._old)
        while self._folder.free_bytes() < self._bounds.keep_free_bytes:
            if not self._drop_for_others():
                left = format_size(self._bounds.keep_free_bytes)
                raise OSError(errno.ENOSPC, f"less than {left} would be left free")

    def _age_s(self, item: Item) -> float:
        """How long ago a segment ended: by the time since boot, which nobody sets, where it ended in this run."""
        ended_s = self._ended_s.get(item.names[0].partition(".")[0])
        return self._clock() - item.written_at if ended_s is None else self._uptime() - ended_s

    def _drop(self, items: list[Item]) -> bool:
        """Remove the oldest; False where there is none."""
        if not items:
            return False
        self._folder.remove(items.pop(0))
        self.counts.dropped += 1
        return True

    def _drop_for_others(self) -> bool:
        """Remove the oldest to make room on the disk, but never the newest that there is: a disk that is full of other
        things would cost all of the recording, for nothing.
        """
        return (self._segment is not None or len(self._old) > 1) and self._drop(self._old)

    def _give_way(self, error: OSError, now_s: float) -> bool:
        """After a write failed: True where room was made for another try. Else wait, and tell why once."""
        if self._segment is not None:
            self._segment.abandon()
            self._segment = None
            self._old = self._folder.segments()
        if error.errno in (errno.ENOENT, errno.ESTALE, errno.ENODEV):
            raise RecordingError(f"cannot go on with {self._folder.path}", "it is gone", "record somewhere else")
        if error.errno in _FULL and self._drop_for_others():
            return True
        self._failed_s = now_s
        self.counts.lost += 1
        if not self._waiting:
            self._waiting = error.strerror or str(error)
            self._tell(f"recording waits: {self._waiting}; nothing older of it is left to drop; free some space")
        return False

    def _free_name(self, at: float, kind: str) -> str:
        stem = f"incident-{time.strftime('%Y%m%dT%H%M%S', time.gmtime(max(0.0, at)))}-{kind}"
        taken = {name for item in self._incidents for name in item.names}
        names = (stem + (f"-{count}" if count else "") + ".tar.gz" for count in range(len(taken) + 1))
        return next(name for name in names if name not in taken)


def _boot_of(capture: Capture) -> str:
    raw = capture.files.get(_BOOT_ID)
    return raw.decode("ascii", "replace").strip() if isinstance(raw, bytes) else ""
