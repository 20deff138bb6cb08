"""Keeps where buffers come from: copies of stacks wait until there is time to walk them, then readers are told."""

from collections import deque
from collections.abc import Callable, Collection
from typing import Final, NamedTuple

from heaptop.call_stack import CallStack, CodeFrame, Frame
from heaptop.stacks.catch import Copy
from heaptop.stacks.log import StackLog
from heaptop.stacks.modules import Module
from heaptop.stacks.shelf import Shelf
from heaptop.stacks.unwind import End

WAITING_MAX: Final = 64
"""Copies that wait to be walked: beyond, an allocation waits for a walk, and memory stays bounded."""


class Allocated(NamedTuple):
    """A buffer and who allocated it, at `time` in seconds since the epoch."""

    inode: int
    pid: int
    tid: int
    comm: bytes
    time: float


class _Waiting(NamedTuple):
    copy: Copy
    buffer: Allocated


class StackRecorder:
    """One for all processes that are watched; used by one thread."""

    def __init__(self, shelf: Shelf, alive: Callable[[], Collection[int] | None]) -> None:
        """`alive` tells the inodes of all live buffers, None where it cannot: asked now and then, so that those which
        were freed are forgotten.
        """
        self._alive = alive
        self._shelf = shelf
        self._log = StackLog(shelf.write, shelf.rewrite)
        self._waiting: deque[_Waiting] = deque()

    def add(self, copy: Copy, buffer: Allocated) -> None:
        """A copy of the stack on which a buffer was allocated."""
        self._waiting.append(_Waiting(copy, buffer))
        while len(self._waiting) > WAITING_MAX:
            self._walk(self._waiting.popleft())

    @property
    def has_work(self) -> bool:
        """Whether there is something to settle."""
        return bool(self._waiting)

    def settle(self) -> None:
        """Walk all that waits."""
        while self._waiting:
            self._walk(self._waiting.popleft())
        if self._log.is_long:
            alive = self._alive()
            if alive is not None:
                self._log.keep(alive)

    def close(self) -> None:
        """Take its text away. May be called twice."""
        self._shelf.close()

    def _walk(self, waiting: _Waiting) -> None:
        inode, pid, tid, comm, time = waiting.buffer
        self._log.add(inode, stack_of(waiting.copy), pid=pid, tid=tid, comm=comm, time=time)


def stack_of(copy: Copy) -> CallStack:
    """The stack that a copy is of. Where an interpreter runs, its functions stand in the place of its own frames."""
    walk = copy.walk()
    calls = deque(copy.calls)
    frames: list[Frame] = []
    for address in walk.addresses:
        frame, place = _frame(copy, address)
        if copy.interpreter is None or not copy.calls or place is not copy.interpreter.module:
            frames.append(frame)
        elif copy.interpreter.runs_at(address) and calls:
            frames += calls.popleft()
    for call in calls:  # the walk did not get so far
        frames += call
    return CallStack(tuple(frames), "" if walk.end is End.WHOLE else walk.end.value)


def _frame(copy: Copy, address: int) -> tuple[CodeFrame, Module | None]:
    place = copy.space.place(address)
    if place is None:
        return CodeFrame("", "", address), None
    module, linked = place
    return CodeFrame(module.build_id, module.path.decode("utf-8", "surrogateescape"), linked), module
