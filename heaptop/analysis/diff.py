"""What changed between two snapshots."""

from dataclasses import dataclass

from heaptop.model import Buffer, Snapshot


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
    is gone, all of `now` is new."""
    raise NotImplementedError
