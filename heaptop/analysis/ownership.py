"""Who pays for which buffer: RSS and PSS as Android's dmabuf_dump counts them (AOSP system/memory/libmeminfo)."""

from collections.abc import Iterable
from typing import NamedTuple

from heaptop.model import Buffer, ProcessId


class Share(NamedTuple):
    """One process's part. RSS counts each buffer once, whole; PSS its size divided (rounded down) by its processes."""

    rss_bytes: int
    pss_bytes: int
    inodes: tuple[int, ...]


def shares(buffers: Iterable[Buffer]) -> dict[ProcessId, Share]:
    """Every process that holds a buffer, with its share. Sizes not known count as 0; inodes are in rising order."""
    held: dict[ProcessId, list[Buffer]] = {}
    for buffer in buffers:
        for holder in buffer.holders:
            held.setdefault(holder.process, []).append(buffer)
    return {process: _share(mine) for process, mine in held.items()}


def _share(buffers: list[Buffer]) -> Share:
    sizes = [(buffer.size_bytes or 0, len(buffer.holders)) for buffer in buffers]
    return Share(
        rss_bytes=sum(size for size, _ in sizes),
        pss_bytes=sum(size // owners for size, owners in sizes),
        inodes=tuple(sorted(buffer.inode for buffer in buffers)),
    )
