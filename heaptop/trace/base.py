"""What a source of live events must do."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple, Protocol

from heaptop.capture import Capture
from heaptop.model import Event, Gap
from heaptop.parse.event_record import Step


class Look(NamedTuple):
    """What was to be seen of a CMA area `after_s` seconds after it failed."""

    capture: Capture
    after_s: float


class EventSource(Protocol):
    """Live events. Nothing is watched before `start`, and nothing stays behind: not after `stop`, not after a crash."""

    @property
    def watched(self) -> tuple[str, ...]:
        """What is watched, in words, once started."""

    @property
    def gaps(self) -> tuple[Gap, ...]:
        """What cannot be told here, once started."""

    @property
    def lost(self) -> int:
        """Records that found no room, or could not be understood."""

    def start(self) -> None:
        """Begin to watch.

        Raises:
            SourceError: nothing can be watched here: why, and what to do.
        """

    def read(self, timeout_s: float) -> tuple[Event, ...]:
        """What happened since the last call, oldest first; waits up to `timeout_s` where nothing did.

        Raises:
            SourceError: the source is gone.
        """

    def look(self, event: Event) -> Look | None:
        """The map of the area that failed, taken as soon as that was heard of; to be asked before the next `read`."""

    def finish(self) -> tuple[Event, ...]:
        """Watch no more; what had happened until then and was not yet told."""

    def kernel_s(self) -> float | None:
        """Processor time that watching took in the kernel, in whoever was watched; None where not told."""

    def stop(self) -> None:
        """End it and give back everything. May be called twice."""


class Way(Protocol):
    """A way to watch the running kernel: by BPF, or without. All that it has is given back by whoever made it."""

    @property
    def watched(self) -> Sequence[str]:
        """Tracepoints and functions."""

    @property
    def gaps(self) -> Sequence[Gap]:
        """What cannot be told."""

    @property
    def lost(self) -> int:
        """Records that found no room, or cannot be understood."""

    def steps(self, timeout_s: float) -> Iterable[Step]:
        """What happened since, in order; waits up to `timeout_s` where nothing did."""

    def end(self) -> None:
        """Watch no more; what happened until then can still be read."""

    def kernel_s(self) -> float | None:
        """Processor time taken in whoever is watched; None where not told."""
