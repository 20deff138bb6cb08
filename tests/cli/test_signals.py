import ctypes
import os
import select
import signal
import threading
from pathlib import Path

import pytest

from heaptop.cli.signals import Signals

libc = ctypes.CDLL(None)


def test_a_wait_that_has_just_begun_is_ended() -> None:
    """The interpreter calls a handler between two steps of its own, and a wait is one. So who waits is woken by what
    is written the moment a signal comes: here while this thread is held up outside of the interpreter.
    """
    mutex = ctypes.create_string_buffer(256)
    woken: list[bool] = []

    def signal_and_watch() -> None:
        libc.pthread_mutex_lock(mutex)
        is_locked.set()
        while hex(ctypes.addressof(mutex)) not in Path(f"/proc/self/task/{os.getpid()}/syscall").read_text():
            pass  # the main thread is on its way to where it is held up
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR1)
        woken.append(bool(select.select([signals._wake[0]], [], [], 10)[0]))
        libc.pthread_mutex_unlock(mutex)

    is_locked = threading.Event()
    with Signals((signal.SIGUSR1,)) as signals:
        other = threading.Thread(target=signal_and_watch)
        other.start()
        is_locked.wait()
        libc.pthread_mutex_lock(mutex)
        other.join()
        assert woken == [True]
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
