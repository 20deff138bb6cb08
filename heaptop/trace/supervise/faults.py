"""Failures on demand, to try a program's error paths: which allocation is refused. Pure."""

import errno
from collections.abc import Callable
from typing import NamedTuple


class Faults(NamedTuple):
    """What is to go wrong.

    `fail_nth` refuses that one allocation, counted from 1: of `fail_heap` where that is given, else of all. `fail_heap`
    alone refuses every one of that heap. `limit_bytes` refuses what would make the buffers alive more than that.
    """

    fail_nth: int | None = None
    fail_heap: str | None = None
    limit_bytes: int | None = None


class Injector:
    """Decides about one allocation after the other."""

    def __init__(self, faults: Faults) -> None:
        self._faults = faults
        self._count = 0

    def refuses(self, heap: str, size_bytes: int, live_bytes: Callable[[int], int] | None) -> int:
        """The errno to refuse it with, ENOMEM as a heap that is full; 0: it may go on.

        `live_bytes` says how much is alive, and is told how much may be (`LiveBytes.settled`).
        """
        faults = self._faults
        if faults.limit_bytes is not None and live_bytes is not None:
            room = faults.limit_bytes - size_bytes
            if live_bytes(room) > room:
                return errno.ENOMEM
        if faults.fail_heap is None and faults.fail_nth is None:
            return 0
        if faults.fail_heap is not None and heap != faults.fail_heap:
            return 0
        self._count += 1
        return errno.ENOMEM if faults.fail_nth in (None, self._count) else 0
