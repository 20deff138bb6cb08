"""Reading a recording of many moments: a folder of segments, or one segment, packed or unpacked.

Opening reads the tables of moments alone, where there are any; a segment is read when one of its moments is asked for.
What is cut or damaged costs the moments from there to the end of its segment, and is told as a hole in time.
"""

import errno
import io
import os
import re
import stat
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from itertools import accumulate
from types import MappingProxyType
from typing import Final, NamedTuple

from heaptop.capture import Capture, Raw, ReadError
from heaptop.errors import RecordingError
from heaptop.pattern import pattern
from heaptop.recording.changes import Replayed
from heaptop.recording.facts import read_facts
from heaptop.recording.layout import ABOUT, DAMAGE
from heaptop.recording.moments import Line, Moment, one_clock, read_table
from heaptop.recording.segment import SUFFIX, TABLE, name_of
from heaptop.recording.source import Loaded, load, load_files, load_tar

SEGMENT: Final = pattern(r"([0-9]{6,9})" + re.escape(SUFFIX))
"""What a segment's file is called."""
MOMENT: Final = pattern(r"[0-9]{6,9}")
"""What the folder of a moment is called."""
TABLE_BYTES_MAX: Final = 64 << 20
KEPT: Final = 3
"""So many segments stay in memory: the one that is shown, and its neighbours."""
_BOOT_ID: Final = "proc/sys/kernel/random/boot_id"


class Unpacked(NamedTuple):
    """A segment, read: its captures, and why it ends before its time."""

    replayed: Replayed
    damage: ReadError | None


def is_segment(loaded: Loaded) -> bool:
    """Whether this is a segment, not a capture."""
    return name_of(0) in loaded.tops and all(map(MOMENT.fullmatch, loaded.tops))


def unpacked(loaded: Loaded) -> Unpacked:
    """The moments of a segment up to the first that is missing or was not finished."""
    tops = {int(top): members for top, members in loaded.tops.items()}
    moments: list[Mapping[str, Raw]] = []
    while (members := tops.pop(len(moments), None)) is not None and ABOUT in members:
        moments.append(members)
    damage = loaded.damage
    if any(ABOUT in members for members in tops.values()):  # later ones, which stand on one that is not there
        damage = damage or ReadError("tar", errno.EIO)
    return Unpacked(Replayed(moments), damage)


def moments_of(replayed: Replayed) -> tuple[Moment, ...]:
    """The moments of a segment, from itself."""
    found: list[Moment] = []
    for number in range(len(replayed)):
        before = found[-1].captured_at if found else 0.0
        found.append(read_facts(replayed.about(number), number, before)[0])
    return tuple(found)


class _Part(NamedTuple):
    """A segment: its moments, of which boot they are, and what reads it."""

    boot_id: str
    moments: tuple[Moment, ...]
    read: Callable[[], Unpacked]


class Series:
    """The moments of a recording, on one clock, and the capture of each."""

    def __init__(self, path: str, parts: Iterable[_Part]) -> None:
        self._source = f"replay:{path}"
        self._parts = [part for part in parts if part.moments]
        self._firsts = [0, *accumulate(len(part.moments) for part in self._parts)]
        self._read: OrderedDict[int, Unpacked] = OrderedDict()
        self.moments: tuple[Moment, ...] = tuple(moment for part in self._parts for moment in part.moments)
        self.line: Line = one_clock((part.boot_id, part.moments) for part in self._parts)

    def capture(self, index: int) -> Capture:
        """The capture of a moment, with its time on the recording's clock.

        Of a moment that cannot be read after all, the one before it in its segment, and `files["recording"]` says so.
        """
        segment, number = self._place(index)
        replayed, damage = self._unpacked(segment)
        if not len(replayed):
            lost = damage or ReadError("tar", errno.EIO)
            return Capture(
                self._source, self.line.at[index], MappingProxyType({DAMAGE: lost}), MappingProxyType({}), ()
            )
        capture = replayed.capture(min(number, len(replayed) - 1), self._source)
        if number >= len(replayed):
            files = {**capture.files, DAMAGE: damage or ReadError("tar", errno.EIO)}
            capture = capture._replace(files=MappingProxyType(files))
        at = self.line.at[index]
        return capture if capture.captured_at == at else capture._replace(captured_at=at)

    def first_seen(self, index: int) -> Mapping[int, float]:
        """When buffers that were there at a moment had first been seen, as far as the recorder told."""
        segment, number = self._place(index)
        replayed, _ = self._unpacked(segment)
        seen: dict[int, float] = {}
        first = self._firsts[segment]
        for there in range(min(number + 1, len(replayed))):
            moment, facts = read_facts(replayed.about(there), there, 0.0)
            at = self.line.at[first + there]
            shift_s = at - moment.captured_at
            seen.update((inode, then + shift_s) for inode, then in facts.first_seen.items())
            seen.update((inode, at) for inode in facts.new)
            for inode in facts.gone:
                seen.pop(inode, None)
        return seen

    def segment_start(self, index: int) -> int:
        """The first moment of the segment of this one: from there on a reader gets to it quickest."""
        return self._firsts[self._place(index)[0]]

    def _place(self, index: int) -> tuple[int, int]:
        segment = bisect_right(self._firsts, index) - 1
        return segment, index - self._firsts[segment]

    def _unpacked(self, segment: int) -> Unpacked:
        if segment not in self._read:
            self._read[segment] = self._parts[segment].read()
            if len(self._read) > KEPT:
                self._read.popitem(last=False)
        self._read.move_to_end(segment)
        return self._read[segment]


def series_of_segment(path: str, loaded: Loaded) -> Series:
    """The series of one segment that has been read.

    Raises:
        RecordingError: not even its first moment is whole.
    """
    one = unpacked(loaded)
    if not len(one.replayed):
        raise RecordingError(f"{path} holds no moment", "it breaks off in the first one", "take another segment")
    return Series(path, [_Part(_boot_of(one.replayed), moments_of(one.replayed), lambda: one)])


def segments_in(folder: int) -> list[str]:
    """The names of the segments in an open folder, in their order."""
    found = {int(match[1]): match[0] for match in map(SEGMENT.fullmatch, os.listdir(folder)) if match}
    return [name for _, name in sorted(found.items())]


def series_of_folder(path: str) -> Series | None:
    """The series of a folder of segments; None where it is no such folder.

    Raises:
        RecordingError: there are segments, but nothing of them can be read.
    """
    try:
        folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError):
        return None
    try:
        names = segments_in(folder)
        if not names:
            return None
        parts = [_part(path, folder, name) for name in names]
    except OSError as error:
        raise RecordingError(f"cannot read the recording {path}", os.strerror(error.errno or 0)) from error
    finally:
        os.close(folder)
    series = Series(path, parts)
    if not series.moments:
        raise RecordingError(f"{path} holds no moment", "its segments are empty, cut or damaged", "take another")
    return series


def _part(path: str, folder: int, name: str) -> _Part:
    def read() -> Unpacked:
        again = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            return unpacked(load(name, again))
        except RecordingError:  # gone since: a recorder dropped it, to keep within its bound
            return Unpacked(Replayed(()), ReadError("open", errno.ENOENT))
        finally:
            os.close(again)

    return _part_of(_table(folder, name.removesuffix(SUFFIX) + TABLE), read)


def _part_of(table_text: bytes, read: Callable[[], Unpacked]) -> _Part:
    """A segment by its table, where that has its end; else by itself."""
    table = read_table(table_text)
    if table is not None and table[2]:
        return _Part(table[1], table[0], read)
    one = read()
    return _Part(_boot_of(one.replayed), moments_of(one.replayed), read)


def series_of_tar(path: str) -> Series | None:
    """The series of a tar of a folder of segments, as somebody sends it; None where it is none. Nothing is unpacked."""
    files = load_files(path, lambda name: SEGMENT.fullmatch(name) is not None or name.endswith(TABLE))
    found = {int(match[1]): match[0] for match in map(SEGMENT.fullmatch, files) if match}
    parts = []
    for _, name in sorted(found.items()):
        data = files[name]
        table = files.get(name.removesuffix(SUFFIX) + TABLE, b"")
        parts.append(_part_of(table, partial(lambda data: unpacked(load_tar(io.BytesIO(data))), data)))
    series = Series(path, parts)
    return series if series.moments else None


def _table(folder: int, name: str) -> bytes:
    """The text of a table of moments; nothing where there is none, or none that can be."""
    try:
        fd = os.open(name, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
    except OSError:
        return b""
    with open(fd, "rb") as file:
        found = os.fstat(fd)
        is_fit = stat.S_ISREG(found.st_mode) and found.st_size <= TABLE_BYTES_MAX
        try:
            return file.read(TABLE_BYTES_MAX) if is_fit else b""
        except OSError:
            return b""


def _boot_of(replayed: Replayed) -> str:
    raw: Raw | None = replayed.system(0).get(_BOOT_ID) if len(replayed) else None
    return raw.decode("ascii", "replace").strip() if isinstance(raw, bytes) else ""
