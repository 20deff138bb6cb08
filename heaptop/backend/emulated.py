"""The emulator as a source: asked over a socket, and seen in the real /proc.

The buffers are memfds in real processes. What /proc shows of them is translated into what it would show of dma-bufs;
the rest of the kernel's files come from the emulator itself. Only this emulator's buffers count, so that two of them
do not mix.
"""

import errno
import os
import time
from collections.abc import Callable, Iterable, Sequence
from types import MappingProxyType
from typing import Final

from heaptop.backend import uapi
from heaptop.backend.base import Allocation, Content, Way
from heaptop.backend.chosen import Chosen
from heaptop.backend.reach import Emulator
from heaptop.backend.translation import DMABUF_PREFIX, LINK_PREFIX, NEEDLE, Translation, is_buffer
from heaptop.capture import Capture
from heaptop.errors import SourceError
from heaptop.scan.hiding import HidingScan
from heaptop.scan.holders import Holders, PlainHolders, find_holders
from heaptop.scan.proc import ProcScan
from heaptop.stacks import shelf
from heaptop.units import printable
from heaptop_emulator.wire import U64_MAX, Client, State

_BUFINFO: Final = "sys/kernel/debug/dma_buf/bufinfo"


class EmulatedBackend:
    """An emulator as a source: a Backend and an Allocator."""

    def __init__(
        self,
        emulator: Emulator,
        *,
        clock: Callable[[], float] = time.time,
        off: frozenset[str] = frozenset(),
    ) -> None:
        """It ends, or is parted with, when this object is closed. Sources that are `off` are left out."""
        self._emulator = emulator
        self._clock = clock
        self._off = off
        scan = ProcScan(is_buffer=is_buffer, needle=NEEDLE)
        self._holders = find_holders(scan, prefixes=(LINK_PREFIX, DMABUF_PREFIX))
        self._whole = PlainHolders(scan)
        self._translation = Translation()
        self._chosen = Chosen(off)
        self._hiding = HidingScan(needle=NEEDLE)

    @property
    def source(self) -> str:
        """As `-b` takes it."""
        return self._emulator.source

    @property
    def emulator_pid(self) -> int:
        """The emulator's own process, which holds no buffer."""
        return self._emulator.pid

    def state(self) -> State:
        """What the emulator itself knows at this moment.

        Raises:
            SourceError: the emulator is gone.
        """
        return self._emulator.ask(Client.state)

    def subscribe(self) -> int:
        """The end of a pipe on which each event is a line of JSON; the caller closes it.

        Raises:
            SourceError: the emulator is gone, or has too many subscribers.
        """
        try:
            return self._emulator.ask(Client.events)
        except OSError as error:
            raise SourceError("the emulator's events", str(error), "close another heaptop") from error

    def search(self, *, wanted: bool) -> None:
        """Whether to look where references can hide, from the next capture on."""
        self._hiding.wanted = wanted and not self._off & {"fd", "fdinfo"}

    def attend(self, pids: Iterable[int] | None = None) -> None:
        """Look closely at these processes (at all, where None is given), from the next capture on."""
        self._holders.attend(pids)

    def capture(self) -> Capture:
        """Ask the emulator before and after a pass over /proc: what lived all the while is in the capture.

        Raises:
            SourceError: the emulator is gone.
        """
        return self._capture(self._holders, self._translation)

    def capture_whole(self) -> Capture:
        """As `capture`, with every file of every holder in full.

        Raises:
            SourceError: the emulator is gone.
        """
        return self._capture(self._whole, Translation())

    def _capture(self, holders: Holders, translation: Translation) -> Capture:
        captured_at = self._clock()
        before = {buffer.inode for buffer in self.state().buffers}
        seen = holders.look()
        state = self.state()
        buffers = {buffer.inode: buffer for buffer in state.buffers if buffer.inode in before}
        # The emulator's own process has a buffer until it has passed it on, and counts nowhere.
        others = tuple(process for process in seen.processes if process.pid != self._emulator.pid)
        translation.follow(others, seen.infos, buffers)
        whole = Capture(
            source=self.source,
            captured_at=captured_at,
            files=MappingProxyType(
                {
                    **state.files,
                    **shelf.read_all(shelf.EMULATOR),
                    **self._hiding.files(),
                    _BUFINFO: translation.bufinfo(),
                }
            ),
            links=state.links,
            processes=translation.processes(),
            processes_seen=seen.processes_seen - 1,
            infos=translation.infos(),
        )
        return self._chosen.of(whole)

    def heaps(self) -> Sequence[str]:
        """Names of the heaps that can be asked."""
        return self.state().heaps

    def allocate(self, heap: str, size_bytes: int, name: bytes | None = None) -> Allocation:
        """Allocate one buffer for this process.

        Raises:
            UsageError: the name is too long.
            AllocationError: with the heap's errno; ENOENT for an unknown heap.
            SourceError: the emulator is gone.
        """
        if name is not None:
            uapi.check_name(name)
        if not 0 <= size_bytes <= U64_MAX:
            raise uapi.refused(printable(heap), size_bytes, OSError(errno.EINVAL, os.strerror(errno.EINVAL)))
        began = time.perf_counter()
        try:
            given = self._emulator.ask(lambda client: client.allocate(heap, size_bytes, name))
        except OSError as error:
            raise uapi.refused(printable(heap), size_bytes, error) from error
        latency_s = time.perf_counter() - began
        return Allocation(given.fd, heap, given.inode, given.size_bytes, name, latency_s)

    def open_content(self, inode: int, ways: Sequence[Way]) -> Content:
        """Open a buffer for reading; see backend/content.py.

        Raises:
            SourceError: nobody holds it, or it may not be looked into.
        """
        from heaptop.backend.content import open_content  # noqa: PLC0415  (most never look into one)

        return open_content(inode, ways, is_buffer)

    def close(self) -> None:
        """Part with the emulator. Buffers that this process still holds stay its own."""
        self._holders.close()
        self._emulator.close()
