"""From steps to events: what one thread does within one call belongs together. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

from heaptop.model import CmaReason, Event, EventKind
from heaptop.parse.event_record import Step, What
from heaptop.units import text_of

PATIENCE_NS: Final = 1_000_000_000
"""How long an allocation may wait for the end of its call: what comes after the export is short."""


class Known(NamedTuple):
    """What is known of a live buffer, for when it is freed."""

    size_bytes: int | None
    exporter: str | None


@dataclass(slots=True)
class _Thread:
    """What one thread is about: its ALLOC call, an export that has begun, an allocation that waits for the call's end,
    which CMA pages it was given, and whether a pinned page was met in the search for them.
    """

    call: Step | None = None
    exporting: Step | None = None
    alloc: Event | None = None
    since_ns: int = 0
    pages: Step | None = None
    busy: bool = False

    @property
    def is_idle(self) -> bool:
        return self.call is None and self.exporting is None and self.alloc is None and not self.busy


class Joiner:
    """Takes steps in the order in which they happened. `clock_offset_s` turns their clock into seconds since the
    epoch; `known` are the buffers alive at the start, by inode.
    """

    def __init__(self, clock_offset_s: float, page_bytes: int, known: Mapping[int, Known]) -> None:
        self._offset_s = clock_offset_s
        self._page_bytes = page_bytes
        self._known = dict(known)
        self._threads: dict[int, _Thread] = {}

    def feed(self, step: Step) -> Iterator[Event]:
        """The events that this step completes."""
        thread = self._threads.setdefault(step.tid, _Thread())
        if step.what == What.CALL or (step.what == What.EXPORTING and thread.exporting is not None):
            yield from self._settled(step.tid)  # the end of what came before was missed
            thread = self._threads.setdefault(step.tid, _Thread())
        thread.since_ns = step.time_ns
        match step.what:
            case What.CALL:
                thread.call = step
            case What.RETURN:
                yield from self._returned(step, thread)
                thread = self._threads[step.tid] = _Thread()
            case What.EXPORTING:
                thread.exporting = step
            case What.EXPORTED | What.TRACE_EXPORTED:
                yield from self._exported(step, thread)
            case What.RELEASED:
                yield from self._released(step)
            case What.TRACE_CMA_BUSY:
                thread.busy = True
            case What.TRACE_CMA_DONE:
                yield from self._cma_done(step, thread)
        if thread.is_idle:
            self._threads.pop(step.tid, None)

    def settle(self, now_ns: int) -> Iterator[Event]:
        """Allocations whose call seems not to end: its end was missed."""
        late = [
            tid
            for tid, thread in self._threads.items()
            if (thread.alloc or thread.exporting) and thread.since_ns < now_ns - PATIENCE_NS
        ]
        for tid in late:
            yield from self._settled(tid)

    def _settled(self, tid: int) -> Iterator[Event]:
        """All that a thread still owes, without what is not known of it."""
        thread = self._threads.pop(tid, _Thread())
        if (event := thread.alloc or self._begun(thread)) is not None:
            yield event

    def _begun(self, thread: _Thread) -> Event | None:
        """The allocation that an export stands for whose end was missed: its inode is not known."""
        if thread.exporting is None:
            return None
        return self._event(EventKind.ALLOC, thread.exporting, exporter=_text(thread.exporting.exporter))

    def _returned(self, step: Step, thread: _Thread) -> Iterator[Event]:
        latency_s = None if thread.call is None else (step.time_ns - thread.call.time_ns) / 1e9
        has_failed = step.result is not None and step.result < 0
        if (event := thread.alloc or (None if has_failed else self._begun(thread))) is not None:
            yield event._replace(latency_s=latency_s)
        elif thread.call is not None and step.result is not None and has_failed:
            asked = step._replace(size_bytes=thread.call.size_bytes)
            yield self._event(EventKind.ALLOC_FAIL, asked)._replace(latency_s=latency_s, errno=-step.result)

    def _exported(self, step: Step, thread: _Thread) -> Iterator[Event]:
        begun, thread.exporting = thread.exporting, None
        if step.result != 0:
            return
        if begun is not None:
            step = step._replace(exporter=begun.exporter, size_bytes=step.size_bytes or begun.size_bytes)
        event = self._event(EventKind.ALLOC, step, exporter=_text(step.exporter))._replace(pfn=self._pfn(step, thread))
        if event.inode is not None:
            self._known[event.inode] = Known(event.size_bytes, event.exporter)
        if thread.call is None:
            yield event
        else:
            thread.alloc = event

    def _pfn(self, step: Step, thread: _Thread) -> int | None:
        """Where the buffer lies: in the pages that the thread was given meanwhile, if they are as many."""
        pages = thread.pages
        if pages is None or pages.count_pages is None or step.size_bytes is None:
            return None
        return pages.pfn if pages.count_pages * self._page_bytes == step.size_bytes else None

    def _released(self, step: Step) -> Iterator[Event]:
        waiting = [tid for tid, thread in self._threads.items() if thread.alloc and thread.alloc.inode == step.inode]
        for tid in waiting:
            yield from self._settled(tid)
        known = Known(None, None) if step.inode is None else self._known.pop(step.inode, Known(None, None))
        yield self._event(EventKind.FREE, step._replace(size_bytes=known.size_bytes), exporter=known.exporter)

    def _cma_done(self, step: Step, thread: _Thread) -> Iterator[Event]:
        busy, thread.busy = thread.busy, False
        if step.result == 0:
            thread.pages = step
            return
        asked = step._replace(size_bytes=None if step.count_pages is None else step.count_pages * self._page_bytes)
        yield self._event(EventKind.CMA_FAIL, asked)._replace(
            area=_text(step.area),
            align_order=step.align_order,
            reason=CmaReason.PINNED if busy else CmaReason.NO_RUN,
            errno=None if step.result is None else -step.result,
        )

    def _event(self, kind: EventKind, step: Step, exporter: str | None = None) -> Event:
        return Event(
            kind=kind,
            time=step.time_ns / 1e9 + self._offset_s,
            pid=step.pid,
            tid=step.tid,
            comm=text_of(step.comm),
            size_bytes=step.size_bytes,
            inode=step.inode,
            exporter=exporter,
        )


def _text(raw: bytes | None) -> str | None:
    return None if raw is None else text_of(raw)
