"""Classes of buffers: those alike in exporter, size, name and holder, as one place in a program allocates them.

Numbered names are one name here: `frag-07` and `frag-12` are both of `frag-#`. What a class is called in the end is the
one name that all its buffers have, where they do.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, NamedTuple

from heaptop.model import Buffer, Snapshot
from heaptop.pattern import pattern

NOBODY: Final = "nobody seen"
"""The holder of buffers that no process is seen to hold."""
COMMS_SHOWN: Final = 3
_NUMBER: Final = pattern(r"0x[0-9a-f]+|(?<![0-9a-z])(?=[a-f]*[0-9])[0-9a-f]{8,}(?![0-9a-z])|[0-9]+", re.IGNORECASE)
"""What counts up or is drawn in a name: decimal and hex numbers, ids of at least eight hex digits."""


class BufferClass(NamedTuple):
    """What a class's buffers have in common. `name` has `#` for numbers; `holders` are comms, each once, in order."""

    exporter: str | None
    size_bytes: int | None
    name: str | None
    holders: tuple[str, ...]

    @property
    def holder(self) -> str:
        """Its holders as one text: `camera+gallery`, `nobody seen`."""
        return holder_text(self.holders)


@lru_cache(maxsize=1 << 14)
def family(name: str | None) -> str | None:
    """A name with `#` for each number in it; None where it is unnamed.

    >>> family("frag-07"), family("codec 0x7f3a out"), family("fb")
    ('frag-#', 'codec # out', 'fb')
    """
    return _NUMBER.sub("#", name) if name else None


def class_of(buffer: Buffer) -> BufferClass:
    """The class of a buffer, by who holds it now."""
    return BufferClass(buffer.exporter, buffer.size_bytes, family(buffer.name), comms_of(buffer))


def comms_of(buffer: Buffer) -> tuple[str, ...]:
    """The comms of those who hold it, each once, in order."""
    holders = buffer.holders
    if len(holders) == 1:
        return (holders[0].comm,)
    return tuple(sorted({holder.comm for holder in holders}))


def holder_text(comms: tuple[str, ...]) -> str:
    """`camera`, `camera+gallery`, `a+b+c+2 more`, `nobody seen`."""
    if not comms:
        return NOBODY
    more = len(comms) - COMMS_SHOWN
    return "+".join(comms[:COMMS_SHOWN]) + (f"+{more} more" if more > 0 else "")


def shown_name(pattern: str | None, names: Iterable[str | None]) -> str | None:
    """What a class is called: the name that all have, else the pattern."""
    distinct = set(names)
    return next(iter(distinct)) or None if len(distinct) == 1 else pattern


@dataclass(frozen=True, slots=True)
class ClassDelta:
    """What became of a class: how many buffers it had and has. `name` is the one that all of them have, if so.

    `untold` are the fields that one of the two does not tell at all: they do not make classes.
    """

    key: BufferClass
    name: str | None
    before: int
    now: int
    untold: tuple[str, ...] = ()

    @property
    def count(self) -> int:
        """By how many it has grown."""
        return self.now - self.before

    @property
    def size_bytes(self) -> int:
        """By how much it has grown. A size that is not known counts as 0."""
        return self.count * (self.key.size_bytes or 0)


def class_deltas(
    before: Iterable[Buffer], now: Iterable[Buffer], untold: tuple[str, ...] = ()
) -> tuple[ClassDelta, ...]:
    """The classes whose number changed, most grown (in bytes, then buffers) first. Needs no inodes in common."""
    counts: dict[BufferClass, list[int]] = {}
    names: dict[BufferClass, set[str | None]] = {}
    for index, buffers in enumerate((before, now)):
        for buffer in buffers:
            key = _without(class_of(buffer), untold) if untold else class_of(buffer)
            counts.setdefault(key, [0, 0])[index] += 1
            names.setdefault(key, set()).add(None if "name" in untold else buffer.name or None)
    deltas = (ClassDelta(key, shown_name(key.name, names[key]), old, new, untold) for key, (old, new) in counts.items())
    changed = [delta for delta in deltas if delta.count]
    return tuple(sorted(changed, key=lambda delta: (-delta.size_bytes, -delta.count, rank(delta.key))))


def untold_by(*snapshots: Snapshot) -> tuple[str, ...]:
    """Fields of a class that one of these does not tell of any buffer, as a dump of another tool may not."""
    return tuple(
        field
        for field, tells in _TELLS.items()
        if any(one.buffers and not any(map(tells, one.buffers)) for one in snapshots)
    ) + (("holder",) if any(_is_without_holders(one) for one in snapshots) else ())


_TELLS: Final[Mapping[str, Callable[[Buffer], bool]]] = {
    "exporter": lambda buffer: buffer.exporter is not None,
    "name": lambda buffer: bool(buffer.name) or buffer.told("name"),
}
"""Whether a buffer tells a field at all."""


def _is_without_holders(snapshot: Snapshot) -> bool:
    """A dump that lists buffers alone; where processes are listed, nobody may hold any."""
    return not snapshot.processes and any(gap.what.startswith("who holds") for gap in snapshot.gaps)


def _without(key: BufferClass, untold: tuple[str, ...]) -> BufferClass:
    return BufferClass(
        None if "exporter" in untold else key.exporter,
        key.size_bytes,
        None if "name" in untold else key.name,
        () if "holder" in untold else key.holders,
    )


def rank(key: BufferClass) -> tuple[str, int, str, tuple[str, ...]]:
    """An order of classes in which unknown values have their place."""
    return key.exporter or "", key.size_bytes or 0, key.name or "", key.holders
