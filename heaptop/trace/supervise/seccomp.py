"""The filter that stops a command's heap ioctls, and the listener that hears of each (seccomp_unotify(2), 5.19 on)."""

import contextlib
import ctypes
import errno
import fcntl
import os
import struct
from typing import Final, NamedTuple

from heaptop.trace.supervise import _native
from heaptop.trace.supervise.libc import LIBC, Machine, checked

_MODE_FILTER: Final = 1
_GET_NOTIF_SIZES: Final = 3
_NEW_LISTENER: Final = 1 << 3
_WAIT_KILLABLE: Final = 1 << 5
"""5.19 on: once a call is received only a fatal signal ends its wait, so no answer comes too late."""
_ALLOW: Final = 0x7FFF0000
_USER_NOTIF: Final = 0x7FC00000
_SET_FLAGS: Final = 0x40082104
_SYNC_WAKE_UP: Final = 1
"""6.6 on: the caller and the supervisor wait for each other, so they may share a processor."""
_CONTINUE: Final = 1

_INSTRUCTION: Final = struct.Struct("=HBBI")
_LOAD: Final = 0x20
_JUMP_EQUAL: Final = 0x15
_AND: Final = 0x54
_RETURN: Final = 0x06
_TYPE_BITS, _NUMBER_BITS = 0xFF00, 0xFF
_NUMBER_AT, _ARCH_AT, _COMMAND_AT = 0, 4, 24

HEAP_COMMAND: Final = 0x4800
"""Type 'H' and number 0, whatever the size and the direction."""


class Stopped(NamedTuple):
    """Which ioctls stop: ALLOC. `all_of_a_heap`: and all others of type 'H', and any with the number 0, which a heap
    takes for ALLOC whatever its type (5.6 on). `commands` are stopped besides. `opens`: every open of a file, too.
    """

    all_of_a_heap: bool
    commands: tuple[int, ...] = ()
    opens: bool = False


def program(machine: Machine, stopped: Stopped) -> bytes:
    """The filter: everything is allowed but these calls."""
    code: list[tuple[int, str | int, str | int, int]] = [(_LOAD, 0, 0, _ARCH_AT)]
    at: dict[str, int] = {}
    kinds = ((machine.native, machine.native_opens, "compat"), (machine.compat, machine.compat_opens, "allow"))
    for (arch, number), opens, other in kinds:
        code += [(_JUMP_EQUAL, 0, other, arch), (_LOAD, 0, 0, _NUMBER_AT)]
        code += [(_JUMP_EQUAL, "stop", 0, open_) for open_ in opens if stopped.opens]
        code += [(_JUMP_EQUAL, "ioctl", "allow", number)]
        at.setdefault("compat", len(code))
    at["ioctl"] = len(code)
    code.append((_LOAD, 0, 0, _COMMAND_AT))
    code += [(_JUMP_EQUAL, "stop", 0, command) for command in stopped.commands]
    if stopped.all_of_a_heap:
        code += [(_AND, 0, 0, _NUMBER_BITS), (_JUMP_EQUAL, "stop", 0, 0), (_LOAD, 0, 0, _COMMAND_AT)]
    mask = _TYPE_BITS if stopped.all_of_a_heap else _TYPE_BITS | _NUMBER_BITS
    code += [(_AND, 0, 0, mask), (_JUMP_EQUAL, "stop", "allow", HEAP_COMMAND)]
    at |= {"allow": len(code), "stop": len(code) + 1}
    code += [(_RETURN, 0, 0, _ALLOW), (_RETURN, 0, 0, _USER_NOTIF)]
    return b"".join(
        _INSTRUCTION.pack(op, *(at[way] - place - 1 if isinstance(way, str) else way for way in (yes, no)), constant)
        for place, (op, yes, no, constant) in enumerate(code)
    )


def install(machine: Machine, code: bytes) -> int:
    """Put the filter over this process and all it will start; the listener's fd, closed on exec.

    Raises:
        OSError: EACCES without CAP_SYS_ADMIN or no_new_privs; EBUSY where a listener is there already; EINVAL or ENOSYS
            where the kernel has no listeners.
    """
    instructions = ctypes.create_string_buffer(code, len(code))
    filter_ = struct.pack("H6xQ", len(code) // _INSTRUCTION.size, ctypes.addressof(instructions))
    argument = ctypes.create_string_buffer(filter_, len(filter_))
    try:
        return _seccomp(machine, _NEW_LISTENER | _WAIT_KILLABLE, argument)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        return _seccomp(machine, _NEW_LISTENER, argument)


def _seccomp(machine: Machine, flags: int, argument: "ctypes.Array[ctypes.c_char]") -> int:
    return checked(int(LIBC.syscall(machine.seccomp, _MODE_FILTER, flags, argument)), "seccomp")


class Call(NamedTuple):
    """One call that waits for an answer. `tid` is the thread as this process sees it.

    Of an ioctl the arguments are `fd`, `command` and `argument`, of another call `others`.
    """

    id: int
    tid: int
    fd: int
    command: int
    argument: int
    number: int = 0
    others: tuple[int, int, int] = (0, 0, 0)


class Listener:
    """The supervisor's end. An answer to a caller that was killed meanwhile goes nowhere, which is no error."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        with contextlib.suppress(OSError):
            fcntl.ioctl(fd, _SET_FLAGS, _SYNC_WAKE_UP)

    def fileno(self) -> int:
        """Readable: a call waits. Hung up: nobody uses the filter any more."""
        return self._fd

    def receive(self) -> Call | None:
        """The next call, once readable; None where its caller was killed or interrupted before."""
        got = _native.receive(self._fd)
        if isinstance(got, tuple):
            return Call(*got)
        _check(got, errno.ENOENT, errno.EINTR)
        return None

    def is_waiting(self, call: Call) -> bool:
        """Whether the caller still waits: then `tid` has not become another's since."""
        return _native.is_waiting(self._fd, call.id)

    def add_fd(self, call: Call, fd: int, flags: int) -> int | None:
        """Give the caller a reference to an open file: its number there; None where the caller is gone.

        Raises:
            OSError: EMFILE.
        """
        number = _native.add_fd(self._fd, call.id, fd, flags)
        if number >= 0:
            return number
        _check(number, errno.ENOENT, errno.EINPROGRESS)
        return None

    def answer(self, call: Call, number: int = 0, value: int = 0) -> None:
        """End the call: with an errno, or where that is 0 with a value."""
        _check(_native.send(self._fd, call.id, -number, 0, value), errno.ENOENT)

    def let_pass(self, call: Call) -> None:
        """Let the kernel do what was asked."""
        _check(_native.send(self._fd, call.id, 0, _CONTINUE, 0), errno.ENOENT)


def _check(result: int, *expected: int) -> None:
    """OSError where a call failed by another errno than these."""
    if result < 0 and -result not in expected:
        raise OSError(-result, os.strerror(-result))
