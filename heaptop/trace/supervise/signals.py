"""Signals as something to read: who sent them is told, and none comes in the middle of anything (signalfd(2))."""

import ctypes
import os
import signal
import struct
from collections.abc import Iterable
from typing import Final, NamedTuple

from heaptop.trace.supervise.libc import LIBC, checked

_INFO_BYTES: Final = 128
_INFO: Final = struct.Struct("=IiiI")
_SET_BYTES: Final = 128
_CLOEXEC_NONBLOCK: Final = os.O_CLOEXEC | os.O_NONBLOCK
_KERNEL_CODE: Final = 0x80


class Signal(NamedTuple):
    """A signal that came. `is_sent`: some process sent it, not the terminal to all in the foreground."""

    number: int
    is_sent: bool


class SignalReader:
    """Blocks signals and reads them instead. Not to be used where another thread takes them."""

    def __init__(self, numbers: Iterable[int]) -> None:
        chosen = frozenset(numbers)
        self.blocked_before = frozenset(int(number) for number in signal.pthread_sigmask(signal.SIG_BLOCK, chosen))
        bits = sum(1 << (number - 1) for number in chosen)
        raw = bits.to_bytes(_SET_BYTES, "little")
        self._fd = checked(
            int(LIBC.signalfd(-1, ctypes.create_string_buffer(raw, _SET_BYTES), _CLOEXEC_NONBLOCK)), "signalfd"
        )

    def fileno(self) -> int:
        """Readable: a signal came."""
        return self._fd

    def read(self) -> list[Signal]:
        """What came; never waits."""
        found: list[Signal] = []
        while True:
            try:
                raw = os.read(self._fd, _INFO_BYTES)
            except BlockingIOError:
                return found
            number, _, code, _ = _INFO.unpack_from(raw)
            found.append(Signal(number, code != _KERNEL_CODE))

    def close(self) -> None:
        """Read no more; the signals stay blocked."""
        os.close(self._fd)
