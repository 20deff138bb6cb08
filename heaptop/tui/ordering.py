"""Buffers in order, kept in order: a tick costs what changed, also with 50,000 rows."""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import total_ordering
from typing import Any, overload

from heaptop.changes import without
from heaptop.model import Buffer

Key = Callable[[Buffer], Any]
Keep = Callable[[Buffer], bool]
Place = tuple[Any, int]
"""By what a row is ordered, None where that is not known, and its inode."""

PLACE_COST = 14
"""To find the place of one row and to cut there takes as long as to pass over so many."""


class Ordering(Sequence[Buffer]):
    """The rows of a buffer table: those that `keep` lets through, by `key`; unknown values (None) come last."""

    def __init__(self) -> None:
        self._buffers: Mapping[int, Buffer] = {}
        self._places: dict[int, Place] = {}
        self._known: list[Place] = []
        self._unknown: list[int] = []
        self._turned: Callable[[Any], Any] = _as_is

    def __len__(self) -> int:
        return len(self._known) + len(self._unknown)

    @overload
    def __getitem__(self, index: int) -> Buffer: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Buffer]: ...
    def __getitem__(self, index: int | slice) -> Buffer | Sequence[Buffer]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        if index < 0:
            index += len(self)
        known = len(self._known)
        if index >= known:
            return self._buffers[self._unknown[index - known]]
        return self._buffers[self._known[index][1]]

    def __iter__(self) -> Iterator[Buffer]:
        for _, inode in self._known:
            yield self._buffers[inode]
        for inode in self._unknown:
            yield self._buffers[inode]

    def index_of(self, inode: Any) -> int | None:
        """Where the row with this key is."""
        place = self._places.get(inode)
        if place is None:
            return None
        if place[0] is None:
            return len(self._known) + bisect_left(self._unknown, inode)
        return bisect_left(self._known, place)

    def rebuild(self, buffers: Mapping[int, Buffer], key: Key, keep: Keep | None, *, descending: bool) -> None:
        """All anew: another order or another filter."""
        self._buffers = buffers
        self._turned = _turned if descending else _as_is
        kept = _kept(buffers.values(), keep)
        self._places = {buffer.inode: (self._turned(key(buffer)), buffer.inode) for buffer in kept}
        self._known = sorted(_known(self._places.values()))
        self._unknown = sorted(_unknown(self._places.values()))

    def follow(self, buffers: Mapping[int, Buffer], key: Key, keep: Keep | None, touched: Iterable[int]) -> None:
        """The same order and filter over newer buffers: only the `touched` ones, come, gone or changed, are placed."""
        self._buffers = buffers
        out: list[Place] = []
        into: list[Place] = []
        places, turned = self._places, self._turned
        for inode in touched:
            buffer = buffers.get(inode)
            before = places.get(inode)
            if buffer is None or (keep is not None and not keep(buffer)):
                if before is not None:
                    out.append(places.pop(inode))
                continue
            value = turned(key(buffer))
            if before is not None:
                if before[0] == value:  # most that change keep their place
                    continue
                out.append(before)
            places[inode] = place = (value, inode)
            into.append(place)
        self._known = _merged(self._known, *map(_known, (out, into)))
        self._unknown = _merged(self._unknown, *map(_unknown, (out, into)))


def _as_is(value: Any) -> Any:
    return value


def _turned(value: Any) -> Any:
    """A value that sorts the other way round; so equal rows keep rising inodes in both directions."""
    if value is None or isinstance(value, int | float):
        return None if value is None else -value
    return _Falling(value)


@total_ordering
class _Falling:
    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Falling) and bool(self.value == other.value)

    def __lt__(self, other: "_Falling") -> bool:
        return bool(self.value > other.value)

    def __hash__(self) -> int:
        return hash(self.value)


def _kept(buffers: Iterable[Buffer], keep: Keep | None) -> Iterable[Buffer]:
    return buffers if keep is None else filter(keep, buffers)


def _known(places: Iterable[Place]) -> list[Place]:
    return [place for place in places if place[0] is not None]


def _unknown(places: Iterable[Place]) -> list[int]:
    return [inode for value, inode in places if value is None]


def _merged(items: list[Any], out: list[Any], into: list[Any]) -> list[Any]:
    """A sorted list without some of its items and with others."""
    if (len(out) + len(into)) * PLACE_COST > len(items):
        return _sorted_anew(items, out, into)
    steps = [(bisect_left(items, item), True, item) for item in out]
    steps += [(bisect_left(items, item), False, item) for item in into]
    if not steps:
        return items
    steps.sort()  # at one place what comes in stands before what goes out
    result: list[Any] = []
    start = 0
    for index, goes, item in steps:  # what lies between is copied in whole slices
        result += items[start:index]
        start = index + 1 if goes else index
        if not goes:
            result.append(item)
    return result + items[start:]


def _sorted_anew(items: list[Any], out: list[Any], into: list[Any]) -> list[Any]:
    """The same where many move: two runs, each in order, which `sort` merges in little more than one pass."""
    result = without(items, sorted(out))
    result += sorted(into)
    result.sort()
    return result
