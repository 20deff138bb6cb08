"""What a source of captures must do, and what one that can allocate must do besides."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from heaptop.capture import Capture


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


@dataclass(frozen=True, slots=True)
class Allocation:
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
