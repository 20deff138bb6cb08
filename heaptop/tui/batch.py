"""Allocates test buffers, some at a time, in the poller's thread. No Textual here."""

import os
import time
from dataclasses import dataclass
from typing import Final

from heaptop.backend.base import Allocation, Allocator, Backend
from heaptop.backend.fill import fill
from heaptop.errors import AllocationError
from heaptop.tui.renderables.lab import Order

BATCH_MAX: Final = 50
BATCH_S: Final = 0.1
"""A batch ends with the buffer that is given after this time: the next scan waits for it."""


@dataclass(frozen=True, slots=True)
class Batch:
    """What was given, and what ended it before its time."""

    given: tuple[Allocation, ...]
    error: AllocationError | None = None

    def close(self) -> None:
        """Give all back."""
        for allocation in self.given:
            os.close(allocation.fd)


def allocate(allocator: Allocator, order: Order, count: int, _backend: Backend) -> Batch:
    """Up to `count` buffers, filled; fewer where they take long."""
    given: list[Allocation] = []
    end = time.monotonic() + BATCH_S
    try:
        while len(given) < min(count, BATCH_MAX) and (not given or time.monotonic() < end):
            given.append(_allocate_one(allocator, order))
    except AllocationError as error:
        return Batch(tuple(given), error)
    except BaseException:
        Batch(tuple(given)).close()
        raise
    return Batch(tuple(given))


def _allocate_one(allocator: Allocator, order: Order) -> Allocation:
    allocation = allocator.allocate(order.heap, order.size_bytes, order.name)
    if order.pattern is not None:
        try:
            fill(allocation.fd, allocation.size_bytes, order.pattern)
        except BaseException:
            os.close(allocation.fd)
            raise
    return allocation
