"""The few Linux calls that the standard library lacks."""

import ctypes
import errno
import mmap
import os
import signal
import socket
import struct
from collections.abc import Iterable

_PR_SET_PDEATHSIG = 1
_PR_SET_NAME = 15
_MFD_NOEXEC_SEAL = 8
_MADV_DONTFORK = 10
_ARG_START, _ARG_END = 45, 46
"""Places in /proc/PID/stat after the command's closing parenthesis (proc(5): fields 48 and 49)."""
_libc = ctypes.CDLL(None, use_errno=True)
_libc.mmap.restype = ctypes.c_void_p
_libc.mmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long)
_libc.madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
_libc.munmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t)
_MAP_FAILED = ctypes.c_void_p(-1).value


def nameless_file(label: str) -> int:
    """A descriptor of a new empty file in memory that can be sealed, shown as `/memfd:LABEL`.

    It is not executable, which a kernel may insist on (6.3 on, vm.memfd_noexec=2) and an older one refuses to know.
    """
    flags = os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING
    try:
        return os.memfd_create(label, flags | _MFD_NOEXEC_SEAL)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        return os.memfd_create(label, flags)


def name_process(name: str) -> None:
    """Show this process as `name` in comm and cmdline.

    The kernel takes a command line whose last byte is not NUL as written over by setproctitle and shows it up to the
    first NUL (fs/proc/base.c, get_mm_cmdline, 4.2 on).
    """
    raw = os.fsencode(name)
    _libc.prctl(_PR_SET_NAME, raw, 0, 0, 0)
    with open("/proc/self/stat", "rb") as stat:
        fields = stat.read().rpartition(b")")[2].split()
    start, size = int(fields[_ARG_START]), int(fields[_ARG_END]) - int(fields[_ARG_START])
    if size > len(raw) + 1:
        ctypes.memset(start, 0, size)
        ctypes.memmove(start, raw, len(raw))
        ctypes.memset(start + size - 1, 1, 1)


def peer_credentials(connection: socket.socket) -> tuple[int, int]:
    """Pid and uid of the process that made, connected or listened on the socket at the other end (SO_PEERCRED)."""
    credentials = struct.Struct("iII")
    pid, uid, _ = credentials.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, credentials.size))
    return int(pid), int(uid)


def end_with_parent(parent: int) -> None:
    """Be killed when the parent ends; exit at once where it has ended already."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(0)


def close_all_but(kept: Iterable[int]) -> None:
    """Close every descriptor of this process except `kept`."""
    for fd in {int(name) for name in os.listdir("/proc/self/fd")} - set(kept):
        try:
            os.close(fd)
        except OSError:  # the listing's own descriptor
            continue


class Mapping:
    """A shared mapping of a whole file. Unlike mmap.mmap it keeps no descriptor, so it is the only reference; a child
    does not inherit it.
    """

    def __init__(self, fd: int, size_bytes: int, *, writable: bool) -> None:
        protection = mmap.PROT_READ | (mmap.PROT_WRITE if writable else 0)
        address = _libc.mmap(None, size_bytes, protection, mmap.MAP_SHARED, fd, 0)
        if address == _MAP_FAILED:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
        _libc.madvise(address, size_bytes, _MADV_DONTFORK)
        self._address: int | None = address
        self._size_bytes = size_bytes

    def fill(self, value: int, count_bytes: int) -> None:
        """Touch the first bytes."""
        if self._address is not None:
            ctypes.memset(self._address, value, min(count_bytes, self._size_bytes))

    def close(self) -> None:
        """Unmap."""
        if self._address is not None:
            _libc.munmap(self._address, self._size_bytes)
            self._address = None
