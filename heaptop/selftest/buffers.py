"""What ALLOC gave: its descriptor, mappings, SYNC, zeroed pages, names, sync files, and import into a driver."""

import errno
import fcntl
import mmap
import os
import select
import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from heaptop.pattern import pattern
from heaptop.selftest.probe import (
    EXPORT_SYNC_FILE,
    IMPORT_SYNC_FILE,
    MIB,
    PAGE_BYTES,
    SET_NAME,
    SYNC,
    Probe,
    Skipped,
    check,
    expect,
    ioctl,
)

_READ, _WRITE, _RW, _END = 1, 2, 3, 4
_NAME_BYTES_MAX: Final = 31
_DRM_VERSION: Final = 0xC0406400 if struct.calcsize("P") == 8 else 0xC0246400
_PRIME_FD_TO_HANDLE: Final = 0xC00C642E
_GEM_CLOSE: Final = 0x40086409
_VGEM: Final = pattern(rb"vgem")


def has_access_mode(probe: Probe) -> None:
    """fd_flags give the access mode and O_CLOEXEC of the descriptor."""
    for flags in (os.O_RDONLY, os.O_WRONLY, os.O_RDWR, os.O_RDWR | os.O_CLOEXEC):
        fd = probe.allocate(PAGE_BYTES, flags)
        found = fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_ACCMODE
        check(found == flags & os.O_ACCMODE, why=f"access mode {flags & os.O_ACCMODE} became {found}")
        closes = bool(fcntl.fcntl(fd, fcntl.F_GETFD) & fcntl.FD_CLOEXEC)
        check(closes == bool(flags & os.O_CLOEXEC), why=f"close on exec is {closes}")


def is_a_file_of_its_own(probe: Probe) -> None:
    """Each buffer has an inode of its own, and fstat tells its size."""
    stats = [os.fstat(probe.allocate(2 * PAGE_BYTES)) for _ in range(3)]
    check(len({stat.st_ino for stat in stats}) == 3, why="two buffers have one inode")
    check({stat.st_size for stat in stats} == {2 * PAGE_BYTES}, why=f"st_size is {stats[0].st_size}")


def seeks_to_its_ends_alone(probe: Probe) -> None:
    """Lseek goes to either end, and nowhere else."""
    fd = probe.allocate(2 * PAGE_BYTES)
    check(os.lseek(fd, 0, os.SEEK_END) == 2 * PAGE_BYTES, why="the end is elsewhere")
    check(os.lseek(fd, 0, os.SEEK_SET) == 0, why="the start is elsewhere")
    probe.demand_dmabuf(fd)
    for offset, whence in ((1, os.SEEK_SET), (0, os.SEEK_CUR), (-1, os.SEEK_END)):
        expect(_seek(fd, offset, whence), errno.EINVAL, what=f"lseek to {offset} from {whence}")


def _seek(fd: int, offset: int, whence: int) -> int:
    return _errno(lambda: os.lseek(fd, offset, whence))


def cannot_be_read(probe: Probe) -> None:
    """Read and write are EINVAL."""
    fd = probe.allocate(PAGE_BYTES)
    probe.demand_dmabuf(fd)
    expect(_errno(lambda: os.read(fd, 1)), errno.EINVAL, what="read")
    expect(_errno(lambda: os.write(fd, b"x")), errno.EINVAL, what="write")


def is_ready_at_once(probe: Probe) -> None:
    """Poll says that it can be read and written: there is no fence."""
    poll = select.poll()
    poll.register(probe.allocate(PAGE_BYTES), select.POLLIN | select.POLLOUT)
    found = dict(poll.poll(1000)).popitem()[1]
    check(found == select.POLLIN | select.POLLOUT, why=f"poll gives {found:#x}")


def maps_and_keeps_what_is_written(probe: Probe) -> None:
    """What is written by one mapping is read by another, at any page."""
    fd = probe.allocate(MIB)
    probe.map(fd, MIB)[:] = bytes(range(256)) * (MIB // 256)
    again = probe.map(fd, MIB // 2, access=mmap.PROT_READ, offset=MIB // 2)
    check(again[:] == bytes(range(256)) * (MIB // 512), why="other bytes were read")


def maps_as_its_access_mode_allows(probe: Probe) -> None:
    """A read-only buffer is mapped for reading alone, a write-only one not at all (EACCES)."""
    probe.map(probe.allocate(PAGE_BYTES), PAGE_BYTES)
    reading, writing = probe.allocate(PAGE_BYTES, os.O_RDONLY), probe.allocate(PAGE_BYTES, os.O_WRONLY)
    expect(probe.refused_map(reading, mmap.PROT_READ), 0, what="reading what is read-only")
    expect(probe.refused_map(reading, mmap.PROT_WRITE), errno.EACCES, what="writing to what is read-only")
    expect(probe.refused_map(writing, mmap.PROT_READ), errno.EACCES, what="reading what is write-only")
    expect(probe.refused_map(writing, mmap.PROT_WRITE), errno.EACCES, what="writing to what is write-only")


def maps_no_more_than_there_is(probe: Probe) -> None:
    """A mapping beyond the end is EINVAL."""
    fd = probe.allocate(PAGE_BYTES)
    probe.demand_dmabuf(fd)
    probe.map(fd, PAGE_BYTES)
    number = _errno(lambda: mmap.mmap(fd, 2 * PAGE_BYTES, mmap.MAP_SHARED, mmap.PROT_READ).close())
    # CPython looks at the size first: a ValueError is its own.
    expect(number, errno.EINVAL, what="two pages of one")


def lives_by_its_mapping(probe: Probe) -> None:
    """A mapping outlives the descriptor."""
    fd = probe.allocate(PAGE_BYTES)
    mapping = probe.map(fd, PAGE_BYTES)
    os.close(fd)
    mapping[:5] = b"alive"
    check(mapping[:5] == b"alive", why="other bytes were read")


def is_zeroed(probe: Probe) -> None:
    """32 buffers of a page are zero, also after others were filled and freed."""
    _check_zeroed(probe, 32, PAGE_BYTES)


def is_zeroed_when_large(probe: Probe) -> None:
    """16 buffers of 1 MiB are zero, also after others were filled and freed."""
    _check_zeroed(probe, 16, MIB)


def _check_zeroed(probe: Probe, count: int, size_bytes: int) -> None:
    for what in ("new", "used before"):
        for fd in [probe.allocate(size_bytes) for _ in range(count)]:
            mapping = probe.map(fd, size_bytes)
            check(not any(memoryview(mapping[:]).cast("Q")), why=f"pages that are {what} are not zero")
            mapping[:] = b"\xff" * size_bytes
        probe.clean()


def syncs(probe: Probe) -> None:
    """SYNC starts and ends for reading, writing and both."""
    fd = probe.allocate(MIB)
    for access in (_READ, _WRITE, _RW):
        for flags in (access, access | _END):
            expect(ioctl(fd, SYNC, _u64(flags)), 0, what=f"SYNC {flags}")


def syncs_by_known_flags_alone(probe: Probe) -> None:
    """SYNC without access, or with an unknown flag, is EINVAL; without its struct EFAULT."""
    fd = probe.allocate(PAGE_BYTES)
    for flags in (0, _END, 8, _RW | 16, 1 << 63 | _RW):
        expect(ioctl(fd, SYNC, _u64(flags)), errno.EINVAL, what=f"SYNC {flags:#x}")
    expect(ioctl(fd, SYNC, 0), errno.EFAULT, what="SYNC without a struct")


def takes_a_name(probe: Probe) -> None:
    """SET_NAME takes up to 31 bytes, and an empty name; what is longer is EINVAL."""
    fd = probe.allocate(PAGE_BYTES)
    for name in (b"x" * _NAME_BYTES_MAX, b"", b"\xff\n", b"name"):
        number = ioctl(fd, SET_NAME, bytearray(name + b"\0"))
        if number == errno.ENOTTY:
            raise Skipped("this kernel names no buffers")
        expect(number, 0, what=f"a name of {len(name)} bytes")
    expect(ioctl(fd, SET_NAME, bytearray(b"x" * 40 + b"\0")), errno.EINVAL, what="a name of 40 bytes")
    expect(ioctl(fd, SET_NAME, 0), errno.EFAULT, what="no name")


def shows_its_name(probe: Probe) -> None:
    """Fdinfo has size, count, exporter and the last name that was set."""
    fd = probe.allocate(PAGE_BYTES)
    probe.demand_dmabuf(fd)
    named = ioctl(fd, SET_NAME, bytearray(b"heaptop-selftest\0")) == 0
    with open(f"/proc/self/fdinfo/{fd}", encoding="utf-8", errors="replace") as file:
        text = file.read()
    if "exp_name:" not in text:
        raise Skipped("this kernel's fdinfo tells nothing of buffers")
    for line in (f"size:\t{PAGE_BYTES}\n", "count:\t1\n", *(["name:\theaptop-selftest\n"] if named else [])):
        check(line in text, why=f"fdinfo has no {line.strip()!r}")


def is_passed_on(probe: Probe) -> None:
    """A copy of the descriptor that came by a socket is the same buffer."""
    fd = probe.allocate(PAGE_BYTES)
    probe.map(fd, PAGE_BYTES)[:4] = b"sent"
    ours, theirs = socket.socketpair()
    with ours, theirs:
        socket.send_fds(ours, [b"x"], [fd])
        (copy,) = socket.recv_fds(theirs, 1, 1)[1]
    check(os.fstat(copy).st_ino == os.fstat(fd).st_ino, why="it has another inode")
    check(probe.map(copy, PAGE_BYTES)[:4] == b"sent", why="other bytes were read")


def exports_a_sync_file(probe: Probe) -> None:
    """EXPORT_SYNC_FILE gives a descriptor, and takes no flags but reading and writing."""
    fd = probe.allocate(PAGE_BYTES)
    request = bytearray(struct.pack("=Ii", _RW, -1))
    number = ioctl(fd, EXPORT_SYNC_FILE, request)
    if number == errno.ENOTTY:
        raise Skipped("no sync files here (before 6.0, or without CONFIG_SYNC_FILE)")
    expect(number, 0, what="EXPORT_SYNC_FILE")
    exported = struct.unpack("=Ii", request)[1]
    check(exported >= 0, why="no descriptor was told")
    expect(ioctl(fd, IMPORT_SYNC_FILE, bytearray(struct.pack("=Ii", _RW, exported))), 0, what="IMPORT_SYNC_FILE")
    for flags in (0, 4, _RW | 8):
        expect(ioctl(fd, EXPORT_SYNC_FILE, bytearray(struct.pack("=Ii", flags, -1))), errno.EINVAL, what=f"{flags:#x}")
    expect(ioctl(fd, IMPORT_SYNC_FILE, bytearray(struct.pack("=Ii", _RW, fd))), errno.EINVAL, what="no sync file")


def knows_no_other_ioctl(probe: Probe) -> None:
    """An ioctl that a buffer does not know is ENOTTY."""
    expect(ioctl(probe.allocate(PAGE_BYTES), 0xC008627F, bytearray(8)), errno.ENOTTY, what="an unknown number")


def is_imported(probe: Probe) -> None:
    """A driver (vgem) imports it."""
    card = next((fd for number in range(16) if (fd := _open(f"/dev/dri/card{number}")) >= 0 and _is_vgem(fd)), None)
    if card is None:
        raise Skipped("no vgem")
    fd = probe.allocate(MIB)
    probe.demand_dmabuf(fd)
    request = bytearray(struct.pack("=IIi", 0, 0, fd))
    expect(ioctl(card, _PRIME_FD_TO_HANDLE, request), 0, what="PRIME_FD_TO_HANDLE")
    handle = struct.unpack_from("=I", request)[0]
    expect(ioctl(card, _GEM_CLOSE, bytearray(struct.pack("=II", handle, 0))), 0, what="GEM_CLOSE")


def _open(path: str) -> int:
    with suppress(OSError):
        return os.open(path, os.O_RDWR | os.O_CLOEXEC)
    return -1


def _is_vgem(card: int) -> bool:
    """DRM_IOCTL_VERSION: struct drm_version with room for the name."""
    import ctypes  # noqa: PLC0415  (only where there is a card)

    class Version(ctypes.Structure):
        _fields_ = (
            ("numbers", ctypes.c_int * 3),
            ("name_len", ctypes.c_size_t),
            ("name", ctypes.c_char_p),
            ("rest", ctypes.c_size_t * 4),
        )

    room = ctypes.create_string_buffer(64)
    version = Version(name_len=63, name=ctypes.cast(room, ctypes.c_char_p))
    return ioctl(card, _DRM_VERSION, ctypes.addressof(version)) == 0 and bool(_VGEM.fullmatch(room.value))


def _u64(value: int) -> bytearray:
    return bytearray(struct.pack("=Q", value))


def _errno(call: Callable[[], object]) -> int:
    try:
        call()
    except OSError as error:
        return error.errno or errno.EIO
    except ValueError:
        return errno.EINVAL
    return 0


TESTS: Final = (
    has_access_mode,
    is_a_file_of_its_own,
    seeks_to_its_ends_alone,
    cannot_be_read,
    is_ready_at_once,
    maps_and_keeps_what_is_written,
    maps_as_its_access_mode_allows,
    maps_no_more_than_there_is,
    lives_by_its_mapping,
    is_zeroed,
    is_zeroed_when_large,
    syncs,
    syncs_by_known_flags_alone,
    takes_a_name,
    shows_its_name,
    is_passed_on,
    exports_a_sync_file,
    knows_no_other_ioctl,
    is_imported,
)
