"""What changed between two snapshots."""

from collections.abc import Iterable
from dataclasses import dataclass
from operator import attrgetter

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
    old = dict(zip(map(_INODE, before.buffers), before.buffers, strict=True))
    # A live session hands over the very same object for a buffer that did not change: most end at this test.
    touched = [buffer for buffer in now.buffers if old.get(buffer.inode) is not buffer]
    new = tuple(buffer for buffer in touched if buffer.inode not in old)
    pairs = ((old[buffer.inode], buffer) for buffer in touched if buffer.inode in old)
    changed = tuple(pair for pair in pairs if is_changed(*pair))
    gone: tuple[Buffer, ...] = ()
    if len(before.buffers) + len(new) != len(now.buffers):
        missing = old.keys() - set(map(_INODE, now.buffers))
        gone = tuple(old[inode] for inode in sorted(missing))
    return _delta(new, gone, changed)


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
