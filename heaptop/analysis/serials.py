"""How many buffers were allocated between two looks, those shorter-lived than a look included: by inode numbers.

From 5.18 on (drivers/dma-buf/dma-buf.c, "dma-buf: ensure unique directory name for dmabuf stats") a buffer's inode
number counts the buffers of this boot. Before, it comes from a counter that sockets, pipes and other files share.
"""

from heaptop.model import Snapshot


class Serials:
    """Fed with the looks at one boot."""

    def __init__(self, snapshot: Snapshot) -> None:
        """The first look."""
        self._first = self._newest = _newest(snapshot)
        self._count = snapshot.inodes_count

    def follow(self, snapshot: Snapshot) -> None:
        """A later look."""
        newest = _newest(snapshot)
        self._count = snapshot.inodes_count
        if newest is not None and (self._newest is None or newest > self._newest):
            self._newest = newest
            self._first = newest if self._first is None else self._first

    @property
    def allocated(self) -> int | None:
        """Buffers since the first look, up to the newest that a look showed; None where inodes do not count them."""
        if not self._count or self._first is None or self._newest is None:
            return None
        return self._newest - self._first


def allocated_between(before: Snapshot, now: Snapshot) -> int | None:
    """The same of two snapshots of one boot."""
    serials = Serials(before)
    serials.follow(now)
    return serials.allocated


def _newest(snapshot: Snapshot) -> int | None:
    return snapshot.buffers[-1].inode if snapshot.buffers else None
