"""The emulator as a source: asked over a socket, and seen in the real /proc.

The buffers are memfds in real processes. What /proc shows of them is translated into what it would show of dma-bufs;
the rest of the kernel's files come from the emulator itself. Only this emulator's buffers count, so that two of them
do not mix.
"""

import errno
import os
import re
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Final

from heaptop.backend import uapi
from heaptop.backend.base import Allocation, Content, Way
from heaptop.backend.chosen import without
from heaptop.backend.reach import Emulator
from heaptop.capture import Capture, FdLink, FdStat, FdTable, ProcessCapture, Raw
from heaptop.errors import SourceError
from heaptop.pattern import pattern
from heaptop.scan.hiding import HidingScan
from heaptop.scan.patience import Patience
from heaptop.scan.proc import ProcScan
from heaptop.stacks import shelf
from heaptop.units import printable
from heaptop_emulator import text
from heaptop_emulator.text import FILE_PREFIX
from heaptop_emulator.wire import U64_MAX, BufferState, Client, State

LINK_PREFIX: Final = f"/memfd:{FILE_PREFIX}".encode()
"""How the link of every emulated buffer's fd begins, where no real dma-buf stands for it."""
_DMABUF_PREFIX: Final = b"/dmabuf:"
_NEEDLE: Final = b"dmabuf:"
_BUFINFO: Final = "sys/kernel/debug/dma_buf/bufinfo"
_O_LARGEFILE: Final = 0o100000
"""Set on every memfd's open file by a 64-bit kernel, and not on a dma-buf's."""
_MAP_LINE: Final = pattern(rb"^(\S+ \S+ \S+ )\S+ (\d+)( +)/(memfd:)?dmabuf:.*$", re.MULTILINE)
_FDINFO: Final = pattern(rb"^flags:\t0([0-7]+)\nmnt_id:\t(\d+)$", re.MULTILINE)


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
        self._scan = ProcScan(is_buffer=_is_buffer, needle=_NEEDLE)
        self._hiding = HidingScan(needle=_NEEDLE)
        self._patience = Patience(self._scan.process)

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

    def capture(self) -> Capture:
        """Ask the emulator before and after a pass over /proc: what lived all the while is in the capture.

        Raises:
            SourceError: the emulator is gone.
        """
        captured_at = self._clock()
        before = {buffer.inode for buffer in self.state().buffers}
        pids = [pid for pid in self._scan.pids() if pid != self._emulator.pid]
        found, _ = self._patience.each(pids)
        seen = [process for pid in pids if (process := found.get(pid)) is not None]
        state = self.state()
        buffers = {buffer.inode: buffer for buffer in state.buffers if buffer.inode in before}
        counts = _count_references(seen, buffers)
        translation = _Translation(buffers, counts)
        whole = Capture(
            source=self.source,
            captured_at=captured_at,
            files=MappingProxyType(
                {
                    **state.files,
                    **shelf.read_all(shelf.EMULATOR),
                    **self._hiding.files(),
                    _BUFINFO: text.bufinfo(buffers.values(), counts),
                }
            ),
            links=state.links,
            processes=tuple(held for process in seen if (held := translation.process(process)) is not None),
            processes_seen=len(pids),
        )
        return without(whole, self._off)

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

        return open_content(inode, ways, _is_buffer)

    def close(self) -> None:
        """Part with the emulator. Buffers that this process still holds stay its own."""
        self._emulator.close()


def _is_buffer(target: bytes) -> bool:
    return target.startswith((LINK_PREFIX, _DMABUF_PREFIX))


def _tables(process: ProcessCapture) -> Iterable[FdTable]:
    yield process.table
    for task in process.tasks:
        yield task.table


def _mapped(process: ProcessCapture) -> Iterable[int]:
    """Inode of each mapping (VMA) of an emulated buffer, this emulator's or not."""
    maps = process.files.get("maps")
    return (int(match[2]) for match in _MAP_LINE.finditer(maps)) if isinstance(maps, bytes) else ()


def _count_references(processes: Iterable[ProcessCapture], buffers: Mapping[int, BufferState]) -> dict[int, int]:
    """References to each buffer that /proc shows. A live one that nobody is seen to hold has at least one unseen."""
    counts: Counter[int] = Counter()
    for process in processes:
        counts.update(link.stat.inode for table in _tables(process) for link in table.links if link.stat is not None)
        counts.update(_mapped(process))
    return {inode: max(1, counts[inode]) for inode in buffers}


class _Translation:
    """From what /proc shows of memfds to what it would show of dma-bufs."""

    def __init__(self, buffers: Mapping[int, BufferState], counts: Mapping[int, int]) -> None:
        self._buffers = buffers
        self._counts = counts

    def process(self, process: ProcessCapture) -> ProcessCapture | None:
        """A process that holds some of these buffers; None for any other."""
        table = self._table(process.table)
        tasks = tuple(task._replace(table=self._table(task.table)) for task in process.tasks)
        by_fd = any(link.stat is not None for one in (table, *(task.table for task in tasks)) for link in one.links)
        if not by_fd and self._buffers.keys().isdisjoint(_mapped(process)):
            return None
        files = dict(process.files)
        if isinstance(maps := files.get("maps"), bytes):
            files["maps"] = _MAP_LINE.sub(self._map_line, maps)
        return ProcessCapture(process.pid, MappingProxyType(files), table, tasks)

    def _table(self, table: FdTable) -> FdTable:
        """A table with these buffers as dma-bufs, without those of other emulators."""
        links: list[FdLink] = []
        fdinfo = dict(table.fdinfo)
        for link in table.links:
            if not _is_buffer(link.target):
                links.append(link)
                continue
            raw = fdinfo.pop(link.fd, None)
            buffer = self._buffers.get(link.stat.inode) if link.stat is not None else None
            if buffer is not None and buffer.is_dmabuf == link.target.startswith(_DMABUF_PREFIX):
                links.append(FdLink(link.fd, text.link(buffer.name), _stat(buffer), link.link_mode))
                if raw is not None:
                    fdinfo[link.fd] = self._fdinfo(raw, buffer)
        return FdTable(tuple(links), MappingProxyType(fdinfo), table.error)

    def _fdinfo(self, raw: Raw, buffer: BufferState) -> Raw:
        """The descriptor's own lines and then the buffer's; an error stays as it is."""
        found = _FDINFO.search(raw) if isinstance(raw, bytes) else None
        if found is None:
            return raw
        # A dma-buf has one open file, so one access mode; a buffer that may not be mapped is opened without any here.
        flags = int(found[1], 8) & ~_O_LARGEFILE & ~os.O_ACCMODE | buffer.access
        return text.fdinfo(buffer, flags=flags, mnt_id=int(found[2]), count=self._counts[buffer.inode])

    def _map_line(self, match: re.Match[bytes]) -> bytes:
        buffer = self._buffers.get(int(match[2]))
        if buffer is None or buffer.is_dmabuf == (match[4] is not None):
            return match[0]
        device = b"%02x:%02x" % text.DMABUF_DEVICE
        return match[1] + device + b" " + match[2] + match[3] + text.map_path(buffer.name)


def _stat(buffer: BufferState) -> FdStat:
    """As dma_buf_getfile leaves it (drivers/dma-buf/dma-buf.c, 5.3 on)."""
    blocks = buffer.size_bytes // 512
    return FdStat(text.DMABUF_DEVICE, buffer.inode, buffer.size_bytes, text.DMABUF_MODE, nlink=1, blocks=blocks)
