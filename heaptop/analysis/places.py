"""Where buffers of CMA areas lie, as live events told: for kernels that tell it in no other way."""

from collections.abc import Iterable, Mapping
from operator import attrgetter
from types import MappingProxyType
from typing import Final

from heaptop.changes import Rows, changed_items
from heaptop.model import Buffer, Event, EventKind, PageRun, Snapshot, Source

_INODE = attrgetter("inode")

PLACES_MAX: Final = 1 << 16
"""So many are remembered, the newest: a free may be missed where events are lost. Inodes never come again in a boot."""


class Places:
    """Remembers the place of each buffer whose allocation was seen, until it is freed. Pages of CMA buffers stay where
    they are for the buffer's life.
    """

    def __init__(self) -> None:
        self._events: dict[int, Event] = {}
        self._told: set[int] = set()
        self._page_bytes = 0
        self._buffers: tuple[Buffer, ...] = ()
        self._by_inode: dict[int, Buffer] = {}
        self._shown: Rows[int, Buffer] = Rows()

    def note(self, events: Iterable[Event]) -> None:
        """Learn from events, in their order."""
        for event in events:
            if event.inode is None:
                continue
            if event.kind is EventKind.FREE:
                self._forget(event.inode)
            elif event.kind is EventKind.ALLOC and event.pfn is not None:
                self._events[event.inode] = event
                self._told.add(event.inode)
                if len(self._events) > PLACES_MAX:
                    self._forget(next(iter(self._events)))

    def _forget(self, inode: int) -> None:
        if self._events.pop(inode, None) is not None:
            self._told.add(inode)

    def put_into(self, snapshot: Snapshot) -> Snapshot:
        """The snapshot with the places that it lacks. A buffer that is the same object as before stays the same."""
        if not self._events and not self._told:
            return snapshot
        touched = self._told
        for inode, _, now in changed_items(self._buffers, snapshot.buffers, _INODE):
            touched.add(inode)
            if now is None:
                del self._by_inode[inode]
            else:
                self._by_inode[inode] = now
        if snapshot.page_bytes != self._page_bytes:
            touched |= self._events.keys()
        self._told, self._buffers, self._page_bytes = set(), snapshot.buffers, snapshot.page_bytes
        for inode in touched:
            buffer, event = self._by_inode.get(inode), self._events.get(inode)
            is_lacking = buffer is not None and buffer.runs is None
            placed = _placed(buffer, event, snapshot.page_bytes) if buffer and event and is_lacking else buffer
            self._shown.put(inode, placed)
        return snapshot._replace(buffers=self._shown.all())


def _placed(buffer: Buffer, event: Event, page_bytes: int) -> Buffer:
    size_bytes = buffer.size_bytes if event.size_bytes is None else event.size_bytes
    if event.pfn is None or size_bytes is None:
        return buffer
    provenance: Mapping[str, tuple[Source, ...]] = MappingProxyType({**buffer.provenance, "runs": (Source.EVENTS,)})
    return buffer._replace(runs=(PageRun(event.pfn, -(-size_bytes // page_bytes)),), provenance=provenance)
