"""The test buffers that heaptop itself holds: one list for the Lab, the `*` mark and the way out."""

import os
from collections.abc import Callable

from heaptop.backend.base import Allocation


class Held:
    """Owns the descriptors of test buffers. For the app's thread only; `on_change` is called after each change."""

    def __init__(self, on_change: Callable[[], None] = lambda: None) -> None:
        self._by_inode: dict[int, Allocation] = {}
        self._on_change = on_change

    @property
    def allocations(self) -> tuple[Allocation, ...]:
        """In the order they were made."""
        return tuple(self._by_inode.values())

    def __contains__(self, inode: object) -> bool:
        return inode in self._by_inode

    def __len__(self) -> int:
        return len(self._by_inode)

    def add(self, *allocations: Allocation) -> None:
        """Take ownership of new buffers' descriptors."""
        self._by_inode.update((allocation.inode, allocation) for allocation in allocations)
        self._on_change()

    def free(self, inode: int) -> bool:
        """Close one; False where it is not ours."""
        allocation = self._by_inode.pop(inode, None)
        if allocation is None:
            return False
        os.close(allocation.fd)
        self._on_change()
        return True

    def close(self) -> None:
        """Close all, telling nobody: the app ends."""
        self._on_change = lambda: None
        self.free_all()

    def free_all(self) -> int:
        """Close all; returns how many."""
        count = len(self._by_inode)
        while self._by_inode:
            _, allocation = self._by_inode.popitem()
            os.close(allocation.fd)
        if count:
            self._on_change()
        return count
