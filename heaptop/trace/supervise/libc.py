"""The C library's calls that Python has not, each raising OSError."""

import ctypes
import os
import platform
from typing import Final, NamedTuple

from heaptop.errors import SourceError

LIBC: Final = ctypes.CDLL(None, use_errno=True)
LIBC.mount.argtypes = (ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_ulong, ctypes.c_char_p)


class Machine(NamedTuple):
    """What differs by instruction set: AUDIT_ARCH_* and the number of ioctl(2), natively and for 32-bit programs; those
    of open(2), where there is one, openat(2) and openat2(2).
    """

    seccomp: int
    native: tuple[int, int]
    compat: tuple[int, int]
    native_opens: tuple[int, ...]
    compat_opens: tuple[int, ...]


_MACHINES: Final = {
    "x86_64": Machine(317, (0xC000003E, 16), (0x40000003, 54), (2, 257, 437), (5, 295, 437)),
    "aarch64": Machine(277, (0xC00000B7, 29), (0x40000028, 54), (56, 437), (5, 322, 437)),
}


def machine() -> Machine:
    """This machine's numbers.

    Raises:
        SourceError: programs cannot be supervised on it.
    """
    known = _MACHINES.get(platform.machine())
    if known is None or ctypes.sizeof(ctypes.c_void_p) != 8:
        raise SourceError(
            f"heaptop run does not know {platform.machine()}", "", "it runs on x86-64 and arm64, with a 64-bit Python"
        )
    return known


def checked(result: int, call: str) -> int:
    """The result of a call that tells of failure by -1 and errno.

    Raises:
        OSError: it failed.
    """
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), call)
    return result
