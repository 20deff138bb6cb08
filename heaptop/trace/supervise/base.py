"""What the parts of a supervised run ask of one another."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from heaptop.trace.supervise.seccomp import Call
from heaptop.trace.supervise.stops import Stopped


class Wanted(Protocol):
    """A request for a buffer that passed the ABI's checks."""

    @property
    def size_bytes(self) -> int:
        """Whole pages."""

    @property
    def fd_flags(self) -> int:
        """Access mode and O_CLOEXEC."""


class Abi(Protocol):
    """How the emulated heaps take ioctls: heaptop_emulator.abi has them, and what `caller` must have."""

    def node(self, heap: str) -> str:
        """Name of a heap's node."""

    def heap_ioctl(self, caller: Any, command: int, argument: int, allocate: Callable[[Wanted], object]) -> None:
        """Answer an ioctl of a heap; OSError where it is refused."""

    def buffer_ioctl(self, caller: Any, command: int, argument: int, set_name: Callable[[bytes], None]) -> None:
        """Answer an ioctl of a buffer; OSError where it is refused."""


class Granted(Protocol):
    """A buffer from an emulated heap."""

    @property
    def fd(self) -> int:
        """The only reference to it, which is of who has this."""

    @property
    def inode(self) -> int:
        """Its number."""


class Buffers(Protocol):
    """Where a command's buffers come from."""

    def allocate(self, heap: str, wanted: Wanted, tid: int) -> Granted:
        """A buffer for thread `tid`.

        Raises:
            OSError: the heap's errno; ENODEV where there is no emulator any more.
        """

    def set_name(self, inode: int, name: bytes) -> None:
        """Name a buffer.

        Raises:
            OSError: ENOTTY where this is no buffer of the emulator's; ENODEV where there is none any more.
        """


class Heaps(Buffers, Protocol):
    """The emulator, as the supervisor uses it. A restarted one is found again."""

    def replace(self, inode: int, dmabuf: int) -> None:
        """Let the dma-buf of that inode stand for a buffer.

        Raises:
            OSError: EEXIST where the number is taken; ENODEV where there is no emulator any more.
        """


@dataclass(slots=True)
class Allocation:
    """An ALLOC and what became of it; None where that is not known. `number` is its errno, 0 where it succeeded.

    `began` is in seconds since the epoch.
    """

    tid: int
    heap: str
    began: float
    size_bytes: int | None = None
    number: int | None = None
    fd: int | None = None
    inode: int | None = None
    took_s: float | None = None
    pid: int | None = None
    comm: str | None = None


class Outcome(NamedTuple):
    """How a call ends: by an errno, or where that is 0 by a `value`; or by the kernel (`passes`). `allocation` where it
    was an ALLOC.
    """

    number: int = 0
    passes: bool = False
    allocation: Allocation | None = None
    value: int = 0


class Responder(Protocol):
    """Decides what becomes of a call."""

    def handle(self, call: Call) -> Outcome:
        """Do all but end the call. Raises nothing but a bug."""

    def close(self) -> None:
        """Nobody is left to answer."""

    def tend(self) -> float | None:
        """Do what is due; seconds until something is again, None where nothing will be."""

    def returned(self, call: Call, allocation: Allocation, stopped: Stopped) -> bool:
        """Note how an ALLOC ended that the kernel did; False where it is about to be made again."""


class CallSites(Protocol):
    """Takes note of where in the program each buffer was allocated. It must be quick: the program stands still."""

    def stopped(self, stopped: Stopped, allocation: Allocation) -> None:
        """The thread stands at the end of its ALLOC: its registers and its memory are those of the call.

        The buffer is known to `allocation`, also where the kernel made it. What is kept of the stack must be copied:
        the thread runs on when this returns.
        """

    def parked(self, call: Call, allocation: Allocation) -> None:
        """The thread cannot be stopped (a debugger has it). It waits in its call, and goes on when this returns.

        /proc/TID/syscall tells its stack pointer and program counter. Where the kernel is to make the buffer, it is
        not there yet.
        """

    @property
    def has_work(self) -> bool:
        """Whether something is left to do for when nobody waits."""

    def settle(self) -> None:
        """Do it."""

    def close(self) -> None:
        """Nobody is left to be stopped. Leave nothing behind."""
