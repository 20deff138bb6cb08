"""Whether the inode number of a buffer counts buffers, as it does from 5.18 on: told by what other files have.

Sockets and pipes take theirs from a counter that buffers shared before. So where the newest buffer has a number below
all of theirs, or far below the newest of theirs, it has a counter of its own.
"""

from collections.abc import Sequence
from operator import attrgetter
from typing import Final

from heaptop.capture import Capture, ProcessCapture
from heaptop.changes import changed_items
from heaptop.model import Buffer
from heaptop.pattern import pattern

_PID = attrgetter("pid")
_OTHER: Final = pattern(rb"(?:socket|pipe):\[([0-9]{1,15})\]")
_EMULATED: Final = "-heaptop-emulated"
_BPF: Final = "bpf/dmabuf_iter"
OTHERS_MIN: Final = 2
FAR: Final = 1 << 16
"""Counters of that time gave each CPU 1024 numbers at a time (fs/inode.c get_next_ino)."""


class InodeReader:
    """Reads captures one after the other; a process that is the very same object as before is not read again."""

    def __init__(self) -> None:
        self._processes: tuple[ProcessCapture, ...] = ()
        self._known: dict[int, tuple[int, ...]] = {}

    def count(self, capture: Capture, buffers: Sequence[Buffer], kernel: str | None) -> bool | None:
        """True where they count buffers; None where that is not known. The emulator's are those of a tmpfs. `buffers`
        rise by inode.
        """
        for pid, _, now in changed_items(self._processes, capture.processes, _PID):
            self._known.pop(pid, None)
            if now is not None and (numbers := _others(now)):
                self._known[pid] = numbers
        self._processes = capture.processes
        if kernel is not None and kernel.endswith(_EMULATED):
            return None
        if isinstance(capture.files.get(_BPF), bytes):
            return True  # the iterator came later (6.16)
        others = {number for numbers in self._known.values() for number in numbers}
        if not buffers or len(others) < OTHERS_MIN:
            return None
        newest = buffers[-1].inode
        return True if newest < min(others) or newest + FAR < max(others) else None


def _others(process: ProcessCapture) -> tuple[int, ...]:
    """The lowest and the highest number among its sockets and pipes."""
    numbers = [int(match[1]) for link in process.table.links if (match := _OTHER.fullmatch(link.target))]
    return (min(numbers), max(numbers)) if numbers else ()
