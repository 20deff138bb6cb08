"""From what /proc shows of an emulator's memfds to what it would show of dma-bufs, at the price of what changed."""

import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from operator import attrgetter
from types import MappingProxyType
from typing import Final

from heaptop.capture import NOTHING, BufferInfo, FdLink, FdStat, FdTable, ProcessCapture, Raw
from heaptop.changes import Kept, Rows, changed_items, changed_keys
from heaptop.pattern import pattern
from heaptop.scan.sharing import FD_SHARED, MAPS_SHARED
from heaptop_emulator import text
from heaptop_emulator.text import FILE_PREFIX
from heaptop_emulator.wire import BufferState

LINK_PREFIX: Final = f"/memfd:{FILE_PREFIX}".encode()
"""How the link of every emulated buffer's fd begins, where no real dma-buf stands for it."""
DMABUF_PREFIX: Final = b"/dmabuf:"
NEEDLE: Final = b"dmabuf:"
_O_LARGEFILE: Final = 0o100000
"""Set on every memfd's open file by a 64-bit kernel, and not on a dma-buf's."""
_MAPS: Final = ("maps", "maps.buffers")
_MAP_LINE: Final = pattern(rb"^(\S+ \S+ \S+ )\S+ (\d+)( +)/(memfd:)?dmabuf:.*$", re.MULTILINE)
_FDINFO: Final = pattern(rb"^flags:\t0([0-7]+)\nmnt_id:\t(\d+)$", re.MULTILINE)
_PID = attrgetter("pid")

Buffers = Mapping[int, BufferState]


def is_buffer(target: bytes) -> bool:
    """Whether a link is that of an emulated buffer, or of a dma-buf."""
    return target.startswith((LINK_PREFIX, DMABUF_PREFIX))


class Translation:
    """Keeps what it made: a process, and a buffer's fdinfo, is the very same object while nothing of it changes."""

    def __init__(self) -> None:
        self._buffers: Buffers = NOTHING
        self._seen: tuple[ProcessCapture, ...] = ()
        self._infos_seen: Mapping[int, BufferInfo] = NOTHING
        self._references: dict[int, Counter[int]] = {}
        self._holders: dict[int, set[int]] = {}
        self._counts: Counter[int] = Counter()
        self._processes: Rows[int, ProcessCapture] = Rows()
        self._infos: Kept[int, BufferInfo] = Kept()
        self._bufinfo: bytes | None = None

    def follow(self, seen: tuple[ProcessCapture, ...], infos: Mapping[int, BufferInfo], buffers: Buffers) -> None:
        """What was seen at a look, and the buffers that this emulator had all the while."""
        now = {process.pid: process for process in seen}
        pids, touched = self._note(seen)
        touched |= {inode for inode in self._buffers.keys() | buffers.keys() if self._is_other(inode, buffers)}
        news = set(changed_keys(self._infos_seen, infos)) | touched
        self._seen, self._infos_seen, self._buffers = seen, infos, buffers
        for pid in pids.union(*(self._holders.get(inode, ()) for inode in touched)):
            process = now.get(pid)
            self._processes.put(pid, None if process is None else self._process(process))
        for inode in news:
            self._infos.put(inode, self._info(infos.get(inode), buffers.get(inode)))
        if touched:
            self._bufinfo = None

    def processes(self) -> tuple[ProcessCapture, ...]:
        """Those that hold some of the buffers."""
        return self._processes.all()

    def infos(self) -> Mapping[int, BufferInfo]:
        """One fdinfo for each buffer that has a descriptor."""
        return self._infos.all()

    def bufinfo(self) -> bytes:
        """The text of debugfs."""
        if self._bufinfo is None:
            counts = {inode: self._count(inode) for inode in self._buffers}
            self._bufinfo = text.bufinfo(self._buffers.values(), counts)
        return self._bufinfo

    def _is_other(self, inode: int, buffers: Buffers) -> bool:
        before, now = self._buffers.get(inode), buffers.get(inode)
        return before is not now and before != now

    def _count(self, inode: int) -> int:
        """References that /proc shows. A live buffer that nobody is seen to hold has at least one unseen."""
        return max(1, self._counts[inode])

    def _note(self, seen: tuple[ProcessCapture, ...]) -> tuple[set[int], set[int]]:
        """Processes that are others than before, and the buffers that they refer to otherwise."""
        pids: set[int] = set()
        touched: set[int] = set()
        for pid, _, process in changed_items(self._seen, seen, _PID):
            pids.add(pid)
            before = self._references.pop(pid, Counter())
            now = Counter() if process is None else references(process)
            if process is not None:
                self._references[pid] = now
            for inode in before.keys() | now.keys():
                if before.get(inode) == now.get(inode):
                    continue
                touched.add(inode)
                self._counts[inode] += now[inode] - before[inode]
                if not self._counts[inode]:
                    del self._counts[inode]
                holders = self._holders.setdefault(inode, set())
                (holders.add if inode in now else holders.discard)(pid)
                if not holders:
                    del self._holders[inode]
        return pids, touched

    def _process(self, process: ProcessCapture) -> ProcessCapture | None:
        """A process that holds some of these buffers; None for any other."""
        if self._buffers.keys().isdisjoint(self._references[process.pid]):
            return None
        table = self._table(process.table)
        tasks = tuple(task._replace(table=self._table(task.table)) for task in process.tasks)
        files = dict(process.files)
        for name in _MAPS:
            if isinstance(maps := files.get(name), bytes):
                files[name] = _MAP_LINE.sub(self._map_line, maps)
        return ProcessCapture(process.pid, MappingProxyType(files), table, tasks)

    def _table(self, table: FdTable) -> FdTable:
        """A table with these buffers as dma-bufs, without those of other emulators."""
        links: list[FdLink] = []
        fdinfo = dict(table.fdinfo)
        for link in table.links:
            if not is_buffer(link.target):
                links.append(link)
                continue
            raw = fdinfo.pop(link.fd, None)
            buffer = self._buffers.get(link.stat.inode) if link.stat is not None else None
            if buffer is not None and buffer.is_dmabuf == link.target.startswith(DMABUF_PREFIX):
                links.append(FdLink(link.fd, text.link(buffer.name), _stat(buffer), link.link_mode))
                if raw is not None:
                    fdinfo[link.fd] = self._fdinfo(raw, buffer)
        return FdTable(tuple(links), MappingProxyType(fdinfo), table.error)

    def _info(self, info: BufferInfo | None, buffer: BufferState | None) -> BufferInfo | None:
        if info is None or buffer is None:
            return None
        return info._replace(raw=self._fdinfo(info.raw, buffer))

    def _fdinfo(self, raw: Raw, buffer: BufferState) -> Raw:
        """The descriptor's own lines and then the buffer's; an error stays as it is."""
        found = _FDINFO.search(raw) if isinstance(raw, bytes) else None
        if found is None:
            return raw
        # A dma-buf has one open file, so one access mode; a buffer that may not be mapped is opened without any here.
        flags = int(found[1], 8) & ~_O_LARGEFILE & ~os.O_ACCMODE | buffer.access
        return text.fdinfo(buffer, flags=flags, mnt_id=int(found[2]), count=self._count(buffer.inode))

    def _map_line(self, match: re.Match[bytes]) -> bytes:
        buffer = self._buffers.get(int(match[2]))
        if buffer is None or buffer.is_dmabuf == (match[4] is not None):
            return match[0]
        device = b"%02x:%02x" % text.DMABUF_DEVICE
        return match[1] + device + b" " + match[2] + match[3] + text.map_path(buffer.name)


def references(process: ProcessCapture) -> Counter[int]:
    """By inode, the references to emulated buffers, this emulator's or not. Those that are another process's as well
    are there with 0.
    """
    counts: Counter[int] = Counter()
    for table, is_shared in (
        (process.table, FD_SHARED in process.files),
        *((task.table, False) for task in process.tasks),
    ):
        for link in table.links:
            if link.stat is not None:
                counts[link.stat.inode] += not is_shared
    for inode in _mapped(process):
        counts[inode] += MAPS_SHARED not in process.files
    return counts


def _mapped(process: ProcessCapture) -> Iterable[int]:
    """Inode of each mapping (VMA) of an emulated buffer."""
    for name in _MAPS:
        if isinstance(maps := process.files.get(name), bytes):
            yield from (int(match[2]) for match in _MAP_LINE.finditer(maps))


def _stat(buffer: BufferState) -> FdStat:
    """As dma_buf_getfile leaves it (drivers/dma-buf/dma-buf.c, 5.3 on)."""
    blocks = buffer.size_bytes // 512
    return FdStat(text.DMABUF_DEVICE, buffer.inode, buffer.size_bytes, text.DMABUF_MODE, nlink=1, blocks=blocks)
