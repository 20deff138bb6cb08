"""Threads that have an fd table of their own (unshare(CLONE_FILES), or clone without CLONE_FILES)."""

import ctypes
import errno
import os
import sys
from collections.abc import Iterator
from typing import Final

_KCMP: Final = {"x86_64": 312, "aarch64": 272, "riscv64": 272, "loongarch64": 272, "s390x": 343, "ppc64le": 354}
"""The number of kcmp(2) in the 64-bit system call table of each architecture (arch/*/entry/syscalls, 3.5 on)."""
_KCMP_FILES: Final = 2

_number = _KCMP.get(os.uname().machine) if sys.maxsize > 1 << 32 else None
_syscall = ctypes.CDLL(None, use_errno=True).syscall


def other_threads(folder: int, pid: int) -> Iterator[int]:
    """Threads other than the leader, of the process whose /proc folder is open as `folder`."""
    try:
        names = os.listdir(inner := os.open("task", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=folder))
    except OSError:
        return
    os.close(inner)
    if len(names) > 1:
        yield from (int(name) for name in names if name.isdecimal() and int(name) != pid)


def share_table(one: int, other: int) -> bool | None:
    """Whether two tasks of this pid namespace share one fd table, as kcmp(2) tells; None where it does not.

    It needs CONFIG_KCMP and the right to trace both (PTRACE_MODE_READ).
    """
    if _number is None:
        return None
    answer = _syscall(_number, one, other, _KCMP_FILES, 0, 0)
    if answer < 0:
        return True if ctypes.get_errno() == errno.ESRCH else None  # ended by now: nothing of its own
    return bool(answer == 0)
