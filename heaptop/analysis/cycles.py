"""Growth by cycles: what is left of each round that a program makes, class by class, without what comes and goes."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from heaptop.analysis.classes import BufferClass, class_of, comms_of, family, rank, shown_name
from heaptop.model import Buffer

INODES_MAX: Final = 256


@dataclass(frozen=True, slots=True)
class Mark:
    """A moment between two cycles: the buffers that there were, `at` in seconds of a clock that only rises."""

    label: str
    at: float
    buffers: tuple[Buffer, ...]


@dataclass(frozen=True, slots=True)
class Grown:
    """A class that has grown. `kept` says for each cycle how many of the buffers that came in it are left; `inodes` are
    these buffers (the first INODES_MAX).
    """

    key: BufferClass
    name: str | None
    kept: tuple[int, ...]
    total_bytes: int
    inodes: tuple[int, ...]
    buffers: tuple[Buffer, ...]

    @property
    def count(self) -> int:
        """Buffers more than there were."""
        return sum(self.kept)

    @property
    def per_cycle(self) -> float:
        """Buffers a cycle."""
        return self.count / len(self.kept)

    @property
    def is_even(self) -> bool:
        """Whether each cycle left the same number."""
        return min(self.kept) == max(self.kept)


@dataclass(frozen=True, slots=True)
class CycleGrowth:
    """What some cycles left: classes, most bytes first; `duration_s` is from the first mark to the last."""

    cycles: int
    duration_s: float
    grown: tuple[Grown, ...]

    @property
    def count(self) -> int:
        """Buffers more than there were."""
        return sum(one.count for one in self.grown)

    @property
    def total_bytes(self) -> int:
        """Bytes more than there were."""
        return sum(one.total_bytes for one in self.grown)


def cycle_growth(marks: Sequence[Mark]) -> CycleGrowth:
    """What is left of the cycles between the first mark and the last (two marks at least).

    A buffer that came makes up for one that went where the two are alike: of the same exporter and name, with a holder
    in common, and of one size, or replaced in the same cycle, or of a family that is replaced again and again. So a
    ring that turns, or draws its sizes by lot, has not grown. Of those that came, the oldest are taken to be the ones
    that stay. Where numbers have gone down between two marks, they must have grown by more than that.
    """
    first, last = marks[0], marks[-1]
    before = {buffer.inode: buffer for buffer in first.buffers}
    now = {buffer.inode: buffer for buffer in last.buffers}
    born = _births(marks)
    came = sorted((buffer for inode, buffer in now.items() if inode not in before), key=lambda one: -born[one.inode])
    left = _unmatched(came, born, _deaths(marks, before, now), _turning(marks))
    kept: dict[BufferClass, list[Buffer]] = {}
    for buffer in left:
        kept.setdefault(class_of(buffer), []).append(buffer)
    drops = _drops(marks)
    unclear = {key: buffers for key, buffers in kept.items() if len(buffers) <= drops[key]}
    sums: Counter[Kind] = Counter(_kind(buffer) for buffers in unclear.values() for buffer in buffers)
    grown = [
        _grown(key, buffers, born, len(marks) - 1)
        for key, buffers in kept.items()
        if key not in unclear or sums[_kind(buffers[0])] > drops[_kind(buffers[0])]
    ]
    grown.sort(key=lambda one: (-one.total_bytes, -one.count, rank(one.key)))
    return CycleGrowth(len(marks) - 1, last.at - first.at, tuple(grown))


def _grown(key: BufferClass, buffers: Sequence[Buffer], born: dict[int, int], cycles: int) -> Grown:
    ordered = sorted(buffers, key=lambda buffer: (born[buffer.inode], buffer.inode))
    counts = Counter(born[buffer.inode] for buffer in ordered)
    return Grown(
        key=key,
        name=shown_name(key.name, (buffer.name or None for buffer in ordered)),
        kept=tuple(counts[number] for number in range(1, cycles + 1)),
        total_bytes=sum(buffer.size_bytes or 0 for buffer in ordered),
        inodes=tuple(buffer.inode for buffer in ordered[:INODES_MAX]),
        buffers=tuple(ordered[:INODES_MAX]),
    )


def _births(marks: Sequence[Mark]) -> dict[int, int]:
    """The number of the first mark that shows each buffer."""
    born: dict[int, int] = {}
    for number, mark in enumerate(marks):
        for buffer in mark.buffers:
            born.setdefault(buffer.inode, number)
    return born


Kind = tuple[object, ...]
"""Exporter, size and name; or a whole class."""
Family = tuple[str | None, str | None]
"""Exporter and name."""


def _kind(buffer: Buffer) -> Kind:
    key = class_of(buffer)
    return key.exporter, key.size_bytes, key.name


def _family(buffer: Buffer) -> Family:
    return buffer.exporter, family(buffer.name)


def _turning(marks: Sequence[Mark]) -> set[Family]:
    """Families of which buffers went at two marks at least: rings and what else is replaced."""
    went: Counter[Family] = Counter()
    for before, now in pairwise(marks):
        alive = {buffer.inode for buffer in now.buffers}
        went.update({_family(buffer) for buffer in before.buffers if buffer.inode not in alive})
    return {one for one, count in went.items() if count > 1}


def _deaths(
    marks: Sequence[Mark], before: Mapping[int, Buffer], now: Mapping[int, Buffer]
) -> dict[Family, list[tuple[int, Buffer]]]:
    """Those that were there at first and are gone, by family, each with the number of the first mark without it."""
    last_seen = {buffer.inode: number for number, mark in enumerate(marks) for buffer in mark.buffers}
    went: dict[Family, list[tuple[int, Buffer]]] = {}
    for inode, buffer in before.items():
        if inode not in now:
            went.setdefault(_family(buffer), []).append((last_seen[inode] + 1, buffer))
    return went


def _unmatched(
    came: Iterable[Buffer],
    born: Mapping[int, int],
    went: Mapping[Family, list[tuple[int, Buffer]]],
    turning: set[Family],
) -> list[Buffer]:
    """Those that came, without as many as alike ones went."""
    rest = list(came)
    for any_size in (False, True):
        still = []
        for buffer in rest:
            likes = went.get(_family(buffer), [])
            for index, (number, other) in enumerate(likes):
                is_replaced = number == born[buffer.inode] or _family(buffer) in turning
                is_like = is_replaced if any_size else other.size_bytes == buffer.size_bytes
                if is_like and _share_holder(other, buffer):
                    del likes[index]
                    break
            else:
                still.append(buffer)
        rest = still
    return rest


def _share_holder(one: Buffer, other: Buffer) -> bool:
    """Or nobody is seen to hold one of them."""
    mine, theirs = comms_of(one), comms_of(other)
    return not mine or not theirs or not set(mine).isdisjoint(theirs)


def _drops(marks: Sequence[Mark]) -> Counter[Kind]:
    """By how many buffers each kind and each class has gone down from what it had at an earlier mark, at most."""
    highest: Counter[Kind] = Counter()
    drops: Counter[Kind] = Counter()
    for mark in marks:
        counts: Counter[Kind] = Counter(map(_kind, mark.buffers))
        counts.update(map(class_of, mark.buffers))
        drops |= highest - counts
        highest |= counts
    return drops


def steadied(looks: Sequence[tuple[Buffer, ...]]) -> tuple[Buffer, ...]:
    """What a few looks in a row agree on: of each family its buffers in the look that has fewest, the latest of equals.

    A ring that is seen while it has its new buffer and still its old one is not taken to have grown.
    """
    by_family: list[dict[Family, list[Buffer]]] = []
    for buffers in reversed(looks):
        found: dict[Family, list[Buffer]] = {}
        for buffer in buffers:
            found.setdefault(_family(buffer), []).append(buffer)
        by_family.append(found)
    chosen: dict[int, Buffer] = {}
    for one in {one for found in by_family for one in found}:
        fewest = min((found.get(one, []) for found in by_family), key=len)
        chosen.update((buffer.inode, buffer) for buffer in fewest)
    return tuple(chosen[inode] for inode in sorted(chosen))
