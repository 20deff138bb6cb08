"""What a source of captures must do, and what one that can allocate must do besides."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol, runtime_checkable

from heaptop.capture import Capture

if TYPE_CHECKING:
    from heaptop.recording.moments import Break, Moment


@runtime_checkable
class Backend(Protocol):
    """A source of captures: this kernel, the emulator, a recording, a device."""

    @property
    def source(self) -> str:
        """Its name as `-b` takes it: `kernel`, `emulator:steady`, `replay:PATH`."""

    def capture(self) -> Capture:
        """Take one look. What cannot be read is in the capture as a `ReadError`.

        Raises:
            SourceError: the source itself is gone.
            RecordingError: the recording cannot be read.
        """

    def close(self) -> None:
        """Give back everything; nothing is left behind. May be called twice."""


@runtime_checkable
class Timeline(Backend, Protocol):
    """A backend with many captures, at moments that are over: a recording. One of a single capture has one moment."""

    def moments(self) -> Sequence[float]:
        """When each capture was taken, in seconds since the epoch, rising; 0 where a single capture does not tell.

        They are on one clock, also where the device's was set meanwhile: `Capture.captured_at` says the same.
        """

    def seek(self, index: int) -> None:
        """Let the next `capture()` give the one of `moments()[index]`, and each after it the same until the next seek.

        A recording stands at its last moment when it is opened.

        Raises:
            IndexError: there is no such moment (negative ones neither).
        """


@runtime_checkable
class Attentive(Backend, Protocol):
    """A backend that leaves out of a capture what takes long, unless it is told to look closely: the flags of each
    descriptor, the libraries of a process.
    """

    def attend(self, pids: Iterable[int] | None = None) -> None:
        """Look closely at these processes (at all, where None is given), from the next capture on."""

    def capture_whole(self) -> Capture:
        """As `capture`, with every file of every holder in full: for a recording."""


@runtime_checkable
class Searching(Backend, Protocol):
    """A backend that looks where references can hide (descriptors in flight, rings) only when it is told to."""

    def search(self, *, wanted: bool) -> None:
        """Whether to look there, from the next capture on."""


def whole_capture(backend: Backend) -> Capture:
    """The most that a backend can tell in one capture."""
    return backend.capture_whole() if isinstance(backend, Attentive) else backend.capture()


@runtime_checkable
class Recorded(Timeline, Protocol):
    """A time line whose recorder told of each moment what need not be looked at to be known."""

    @property
    def index(self) -> int:
        """The moment that the next `capture()` gives."""

    def told(self) -> "Sequence[Moment]":
        """What the recorder told of each moment, without opening it; empty where nothing."""

    def breaks(self) -> "Sequence[Break]":
        """Where time or the boot does not go on."""

    def first_seen(self, index: int) -> Mapping[int, float]:
        """When buffers of that moment had first been seen, as far as the recorder told: seconds since the epoch."""


class Allocation(NamedTuple):
    """A test buffer that heaptop holds by `fd`. `latency_s` is the time of the ALLOC call alone."""

    fd: int
    heap: str
    inode: int
    size_bytes: int
    name: bytes | None
    latency_s: float


@runtime_checkable
class Allocator(Protocol):
    """A backend that can allocate test buffers. The caller owns the fd and frees the buffer by closing it."""

    def heaps(self) -> Sequence[str]:
        """Names of the heaps that can be asked."""

    def allocate(self, heap: str, size_bytes: int, name: bytes | None = None) -> Allocation:
        """Allocate one buffer: O_RDWR, close on exec; named where `name` is given (at most 31 bytes).

        Raises:
            AllocationError: with the heap's errno; ENOENT for an unknown heap.
        """


Span = tuple[int, int]
"""A part of a buffer: offset and length, in bytes."""


class FdAt(NamedTuple):
    """A descriptor in the table of process `pid`, or in that of its thread `tid`, which has one of its own."""

    pid: int
    fd: int
    tid: int | None = None


class MapAt(NamedTuple):
    """A mapping of process `pid`, from `start` to `end`."""

    pid: int
    start: int
    end: int


Way = FdAt | MapAt
"""A way to a buffer, as a capture shows it: by the time it is gone it may lead elsewhere, or nowhere."""


class Content(Protocol):
    """A buffer that is open for reading, which holds it. May be used from any thread; see backend/content.py."""

    @property
    def size_bytes(self) -> int:
        """All of it."""

    def read(self, spans: Sequence[Span]) -> tuple[bytes, ...]:
        """The bytes of each span, read at one moment (one pair of SYNCs); less where the buffer ends before.

        Raises:
            SourceError: it cannot be read, or not in time.
        """

    def close(self) -> None:
        """Let go of the buffer. May be called twice."""


@runtime_checkable
class ContentReader(Backend, Protocol):
    """A backend whose buffers can be looked into."""

    def open_content(self, inode: int, ways: Sequence[Way]) -> Content:
        """Open a buffer by the first of `ways` that leads to it; the caller closes it as soon as may be.

        Raises:
            SourceError: nobody holds it, it may not be looked into, or it cannot be mapped.
        """


@runtime_checkable
class EventFeed(Backend, Protocol):
    """A backend that tells of allocations and frees by itself: the emulator. The kernel is watched instead."""

    def subscribe(self) -> int:
        """The end of a pipe on which each event is a line of JSON; the caller closes it.

        Raises:
            SourceError: the emulator is gone.
        """
