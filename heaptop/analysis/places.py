"""Where buffers of CMA areas lie, as live events told: for kernels that tell it in no other way."""

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final

from heaptop.model import Buffer, Event, EventKind, PageRun, Snapshot, Source

PLACES_MAX: Final = 1 << 16
"""So many are remembered, the newest: a free may be missed where events are lost. Inodes never come again in a boot."""


class Places:
    """Remembers the place of each buffer whose allocation was seen, until it is freed. Pages of CMA buffers stay where
    they are for the buffer's life.
    """

    def __init__(self) -> None:
        self._events: dict[int, Event] = {}
        self._placed: dict[int, tuple[Buffer, Buffer]] = {}

    def note(self, events: Iterable[Event]) -> None:
        """Learn from events, in their order."""
        for event in events:
            if event.inode is None:
                continue
            if event.kind is EventKind.FREE:
                self._events.pop(event.inode, None)
            elif event.kind is EventKind.ALLOC and event.pfn is not None:
                self._events[event.inode] = event
                if len(self._events) > PLACES_MAX:
                    del self._events[next(iter(self._events))]

    def put_into(self, snapshot: Snapshot) -> Snapshot:
        """The snapshot with the places that it lacks. A buffer that is the same object as before stays the same."""
        if not self._events:
            self._placed = {}
            return snapshot
        placed = {}
        buffers = list(snapshot.buffers)
        for index, buffer in enumerate(buffers):
            if buffer.runs is None and (event := self._events.get(buffer.inode)) is not None:
                before = self._placed.get(buffer.inode)
                if before is None or before[0] is not buffer:
                    before = buffer, _placed(buffer, event, snapshot.page_bytes)
                placed[buffer.inode] = before
                buffers[index] = before[1]
        self._placed = placed
        return snapshot._replace(buffers=tuple(buffers)) if placed else snapshot


def _placed(buffer: Buffer, event: Event, page_bytes: int) -> Buffer:
    size_bytes = buffer.size_bytes if event.size_bytes is None else event.size_bytes
    if event.pfn is None or size_bytes is None:
        return buffer
    provenance: Mapping[str, tuple[Source, ...]] = MappingProxyType({**buffer.provenance, "runs": (Source.EVENTS,)})
    return buffer._replace(runs=(PageRun(event.pfn, -(-size_bytes // page_bytes)),), provenance=provenance)
