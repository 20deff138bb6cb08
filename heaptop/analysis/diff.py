"""What changed between two snapshots."""

from collections.abc import Iterable
from dataclasses import dataclass
from operator import attrgetter

from heaptop.changes import Rows, changed_items
from heaptop.model import Buffer, Snapshot

_INODE = attrgetter("inode")


@dataclass(frozen=True, slots=True)
class Delta:
    """Buffers by what became of them. `size_bytes` and `count` are now less before.

    `changed` pairs (before, now) of the same inode whose size, name, references or holders differ.
    """

    new: tuple[Buffer, ...]
    gone: tuple[Buffer, ...]
    changed: tuple[tuple[Buffer, Buffer], ...]
    size_bytes: int
    count: int


def diff(before: Snapshot, now: Snapshot) -> Delta:
    """Compare by inode. Snapshots of two boots (boot ids known and different) have nothing in common: all of `before`
    is gone, all of `now` is new.
    """
    if other_boot(before, now):
        return _delta(now.buffers, before.buffers, ())
    if before.buffers is now.buffers:
        return Delta((), (), (), 0, 0)
    new: list[Buffer] = []
    gone: list[Buffer] = []
    changed: list[tuple[Buffer, Buffer]] = []
    # A live session hands over the very same object for a buffer that did not change: most are passed over.
    for _, old, buffer in changed_items(before.buffers, now.buffers, _INODE):
        if old is not None and buffer is not None:
            if is_changed(old, buffer):
                changed.append((old, buffer))
        elif buffer is not None:
            new.append(buffer)
        elif old is not None:
            gone.append(old)
    return _delta(tuple(new), tuple(gone), tuple(changed))


class Since:
    """What changed since one snapshot, kept up to date from look to look."""

    def __init__(self, start: Snapshot) -> None:
        self.start = start
        self._before = dict(zip(map(_INODE, start.buffers), start.buffers, strict=True))
        self._buffers = start.buffers
        self._new: Rows[int, Buffer] = Rows()
        self._gone: Rows[int, Buffer] = Rows()
        self._changed: Rows[int, tuple[Buffer, Buffer]] = Rows()
        self._size_bytes = 0
        self._delta = Delta((), (), (), 0, 0)

    def follow(self, now: Snapshot) -> Delta:
        """The same as `diff` of the first and this one."""
        if other_boot(self.start, now):
            return diff(self.start, now)
        touched = changed_items(self._buffers, now.buffers, _INODE)
        for inode, one, buffer in touched:
            old = self._before.get(inode)
            pair = None if old is None or buffer is None else (old, buffer)
            self._new.put(inode, buffer if old is None else None)
            self._gone.put(inode, old if buffer is None else None)
            self._changed.put(inode, pair if pair is not None and is_changed(*pair) else None)
            self._size_bytes += ((buffer and buffer.size_bytes) or 0) - ((one and one.size_bytes) or 0)
        self._buffers = now.buffers
        if touched:
            new, gone = self._new.all(), self._gone.all()
            self._delta = Delta(new, gone, self._changed.all(), self._size_bytes, len(new) - len(gone))
        return self._delta


def other_boot(before: Snapshot, now: Snapshot) -> bool:
    """Whether the two are known to be of different boots, so that equal inodes mean nothing: by their boot ids or,
    where one is not known, by their kernels.
    """
    if None not in (before.boot_id, now.boot_id):
        return before.boot_id != now.boot_id
    return None not in (before.kernel, now.kernel) and before.kernel != now.kernel


def _held(buffer: Buffer) -> list[tuple[object, ...]]:
    """Who holds it and how, without the flags of descriptors: they are read later than the rest."""
    return [holder._replace(fds=tuple(ref._replace(flags=None) for ref in holder.fds)) for holder in buffer.holders]


def is_changed(before: Buffer, now: Buffer) -> bool:
    """Whether size, name, references or holders differ. Fences come and go with every frame and do not count."""
    return (
        before.size_bytes != now.size_bytes
        or before.file_count != now.file_count
        or before.hidden_refs != now.hidden_refs
        or before.name != now.name
        or before.attachments != now.attachments
        or (before.holders != now.holders and _held(before) != _held(now))
    )


def told_by_both(delta: Delta) -> Delta:
    """Without changes that are none: a value that only one of the two tells. For captures from different places."""
    changed = tuple(pair for pair in delta.changed if _differs(*pair))
    if len(changed) == len(delta.changed):
        return delta
    return _delta(delta.new, delta.gone, changed)


def _differs(before: Buffer, now: Buffer) -> bool:
    pairs: list[tuple[object, object]] = [
        (before.size_bytes, now.size_bytes),
        (before.file_count, now.file_count),
        (before.hidden_refs, now.hidden_refs),
        (before.attachments, now.attachments),
    ]
    if before.told("name") and now.told("name") and before.name != now.name:
        return True
    return before.holders != now.holders or any(None not in pair and pair[0] != pair[1] for pair in pairs)


def _delta(new: tuple[Buffer, ...], gone: tuple[Buffer, ...], changed: tuple[tuple[Buffer, Buffer], ...]) -> Delta:
    grown = _size(now for _, now in changed) - _size(before for before, _ in changed)
    return Delta(new, gone, changed, _size(new) - _size(gone) + grown, len(new) - len(gone))


def _size(buffers: Iterable[Buffer]) -> int:
    return sum(buffer.size_bytes or 0 for buffer in buffers)
