"""Signals as something to wait for, so that work in hand is finished before one is answered."""

import os
import select
import signal
from collections import deque
from collections.abc import Iterable
from types import FrameType
from typing import Any, Final, Self

ENDING: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Signals:
    """Collects signals while it is entered. The second that is to end this process acts as it did before.

    Only the main thread may enter it.
    """

    def __init__(self, more: Iterable[signal.Signals] = ()) -> None:
        """`more` are those to be collected besides the ones that end."""
        self._more = tuple(more)
        self._before: dict[int, Any] = {}
        self._received: deque[int] = deque()
        self._wake = (-1, -1)
        self._woken_before = -1
        self.ended_by: int | None = None

    def __enter__(self) -> Self:
        self._wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        # Written to the moment a signal comes: `_receive` may be called only after a wait that has just begun.
        self._woken_before = signal.set_wakeup_fd(self._wake[1], warn_on_full_buffer=False)
        for number in (*ENDING, *self._more):
            before = signal.getsignal(number)
            if before is not signal.SIG_IGN or number in self._more:
                self._before[number] = before
                signal.signal(number, self._receive)
        return self

    def __exit__(self, *_: object) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)
        signal.set_wakeup_fd(self._woken_before)
        for fd in self._wake:
            os.close(fd)

    def wait(self, timeout_s: float) -> None:
        """Sleep so long, or until a signal has come."""
        if not self._received and self.ended_by is None and select.select([self._wake[0]], [], [], timeout_s)[0]:
            os.read(self._wake[0], 512)

    def take(self) -> list[int]:
        """The signals besides those that end, since the last call."""
        taken = []
        while self._received:
            taken.append(self._received.popleft())
        return taken

    def _receive(self, number: int, _: FrameType | None) -> None:
        if number in ENDING:
            self.ended_by = number
            for ending in ENDING:
                if ending in self._before:
                    signal.signal(ending, self._before[ending])
        else:
            self._received.append(number)
