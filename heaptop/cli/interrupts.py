"""An interrupt (Ctrl-C) that ends the work but not the telling of what was found."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from select import select
from types import FrameType


class Received:
    """True once there was an interrupt; `wait` ends early then."""

    def __init__(self, wake: int) -> None:
        self._wake = wake
        self.count = 0

    def __bool__(self) -> bool:
        return self.count > 0

    def wait(self, seconds: float) -> None:
        """Sleep until the time is over or an interrupt comes."""
        end = time.monotonic() + seconds
        while not self.count and (left_s := end - time.monotonic()) > 0:
            if select([self._wake], [], [], left_s)[0]:
                os.read(self._wake, 512)


@contextmanager
def interrupts() -> Iterator[Received]:
    """Collects SIGINT instead of raising it; a second one raises. Ignored where it was ignored before."""
    wake, waker = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    received = Received(wake)

    def receive(_number: int, _: FrameType | None) -> None:
        received.count += 1
        signal.signal(signal.SIGINT, before)

    # Written to the moment a signal comes: `receive` may be called only after a wait that has just begun.
    woken_before = signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
    before = signal.getsignal(signal.SIGINT)
    if before is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, receive)
    try:
        yield received
    finally:
        signal.signal(signal.SIGINT, before)
        signal.set_wakeup_fd(woken_before)
        os.close(wake)
        os.close(waker)
