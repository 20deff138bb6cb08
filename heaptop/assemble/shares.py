"""Who pays for which buffer: RSS and PSS as Android's dmabuf_dump counts them (AOSP system/memory/libmeminfo)."""

from collections import Counter
from collections.abc import Iterable, Mapping
from operator import attrgetter
from typing import NamedTuple

from heaptop.changes import changed_items
from heaptop.compiled import compiled
from heaptop.model import Buffer, ProcessId

_quick = compiled("heaptop.assemble._quick")
_INODE = attrgetter("inode")


class Share(NamedTuple):
    """One process's part. RSS counts each buffer once, whole; PSS its size divided (rounded down) by its processes."""

    rss_bytes: int
    pss_bytes: int
    inodes: tuple[int, ...]


def shares(buffers: Iterable[Buffer]) -> dict[ProcessId, Share]:
    """Every process that holds a buffer, with its share. Sizes not known count as 0; inodes are in rising order."""
    if _quick is not None:
        quickly: dict[ProcessId, Share] = _quick.shares(buffers, Share)
        return quickly
    accounts: dict[ProcessId, tuple[list[int], list[int], list[int]]] = {}
    for buffer in buffers:
        holders = buffer.holders
        if holders:
            size = buffer.size_bytes or 0
            part = size // len(holders)
            for holder in holders:
                account = accounts.get(holder.process)
                if account is None:
                    account = accounts[holder.process] = [], [], []
                account[0].append(size)
                account[1].append(part)
                account[2].append(buffer.inode)
    return {
        process: Share(sum(sizes), sum(parts), tuple(sorted(inodes)))
        for process, (sizes, parts, inodes) in accounts.items()
    }


class Shares:
    """The same, kept up to date from one snapshot's buffers to the next's."""

    def __init__(self) -> None:
        self._buffers: tuple[Buffer, ...] = ()
        self._shares: Mapping[ProcessId, Share] = {}

    def follow(self, buffers: tuple[Buffer, ...]) -> Mapping[ProcessId, Share]:
        """The shares now; the very same object while nothing changes, and so is that of each process."""
        before, self._buffers = self._buffers, buffers
        if not before:
            self._shares = shares(buffers)
            return self._shares
        steps: dict[ProcessId, _Step] = {}
        for _, old, new in changed_items(before, buffers, _INODE):
            if old is None or new is None or _paid(old) != _paid(new):
                _add(old, -1, steps)
                _add(new, 1, steps)
        if steps:
            found = dict(self._shares)
            for process, step in steps.items():
                found[process] = step.after(found.get(process, Share(0, 0, ())))
                if not found[process].inodes:
                    del found[process]
            self._shares = found
        return self._shares


def _paid(buffer: Buffer) -> tuple[int | None, list[ProcessId]]:
    """Who pays how much for it."""
    return buffer.size_bytes, [holder.process for holder in buffer.holders]


def _add(buffer: Buffer | None, sign: int, steps: "dict[ProcessId, _Step]") -> None:
    if buffer is not None:
        for holder in buffer.holders:
            steps.setdefault(holder.process, _Step()).add(buffer, sign)


class _Step:
    """What one process holds more, or less."""

    def __init__(self) -> None:
        self._rss_bytes = self._pss_bytes = 0
        self._inodes: Counter[int] = Counter()

    def add(self, buffer: Buffer, sign: int) -> None:
        """One buffer, as it is now (1) or was before (-1)."""
        size = buffer.size_bytes or 0
        self._rss_bytes += sign * size
        self._pss_bytes += sign * (size // len(buffer.holders))
        self._inodes[buffer.inode] += sign

    def after(self, share: Share) -> Share:
        """The share after this step from another one."""
        inodes = share.inodes
        if any(self._inodes.values()):
            counts = Counter(inodes)
            counts.update(self._inodes)
            inodes = tuple(sorted(counts.elements()))
        return Share(share.rss_bytes + self._rss_bytes, share.pss_bytes + self._pss_bytes, inodes)
