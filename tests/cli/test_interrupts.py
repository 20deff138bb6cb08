import os
import signal
import time

import pytest

from heaptop.cli.interrupts import interrupts
from tests.cli.held_up import writes_at_once


def test_a_wait_that_has_just_begun_is_ended() -> None:
    with interrupts() as received:
        assert not received
        assert writes_at_once(signal.SIGINT, received._wake)
        assert received.count == 1
        received.wait(60)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_another_signal_does_not_end_a_wait() -> None:
    before = signal.signal(signal.SIGUSR1, lambda *_: None)
    try:
        with interrupts() as received:
            os.kill(os.getpid(), signal.SIGUSR1)
            began = time.monotonic()
            received.wait(0.05)
            assert time.monotonic() - began >= 0.05
    finally:
        signal.signal(signal.SIGUSR1, before)
