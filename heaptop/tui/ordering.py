"""Buffers in order, kept in order: a tick costs what changed, also with 50,000 rows."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, overload

from heaptop.model import Buffer

Key = Callable[[Buffer], Any]


class Ordering(Sequence[Buffer]):
    """The rows of a buffer table: those that `keep` lets through, by `key`; unknown values (None) come last."""

    def __init__(self) -> None:
        self._buffers: Mapping[int, Buffer] = {}
        self._known: list[tuple[Any, int]] = []
        self._unknown: list[int] = []
        self._descending = False

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
        return self._buffers[self._known[known - 1 - index if self._descending else index][1]]

    def __iter__(self) -> Iterator[Buffer]:
        known = reversed(self._known) if self._descending else iter(self._known)
        for _, inode in known:
            yield self._buffers[inode]
        for inode in self._unknown:
            yield self._buffers[inode]

    def rebuild(
        self, buffers: Mapping[int, Buffer], key: Key, *, descending: bool, keep: Callable[[Buffer], bool] | None
    ) -> None:
        """All anew: another order or another filter."""
        self._buffers, self._descending = buffers, descending
        self._known, self._unknown = [], []
        self._insert(buffers.values() if keep is None else filter(keep, buffers.values()), key)

    def follow(self, buffers: Mapping[int, Buffer], key: Key, keep: Callable[[Buffer], bool] | None) -> None:
        """The same order and filter over the next refresh: only rows whose buffer is another object are placed anew."""
        old = self._buffers
        touched = [buffer for inode, buffer in buffers.items() if old.get(inode) is not buffer]
        self._buffers = buffers
        if not touched and len(old) == len(buffers):
            return
        stale = {buffer.inode for buffer in touched}
        stale.update(old.keys() - buffers.keys())
        if stale:
            self._known = [pair for pair in self._known if pair[1] not in stale]
            self._unknown = [inode for inode in self._unknown if inode not in stale]
        self._insert(touched if keep is None else filter(keep, touched), key)

    def _insert(self, buffers: Iterable[Buffer], key: Key) -> None:
        for buffer in buffers:
            value = key(buffer)
            if value is None:
                self._unknown.append(buffer.inode)
            else:
                self._known.append((value, buffer.inode))
        self._known.sort()  # nearly sorted: one long run and a short one, which this merges in linear time
        self._unknown.sort()
