"""Where in the programs under `heaptop run` each buffer was allocated, for other heaptops of this user to read."""

import contextlib
from collections.abc import Callable, Collection

from heaptop.scan.files import read_file
from heaptop.stacks.catch import Copy, Spaces, of_parked, of_stopped
from heaptop.stacks.recorder import Allocated, StackRecorder
from heaptop.stacks.shelf import Shelf
from heaptop.trace.supervise.base import Allocation
from heaptop.trace.supervise.memory import process_of
from heaptop.trace.supervise.seccomp import Call
from heaptop.trace.supervise.stops import Stopped


class RecordedSites:
    """Takes note of stacks for a supervisor (`CallSites`)."""

    def __init__(self, kind: str, alive: Callable[[], Collection[int] | None]) -> None:
        """`kind` says whose buffers they are (`shelf.KERNEL`, `shelf.EMULATOR`), `alive` which of them live.

        Raises:
            SourceError: there is no folder to keep them in.
        """
        self._spaces = Spaces()
        self._recorder = StackRecorder(Shelf(kind), alive)

    def stopped(self, stopped: Stopped, allocation: Allocation) -> None:
        """The thread stands at the end of its call: copy its stack."""
        with contextlib.suppress(OSError):  # it was killed
            self._add(of_stopped(self._spaces, stopped.tid, stopped.registers()), stopped.tid, allocation)

    def parked(self, call: Call, allocation: Allocation) -> None:
        """A debugger has the thread, which waits in its call: copy as much as can be understood."""
        self._add(of_parked(self._spaces, call.tid), call.tid, allocation)

    @property
    def has_work(self) -> bool:
        """Whether there are stacks to be walked."""
        return self._recorder.has_work

    def settle(self) -> None:
        """Walk what was copied; while nobody waits."""
        self._recorder.settle()

    def close(self) -> None:
        """Take all away. May be called twice."""
        self._recorder.close()
        self._spaces.close()

    def _add(self, copy: Copy | None, tid: int, allocation: Allocation) -> None:
        if copy is None or allocation.inode is None:
            return
        comm = read_file(f"/proc/{tid}/comm")
        with contextlib.suppress(OSError):
            pid = allocation.pid or process_of(tid)
            name = comm.rstrip(b"\n") if isinstance(comm, bytes) else b""
            self._recorder.add(copy, Allocated(allocation.inode, pid, tid, name, allocation.began))
