import os
import signal

import pytest

from heaptop.cli.signals import Signals
from tests.cli.held_up import writes_at_once


def test_a_wait_that_has_just_begun_is_ended() -> None:
    """The interpreter calls a handler between two steps of its own, and a wait is one."""
    with Signals((signal.SIGUSR1,)) as signals:
        assert writes_at_once(signal.SIGUSR1, signals._wake[0])
        assert signals.take() == [signal.SIGUSR1]
        signals.wait(0)
        assert signals.ended_by is None


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_one_that_ends_is_told_and_the_second_acts(number: signal.Signals) -> None:
    def act(_number: int, _frame: object) -> None:
        acted.append(_number)

    acted: list[int] = []
    before = signal.signal(number, act)
    try:
        with Signals() as signals:
            os.kill(os.getpid(), number)
            signals.wait(60)
            assert (signals.ended_by, acted) == (number, [])
            os.kill(os.getpid(), number)
            assert acted == [number]
    finally:
        signal.signal(number, before)


def test_what_woke_before_does_so_again() -> None:
    ours, theirs = os.pipe2(os.O_NONBLOCK)
    before = signal.set_wakeup_fd(theirs)
    try:
        with Signals():
            pass
        assert signal.set_wakeup_fd(-1) == theirs
    finally:
        signal.set_wakeup_fd(before)
        os.close(ours)
        os.close(theirs)
