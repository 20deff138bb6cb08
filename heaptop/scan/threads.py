"""Which tasks share an fd table or a memory: threads as a rule, but unshare(2) and clone(2) can have it otherwise."""

import errno
import os
import sys
from collections.abc import Callable, Iterator
from functools import cache
from typing import Final

_KCMP: Final = {"x86_64": 312, "aarch64": 272, "riscv64": 272, "loongarch64": 272, "s390x": 343, "ppc64le": 354}
"""The number of kcmp(2) in the 64-bit system call table of each architecture (arch/*/entry/syscalls, 3.5 on)."""
MEMORY: Final = 1
FILES: Final = 2
"""What kcmp compares (include/uapi/linux/kcmp.h)."""
_ORDER: Final = {1: -1, 2: 1}
"""Its answers for less and greater."""

_number = _KCMP.get(os.uname().machine) if sys.maxsize > 1 << 32 else None


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
    answer = _kcmp(one, other, FILES)
    if answer < 0:
        return True if answer == -errno.ESRCH else None  # ended by now: nothing of its own
    return answer == 0


def compare(one: int, other: int, what: int) -> int | None:
    """How the FILES or MEMORY of two tasks compare in the kernel's order, which is total: -1, 0 or 1; None where that
    is not told (one has ended, or may not be traced).
    """
    answer = _kcmp(one, other, what)
    return 0 if answer == 0 else _ORDER.get(answer)


def _kcmp(one: int, other: int, what: int) -> int:
    """0 where two tasks have the same, 1 or 2 by the kernel's order of what they have, else a negative errno."""
    if _number is None:
        return -errno.ENOSYS
    syscall, get_errno = _libc()
    answer = syscall(_number, one, other, what, 0, 0)
    return answer if answer >= 0 else -get_errno()


@cache
def _libc() -> tuple[Callable[..., int], Callable[[], int]]:
    import ctypes  # noqa: PLC0415  (it is not loaded before there is something to compare)

    return ctypes.CDLL(None, use_errno=True).syscall, ctypes.get_errno
