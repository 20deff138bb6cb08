"""A signal that comes while the main thread is outside of the interpreter, which calls no handler meanwhile."""

import ctypes
import os
import select
import signal
import threading
from pathlib import Path

_libc = ctypes.CDLL(None)


def writes_at_once(number: signal.Signals, fd: int) -> bool:
    """Whether something is written that can be read from `fd` before the handler is called."""
    mutex = ctypes.create_string_buffer(256)
    is_locked = threading.Event()
    woken: list[bool] = []

    def signal_and_watch() -> None:
        _libc.pthread_mutex_lock(mutex)
        is_locked.set()
        try:
            while hex(ctypes.addressof(mutex)) not in Path(f"/proc/self/task/{os.getpid()}/syscall").read_text():
                pass  # the main thread is on its way to where it is held up
            signal.pthread_kill(threading.main_thread().ident or 0, number)
            woken.append(bool(select.select([fd], [], [], 10)[0]))
        finally:
            _libc.pthread_mutex_unlock(mutex)

    other = threading.Thread(target=signal_and_watch)
    other.start()
    is_locked.wait()
    _libc.pthread_mutex_lock(mutex)
    other.join()
    return woken == [True]
