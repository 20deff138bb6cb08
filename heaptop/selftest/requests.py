"""ALLOC: what it takes, what it refuses, with which errno, and that nothing is left open then."""

import errno
import os
import resource
from collections.abc import Callable
from typing import Final

from heaptop.selftest.probe import (
    MAINLINE,
    MIB,
    NEWER,
    OLDER,
    PAGE_BYTES,
    V4,
    KnownError,
    Probe,
    check,
    expect,
    fd_of,
    ioctl,
    open_fds,
    read_only,
)

Test = Callable[[Probe], None]
_U64_MAX: Final = (1 << 64) - 1
_NULL: Final = 0
_UNKNOWN: Final = 0xC0184801
"""ALLOC's number but for the next `nr`."""
_NO_DATA: Final = 0x4800
_NO_HEAP: Final = "/dev/null"


def allocates(probe: Probe) -> None:
    """ALLOC of 1 MiB gives a descriptor of a file of that size."""
    request = probe.request(MIB)
    expect(ioctl(probe.node, probe.command, request), 0, what="ALLOC")
    check(int.from_bytes(request[:8], "little") == MIB, why="the field len was changed")
    check(os.lseek(fd_of(request), 0, os.SEEK_END) == MIB, why="lseek to the end is not at 1 MiB")


def rounds_up(probe: Probe) -> None:
    """A size is rounded up to whole pages, and the field len stays as it was."""
    for length in (1, PAGE_BYTES - 1, PAGE_BYTES + 1):
        request = probe.request(length)
        expect(ioctl(probe.node, probe.command, request), 0, what=f"ALLOC of {length} bytes")
        check(int.from_bytes(request[:8], "little") == length, why="the field len was changed")
        found = os.lseek(fd_of(request), 0, os.SEEK_END)
        check(found == -(-length // PAGE_BYTES) * PAGE_BYTES, why=f"{length} bytes became {found}")


def opens_read_only(probe: Probe) -> None:
    """A heap's node that is open for reading alone suffices."""
    node = os.open(f"/proc/self/fd/{probe.node}", os.O_RDONLY | os.O_CLOEXEC)
    expect(ioctl(node, probe.command, probe.request(PAGE_BYTES)), 0, what="ALLOC on a node that is open read-only")


def takes_older_structs(probe: Probe) -> None:
    """An older struct of 16 bytes is taken (RFC v4: ENOTTY)."""
    expect(ioctl(probe.node, OLDER, probe.request(PAGE_BYTES)), errno.ENOTTY if probe.is_v4 else 0, what="16 bytes")


def takes_newer_structs(probe: Probe) -> None:
    """A newer struct of 48 bytes is taken, whatever is behind the known fields (RFC v4: ENOTTY)."""
    request = probe.request(PAGE_BYTES, tail=b"\xff" * 24)
    expect(ioctl(probe.node, NEWER, request), errno.ENOTTY if probe.is_v4 else 0, what="48 bytes")


def knows_its_number(probe: Probe) -> None:
    """Mainline takes the number of RFC v4 too, RFC v4 no other than its own."""
    request = probe.request(PAGE_BYTES, tail=bytes(8))
    expect(ioctl(probe.node, V4, request), 0, what="32 bytes")
    request = probe.request(PAGE_BYTES, tail=bytes(8))
    expect(ioctl(probe.node, MAINLINE, request), errno.ENOTTY if probe.is_v4 else 0, what="24 bytes")


def looks_at_what_is_reserved(probe: Probe) -> None:
    """Bytes behind the known fields are ignored (RFC v4: reserved fields other than 0 are EINVAL)."""
    for tail in (b"\1" + bytes(7), bytes(4) + b"\1" + bytes(3)):
        number = ioctl(probe.node, V4, probe.request(PAGE_BYTES, tail=tail))
        expect(number, errno.EINVAL if probe.is_v4 else 0, what="reserved fields")


def refuses_no_size(probe: Probe) -> None:
    """A size of 0, and one that wraps to 0 when it is rounded up, are EINVAL."""
    for length in (0, _U64_MAX, _U64_MAX - PAGE_BYTES + 2):
        expect(probe.refusal(length), errno.EINVAL, what=f"len {length:#x}")


def refuses_a_descriptor(probe: Probe) -> None:
    """A field fd other than 0 is EINVAL."""
    for fd in (1, 0xFFFFFFFF):
        expect(probe.refusal(PAGE_BYTES, fd=fd), errno.EINVAL, what=f"fd {fd:#x}")


def refuses_fd_flags(probe: Probe) -> None:
    """fd_flags beyond O_CLOEXEC and the access mode are EINVAL."""
    for flags in (os.O_APPEND, os.O_NONBLOCK, 1 << 31, ~(os.O_RDWR | os.O_CLOEXEC) & 0xFFFFFFFF):
        expect(probe.refusal(PAGE_BYTES, fd_flags=flags), errno.EINVAL, what=f"fd_flags {flags:#x}")


def refuses_heap_flags(probe: Probe) -> None:
    """heap_flags other than 0 are EINVAL."""
    for flags in (1, 0x111111, 1 << 63):
        expect(probe.refusal(PAGE_BYTES, heap_flags=flags), errno.EINVAL, what=f"heap_flags {flags:#x}")


def refuses_other_numbers(probe: Probe) -> None:
    """Another number is EINVAL, before its pointer is looked at (RFC v4: ENOTTY)."""
    expected = errno.ENOTTY if probe.is_v4 else errno.EINVAL
    expect(ioctl(probe.node, _UNKNOWN, probe.request(PAGE_BYTES)), expected, what="number 1")
    expect(ioctl(probe.node, _UNKNOWN, _NULL), expected, what="number 1 without a struct")
    expect(ioctl(probe.node, _NO_DATA, _NULL), expected, what="number 0 without a struct: len reads as 0")


def refuses_other_files(probe: Probe) -> None:
    """ALLOC on a file that is no heap is ENOTTY, on a closed descriptor EBADF."""
    other = os.open(_NO_HEAP, os.O_RDWR | os.O_CLOEXEC)
    expect(ioctl(other, probe.command, probe.request(PAGE_BYTES)), errno.ENOTTY, what="/dev/null")
    buffer = probe.allocate(PAGE_BYTES)
    expect(ioctl(buffer, probe.command, probe.request(PAGE_BYTES)), errno.ENOTTY, what="a buffer")
    os.close(other)
    expect(ioctl(other, probe.command, probe.request(PAGE_BYTES)), errno.EBADF, what="a closed descriptor")


def faults_on_reading(probe: Probe) -> None:
    """A pointer that faults is EFAULT, before anything in the struct is looked at."""
    for address in (_NULL, 1):
        expect(ioctl(probe.node, probe.command, address), errno.EFAULT, what=f"a struct at {address:#x}")
    check(not probe.left_open(), why="a descriptor was left open")


def faults_on_writing(probe: Probe) -> None:
    """A struct that cannot be written back is EFAULT."""
    with read_only(bytes(probe.request(PAGE_BYTES))) as address:
        expect(ioctl(probe.node, probe.command, address), errno.EFAULT, what="a struct in a page that can only be read")


def leaves_nothing_after_a_fault(probe: Probe) -> None:
    """A struct that cannot be written back leaves no descriptor open."""
    with read_only(bytes(probe.request(PAGE_BYTES))) as address:
        ioctl(probe.node, probe.command, address)
    left = len(probe.left_open())
    if left == 1:
        raise KnownError("RFC v4 and kernels up to 7.1 leave one open")
    check(not left, why=f"{left} descriptors were left open")


def leaves_nothing_after_a_refusal(probe: Probe) -> None:
    """What is refused leaves no descriptor open."""
    for number in (
        probe.refusal(0),
        probe.refusal(PAGE_BYTES, fd=1),
        probe.refusal(PAGE_BYTES, fd_flags=os.O_APPEND),
        probe.refusal(PAGE_BYTES, heap_flags=1),
    ):
        expect(number, errno.EINVAL, what="ALLOC")
    check(not probe.left_open(), why=f"{len(probe.left_open())} descriptors were left open")


def runs_out_of_descriptors(probe: Probe) -> None:
    """Without a free descriptor ALLOC is EMFILE, and works again with one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    newest = os.open(_NO_HEAP, os.O_RDONLY | os.O_CLOEXEC)
    while newest < max(open_fds()):
        newest = os.open(_NO_HEAP, os.O_RDONLY | os.O_CLOEXEC)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (newest + 1, hard))
        expect(probe.refusal(PAGE_BYTES), errno.EMFILE, what="ALLOC with a full table")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    probe.allocate(PAGE_BYTES)


TESTS: Final = (
    allocates,
    rounds_up,
    opens_read_only,
    takes_older_structs,
    takes_newer_structs,
    knows_its_number,
    looks_at_what_is_reserved,
    refuses_no_size,
    refuses_a_descriptor,
    refuses_fd_flags,
    refuses_heap_flags,
    refuses_other_numbers,
    refuses_other_files,
    faults_on_reading,
    faults_on_writing,
    leaves_nothing_after_a_fault,
    leaves_nothing_after_a_refusal,
    runs_out_of_descriptors,
)
