"""Stops a thread on its way out of the call that it waits in, for as long as it takes to look at it (ptrace(2)).

The thread is seized and interrupted while it waits for its answer: a killable wait does not stop for that, so the stop
comes when the call returns, before any instruction of the program. Its registers are those of the call, with the result
in them, also where the kernel did the call itself. It is let go at once, so a debugger is kept out only that long.
"""

import ctypes
import errno
import os
import platform
from collections.abc import Callable
from typing import Final

from heaptop.trace.supervise.libc import LIBC

_SEIZE, _INTERRUPT, _DETACH, _GETREGSET = 0x4206, 0x4207, 17, 0x4204
_NT_PRSTATUS: Final = 1
_EVENT_STOP: Final = 128
_REGISTERS_BYTES_MAX: Final = 512
_RESULT_AT: Final = {
    ("x86_64", 27 * 8): (10 * 8, 8),
    ("x86_64", 17 * 4): (6 * 4, 4),
    ("aarch64", 34 * 8): (0, 8),
    ("aarch64", 18 * 4): (0, 4),
}
"""Where the result of a call is among the registers, and its width, by the machine and the size of them all."""
_RESTARTS: Final = frozenset({512, 513, 514, 516})
"""ERESTARTSYS and its like, which no program sees: the call is about to be made again."""

LIBC.ptrace.argtypes = (ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p)
LIBC.ptrace.restype = ctypes.c_long


class _Vector(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


class Stopped:
    """A thread that stands still at the end of its call, until who was told returns."""

    def __init__(self, tid: int) -> None:
        self.tid = tid

    def registers(self) -> bytes:
        """Its general registers as the kernel has them (struct user_regs_struct, of the program's own word size).

        Raises:
            OSError: it was killed.
        """
        buffer = ctypes.create_string_buffer(_REGISTERS_BYTES_MAX)
        vector = _Vector(ctypes.addressof(buffer), _REGISTERS_BYTES_MAX)
        _ptrace(_GETREGSET, self.tid, _NT_PRSTATUS, ctypes.addressof(vector))
        return buffer.raw[: vector.length]

    def result(self) -> int | None:
        """What the call returned, an errno as a negative number; None where it is made again at once.

        Raises:
            OSError: it was killed, or its registers are of an unknown kind.
        """
        raw = self.registers()
        place = _RESULT_AT.get((platform.machine(), len(raw)))
        if place is None:
            raise OSError(errno.ENOTSUP, os.strerror(errno.ENOTSUP))
        at, width = place
        value = int.from_bytes(raw[at : at + width], "little", signed=True)
        return None if -value in _RESTARTS else value


Then = Callable[[Stopped | None], None]
"""Is told of the stop; of None where the thread was killed before."""


class Stops:
    """The threads about to stop, and who is to be told."""

    def __init__(self) -> None:
        self._expected: dict[int, Then] = {}

    def expect(self, tid: int, then: Then) -> bool:
        """Have a thread that waits in a call stop at its end; False where another debugger has it, or it is gone."""
        try:
            _ptrace(_SEIZE, tid)
            _ptrace(_INTERRUPT, tid)
        except OSError:
            return False
        self._expected[tid] = then
        return True

    def heard(self, tid: int, status: int) -> None:
        """What wait(2) told of a thread, which may be none of these."""
        then = self._expected.pop(tid, None)
        if then is None:
            return
        if not os.WIFSTOPPED(status):
            then(None)
            return
        try:
            then(Stopped(tid))
        finally:
            # A signal that came first would be lost if it were not passed on.
            is_ours = status >> 16 == _EVENT_STOP
            _let_go(tid, 0 if is_ours else os.WSTOPSIG(status))


def _let_go(tid: int, number: int) -> None:
    try:
        _ptrace(_DETACH, tid, 0, number)
    except ProcessLookupError:
        return


def _ptrace(request: int, tid: int, address: int = 0, data: int = 0) -> None:
    if LIBC.ptrace(request, tid, address, data) < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
