"""Sums over all buffers, kept up to date."""

from collections.abc import Iterable
from operator import attrgetter

from heaptop.changes import changed_items
from heaptop.model import Buffer

_INODE = attrgetter("inode")


class Group:
    """The buffers of one exporter and heap of which the same sources told the same. Sizes not known count as 0."""

    __slots__ = ("count", "exporter", "heap", "provenance", "size_bytes")

    def __init__(self, buffer: Buffer) -> None:
        self.exporter = buffer.exporter
        self.heap = buffer.heap
        self.provenance = buffer.provenance
        self.count = 0
        self.size_bytes = 0


class Totals:
    """Follows the buffers of one snapshot after the other."""

    def __init__(self) -> None:
        self._buffers: tuple[Buffer, ...] = ()
        self._groups: dict[tuple[str | None, str | None, int], Group] = {}

    @property
    def groups(self) -> Iterable[Group]:
        """All buffers, in groups."""
        return self._groups.values()

    @property
    def count(self) -> int:
        """How many buffers there are."""
        return len(self._buffers)

    def count_without(self, field: str) -> int:
        """How many buffers have no value of a field, as no source told it."""
        return sum(group.count for group in self.groups if field not in group.provenance)

    def follow(self, buffers: tuple[Buffer, ...]) -> None:
        """These are the buffers now."""
        for _, before, now in changed_items(self._buffers, buffers, _INODE):
            if before is not None:
                self._add(before, -1)
            if now is not None:
                self._add(now, 1)
        self._buffers = buffers

    def _add(self, buffer: Buffer, count: int) -> None:
        key = buffer.exporter, buffer.heap, id(buffer.provenance)
        group = self._groups.get(key)
        if group is None:
            group = self._groups[key] = Group(buffer)
        group.count += count
        group.size_bytes += count * (buffer.size_bytes or 0)
        if not group.count:
            del self._groups[key]
