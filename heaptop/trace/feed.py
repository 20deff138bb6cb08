"""Live events of the emulator, which knows every allocation and the exact moment of every release."""

import json
import os
import select
import time
from collections.abc import Callable, Iterator
from typing import Any, Final

from heaptop.capture import Capture
from heaptop.errors import SourceError
from heaptop.model import CmaReason, Event, EventKind, Gap
from heaptop.trace.base import Look

_READ_BYTES: Final = 1 << 20


class FeedEvents:
    """An EventSource that reads JSON Lines from a pipe. `subscribe` opens it: it returns the end to read from;
    `capture` takes a look at the emulator.
    """

    def __init__(self, subscribe: Callable[[], int], capture: Callable[[], Capture]) -> None:
        self._subscribe = subscribe
        self._capture = capture
        self._fd = -1
        self._rest = b""
        self._lost = 0

    @property
    def watched(self) -> tuple[str, ...]:
        """The emulator itself."""
        return ("the emulator's own allocations and releases",)

    @property
    def gaps(self) -> tuple[Gap, ...]:
        """Who drops the last reference is not seen."""
        return (Gap("who frees a buffer", "the emulator sees the moment, not the process", ""),)

    @property
    def lost(self) -> int:
        """Events that found no room in the pipe."""
        return self._lost

    def start(self) -> None:
        """Subscribe. Raises SourceError where the emulator is gone."""
        self._fd = self._subscribe()

    def read(self, timeout_s: float) -> tuple[Event, ...]:
        """What happened since the last call; see EventSource."""
        if not select.select([self._fd], [], [], timeout_s)[0]:
            return ()
        data = os.read(self._fd, _READ_BYTES)
        if not data:
            raise SourceError("the emulator has ended", "", "start heaptop again")
        *lines, self._rest = (self._rest + data).split(b"\n")
        return tuple(self._events(lines))

    def look(self, event: Event) -> Look | None:
        """The emulator as it is now, where an area has failed."""
        if event.kind != EventKind.CMA_FAIL:
            return None
        capture = self._capture()
        return Look(capture, max(0.0, time.time() - event.time))

    def finish(self) -> tuple[Event, ...]:
        """What is still in the pipe."""
        return self.read(0)

    def kernel_s(self) -> float | None:
        """Nothing runs in the kernel, and what the emulator takes is not told."""
        return None

    def stop(self) -> None:
        """Let go of the pipe. May be called twice."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _events(self, lines: list[bytes]) -> Iterator[Event]:
        for line in lines:
            fields: dict[str, Any] = json.loads(line)
            self._lost = fields.pop("lost")
            reason = fields.pop("reason", None)
            yield Event(
                kind=EventKind(fields.pop("kind")), reason=None if reason is None else CmaReason(reason), **fields
            )
