"""The ioctls of both profiles, field by field, against an oracle that follows the kernel's source line by line."""

import errno
import os
import struct
from dataclasses import dataclass, field

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from heaptop_emulator import abi
from heaptop_emulator.abi import PROFILES, Mainline, Wanted

U32, U64 = (1 << 32) - 1, (1 << 64) - 1
AT = 0x1000
NEW_FD = 7
READ, WRITE = 0x80000000, 0x40000000


@dataclass
class Process:
    """A caller with one page at AT, of which so much is there, and may be written."""

    memory: bytearray
    writable: bool = True
    full: bool = False
    installed: list[int] = field(default_factory=list)
    granted: list[Wanted] = field(default_factory=list)
    heap_errno: int = 0

    def _span(self, address: int, count: int) -> slice:
        at = address - AT
        if at < 0 or at + count > len(self.memory):
            raise OSError(errno.EFAULT, "")
        return slice(at, at + count)

    def copy_in(self, address: int, count_bytes: int) -> bytes:
        return bytes(self.memory[self._span(address, count_bytes)])

    def copy_out(self, address: int, raw: bytes) -> None:
        if not raw:
            return
        span = self._span(address, len(raw))
        if not self.writable:
            raise OSError(errno.EFAULT, "")
        self.memory[span] = raw

    def string_in(self, address: int, count_bytes: int) -> bytes:
        at = address - AT
        if at < 0:
            raise OSError(errno.EFAULT, "")
        there = bytes(self.memory[at : at + count_bytes])
        if b"\0" not in there and len(there) < count_bytes:
            raise OSError(errno.EFAULT, "")
        return there.partition(b"\0")[0]

    def has_room(self) -> bool:
        return not self.full

    def install(self, flags: int) -> int:
        if self.full:
            raise OSError(errno.EMFILE, "")
        self.installed.append(flags)
        return NEW_FD

    def allocate(self, wanted: Wanted) -> None:
        if self.heap_errno:
            raise OSError(self.heap_errno, "")
        self.granted.append(wanted)


def ioctl(profile: str, process: Process, command: int, argument: int = AT) -> int:
    """The errno, 0 where it went well."""
    try:
        PROFILES[profile].heap_ioctl(process, command, argument, process.allocate)
    except OSError as error:
        return error.errno or -1
    return 0


def mainline_oracle(before: Process, command: int, argument: int) -> tuple[int, bytes, bool]:
    """dma_heap_ioctl of 7.2: errno, the memory afterwards, and whether an fd was opened."""
    memory = bytes(before.memory)
    if command % 256 != 0:
        return errno.EINVAL, memory, False
    size = (command // 65536) % 16384
    in_size = size if command & WRITE else 0
    out_size = size if command & READ else 0
    room = len(memory) - (argument - AT) if argument >= AT else -1
    if in_size > 0 and in_size > room:
        return errno.EFAULT, memory, False
    there = memory[argument - AT : argument - AT + in_size] if in_size else b""
    kdata = there + bytes(max(in_size, out_size, 24) - in_size)
    length = int.from_bytes(kdata[0:8], "little")
    fd = int.from_bytes(kdata[8:12], "little")
    fd_flags = int.from_bytes(kdata[12:16], "little")
    heap_flags = int.from_bytes(kdata[16:24], "little")
    if fd != 0:
        return errno.EINVAL, memory, False
    if fd_flags not in {access + cloexec for access in (0, 1, 2, 3) for cloexec in (0, 0o2000000)}:
        return errno.EINVAL, memory, False
    if heap_flags != 0:
        return errno.EINVAL, memory, False
    pages = -(-length // 4096)
    if pages == 0 or pages * 4096 > U64:
        return errno.EINVAL, memory, False
    if before.heap_errno:
        return before.heap_errno, memory, False
    if before.full:
        return errno.EMFILE, memory, False
    if out_size > 0 and (out_size > room or not before.writable):
        return errno.EFAULT, memory, False
    out = (kdata[:8] + NEW_FD.to_bytes(4, "little") + kdata[12:])[:out_size]
    start = argument - AT
    after = memory[:start] + out + memory[start + out_size :] if out_size else memory
    return 0, after, True


def v4_oracle(before: Process, command: int, argument: int) -> tuple[int, bytes, bool]:
    """dma_heap_ioctl of the RFC: its struct has 32 bytes, and one command."""
    memory = bytes(before.memory)
    if command != 0xC0204800:
        return errno.ENOTTY, memory, False
    room = len(memory) - (argument - AT) if argument >= AT else -1
    if room < 32:
        return errno.EFAULT, memory, False
    at = argument - AT
    if any(memory[at + 24 : at + 32]):
        return errno.EINVAL, memory, False
    number, after, opened = mainline_oracle(before, 0xC0184800, argument)
    if number == errno.EFAULT:
        opened = True  # it stays open, and nobody knows
    return number, after, opened


LENGTHS = st.one_of(
    st.sampled_from((0, 1, 4095, 4096, 4097, 1 << 32, U64 - 4096, U64 - 4095, U64)), st.integers(0, U64)
)
FD_FLAGS = st.one_of(st.sampled_from((0, 1, 2, 3, os.O_RDWR | os.O_CLOEXEC, os.O_CLOEXEC)), st.integers(0, U32))
STRUCTS = st.builds(
    lambda *fields: struct.pack("<QIIQII", *fields) + bytes(range(32)),
    LENGTHS,
    st.one_of(st.just(0), st.integers(0, U32)),
    FD_FLAGS,
    st.one_of(st.just(0), st.integers(0, U64)),
    st.one_of(st.just(0), st.integers(0, U32)),
    st.one_of(st.just(0), st.integers(0, U32)),
)
COMMANDS = st.one_of(
    st.sampled_from(
        (abi.ALLOC, abi.ALLOC_V4, abi.SYNC, 0xC0104800, 0xC0304800, 0x40184800, 0x80184800, 0x4800, 0x5401)
    ),
    st.builds(
        lambda direction, size, kind, number: direction << 30 | size << 16 | kind << 8 | number,
        st.integers(0, 3),
        st.one_of(st.integers(0, 64), st.integers(0, 16383)),
        st.integers(0, 255),
        st.one_of(st.just(0), st.integers(0, 255)),
    ),
)
PROCESSES = st.builds(
    lambda raw, there, writable, full, heap_errno: Process(
        bytearray(raw[:there]), writable=writable, full=full, heap_errno=heap_errno
    ),
    STRUCTS,
    st.one_of(st.just(64), st.integers(0, 64)),
    st.booleans(),
    st.booleans(),
    st.sampled_from((0, 0, errno.ENOMEM, errno.EINTR)),
)
GOOD = struct.pack("<QIIQII", 5000, 0, os.O_RDWR, 0, 0, 0)


@pytest.mark.parametrize(("profile", "oracle"), [("mainline", mainline_oracle), ("v4", v4_oracle)])
@given(process=PROCESSES, command=COMMANDS, argument=st.sampled_from((AT, AT, AT + 8, AT - 1, 0)))
@example(process=Process(bytearray(GOOD), writable=False), command=abi.ALLOC, argument=AT)
@example(process=Process(bytearray(GOOD), writable=False, full=True), command=abi.ALLOC, argument=AT)
@example(process=Process(bytearray(GOOD), writable=False), command=abi.ALLOC_V4, argument=AT)
def test_every_field(profile: str, oracle: object, process: Process, command: int, argument: int) -> None:
    assert callable(oracle)
    number, after, opened = oracle(process, command, argument)
    # What is asked for beyond the page is not there, and what an unmapped answer would hit is no matter.
    process = Process(bytearray(process.memory), process.writable, process.full, heap_errno=process.heap_errno)
    assert ioctl(profile, process, command, argument) == number
    assert bytes(process.memory) == after
    assert bool(process.installed) == opened


def test_what_is_granted() -> None:
    process = Process(bytearray(GOOD))
    assert ioctl("mainline", process, abi.ALLOC) == 0
    assert process.granted == [Wanted(8192, os.O_RDWR)]
    assert process.installed == [0]
    process = Process(bytearray(struct.pack("<QIIQ", 1, 0, os.O_CLOEXEC, 0)))
    assert ioctl("mainline", process, abi.ALLOC) == 0
    assert process.granted == [Wanted(4096, os.O_CLOEXEC)]
    assert process.installed == [os.O_CLOEXEC]


def test_the_old_command_works_on_both() -> None:
    """0xC0204800 with zeroes behind allocates everywhere; 0xC0184800 does not on v4."""
    for profile in PROFILES:
        assert ioctl(profile, Process(bytearray(GOOD)), abi.ALLOC_V4) == 0
    assert ioctl("v4", Process(bytearray(GOOD)), abi.ALLOC) == errno.ENOTTY


def test_a_sync_on_a_heap_allocates_what_nobody_hears_of() -> None:
    process = Process(bytearray(struct.pack("<Q", 5)))
    assert ioctl("mainline", process, abi.SYNC) == 0
    assert process.granted == [Wanted(4096, os.O_RDONLY)]
    assert bytes(process.memory) == struct.pack("<Q", 5)


def buffer_ioctl(profile: str, process: Process, command: int, argument: int = AT) -> tuple[int, list[bytes]]:
    names: list[bytes] = []
    try:
        PROFILES[profile].buffer_ioctl(process, command, argument, names.append)
    except OSError as error:
        return error.errno or -1, names
    return 0, names


@given(st.one_of(st.integers(0, 16), st.integers(0, U64)))
def test_sync(flags: int) -> None:
    good = {direction + end for direction in (1, 2, 3) for end in (0, 4)}
    for profile in PROFILES:
        process = Process(bytearray(flags.to_bytes(8, "little")))
        assert buffer_ioctl(profile, process, abi.SYNC) == (0 if flags in good else errno.EINVAL, [])


def test_sync_of_nothing() -> None:
    assert buffer_ioctl("mainline", Process(bytearray(7)), abi.SYNC) == (errno.EFAULT, [])


@pytest.mark.parametrize("command", [abi.SET_NAME_A, abi.SET_NAME_B])
@pytest.mark.parametrize(
    ("memory", "expected"),
    [
        (b"camera\0rest", (0, [b"camera"])),
        (b"\0", (0, [b""])),
        (b"x" * 31 + b"\0", (0, [b"x" * 31])),
        (b"x" * 32, (errno.EINVAL, [])),
        (b"x" * 31, (errno.EFAULT, [])),
        (b"", (errno.EFAULT, [])),
    ],
)
def test_names(command: int, memory: bytes, expected: tuple[int, list[bytes]]) -> None:
    assert buffer_ioctl("mainline", Process(bytearray(memory)), command) == expected
    assert buffer_ioctl("v4", Process(bytearray(memory)), command) == (errno.ENOTTY, [])


@pytest.mark.parametrize("command", [0xC0086202, 0x40086203, 0x6200, 0x5401])
def test_no_other_ioctl_of_a_buffer(command: int) -> None:
    for profile in PROFILES:
        assert buffer_ioctl(profile, Process(bytearray(8)), command) == (errno.ENOTTY, [])


def test_names_of_nodes() -> None:
    assert [profile.node("system") for profile in PROFILES.values()] == ["system", "system_heap"]
    assert [profile.node("camera") for profile in PROFILES.values()] == ["camera", "camera"]
    assert Mainline.name == "mainline"
