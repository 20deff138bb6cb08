"""Looking into the buffers of a real kernel: what is in them, what cannot be had and why, and nothing left behind."""

import fcntl
import os
import struct
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from heaptop.backend.base import FdAt, MapAt, Way
from heaptop.backend.fill import fill, parse_pattern
from heaptop.backend.kernel import KernelAllocator
from heaptop.errors import SourceError
from tests.vm.guest.conftest import run_heaptop
from tests.vm.guest.kernel_text import bufinfo
from tests.vm.guest.truth import OTHER_USER, Truth

FOREIGN = {"vgem", "drm"}
"""Exporters that are no heap."""


@pytest.fixture(scope="module")
def kernel() -> Iterator[KernelAllocator]:
    """This kernel."""
    backend = KernelAllocator()
    yield backend
    backend.close()


def ways(truth: Truth, inode: int, kind: str) -> tuple[Way, ...]:
    """How a buffer is held by descriptors or by mappings."""
    holds = [hold for hold in truth.holds if hold.inode == inode and hold.kind == kind]
    if kind == "map":
        return tuple(MapAt(hold.pid, hold.start, hold.start + hold.length_bytes) for hold in holds)
    return tuple(FdAt(hold.pid, hold.fd, None if hold.tid == hold.pid else hold.tid) for hold in holds)


def test_every_buffer_with_a_descriptor(truth: Truth, kernel: KernelAllocator) -> None:
    before = {inode: row.file_count for inode, row in bufinfo().items()}
    looked, refused = 0, {}
    for inode, buffer in truth.buffers.items():
        fds = ways(truth, inode, "fd")
        if not fds:
            continue
        try:
            content = kernel.open_content(inode, fds)
        except SourceError as refusal:
            if all(isinstance(way, FdAt) and way.tid is not None for way in fds) and "from Linux 6.9 on" in str(
                refusal
            ):
                continue  # a thread of its own cannot be told to pidfd_open before (PIDFD_THREAD)
            refused[buffer.exporter] = str(refusal)
            continue
        assert content.size_bytes == buffer.size_bytes
        head, tail = content.read([(0, 16), (buffer.size_bytes - 16, 32)])
        expected = b"\7" * 16 if "fd_and_map" in buffer.ways else None
        assert (len(head), len(tail)) == (16, 16)
        assert expected is None or (head, tail) == (expected, expected)
        content.close()
        looked += 1
    assert looked > 10
    assert refused.keys() <= FOREIGN
    assert all("cannot be mapped" in why for why in refused.values())
    assert {inode: row.file_count for inode, row in bufinfo().items()} == before, "all is let go"


def test_mappings_alone_cannot_be_opened(truth: Truth, kernel: KernelAllocator) -> None:
    inodes = [inode for inode in truth.inodes("map_only") if not ways(truth, inode, "fd")]
    assert inodes
    for inode in inodes:
        with pytest.raises(SourceError, match="held by mappings alone"):
            kernel.open_content(inode, ways(truth, inode, "map"))


def test_what_was_filled_in_is_seen(kernel: KernelAllocator) -> None:
    for heap in kernel.heaps():
        given = kernel.allocate(heap, 256 << 10)
        fill(given.fd, given.size_bytes, parse_pattern("count"))
        content = kernel.open_content(given.inode, [FdAt(os.getpid(), given.fd)])
        os.close(given.fd)
        (data,) = content.read([(0, given.size_bytes)])
        assert data == b"".join(word.to_bytes(4, "little") for word in range(given.size_bytes // 4))
        content.close()
        assert given.inode not in bufinfo()


def test_the_program(truth: Truth, tmp_path: Path) -> None:
    (inode,) = truth.inodes("fd_and_map")
    done = run_heaptop("content", str(inode), "--offset", "4K", "--length", "16", "-b", "kernel")
    assert done.stdout == f"00001000  {' '.join(['07'] * 8)}  {' '.join(['07'] * 8)}  |{'.' * 16}|\n", done.stderr
    png = tmp_path / "picture.png"
    done = run_heaptop("content", str(inode), "--png", str(png), "--width", "64", "--height", "8", "-b", "kernel")
    assert done.returncode == 0, done.stderr
    assert png.read_bytes().startswith(b"\x89PNG")


def test_a_plain_user(truth: Truth, plain_user: int) -> None:
    assert plain_user == OTHER_USER
    (own,) = truth.inodes("other_user")
    done = run_heaptop("content", str(own), "--length", "16", "-b", "kernel", uid=plain_user)
    assert done.stdout.startswith("00000000  00 00"), done.stderr
    (inode,) = truth.inodes("fd_and_map")
    done = run_heaptop("content", str(inode), "-b", "kernel", uid=plain_user)
    assert done.returncode in {2, 3}, "it is not seen at all, or may not be taken"
    assert done.stdout == ""


def request(direction: str, letter: str, number: int, size_bytes: int) -> int:
    """The number of an ioctl (asm-generic/ioctl.h)."""
    return {"rw": 3, "w": 1}[direction] << 30 | size_bytes << 16 | ord(letter) << 8 | number


def unsignalled() -> tuple[int, int]:
    """A vgem buffer with a fence that nobody signals (vgem gives up after 10 s), and its card."""
    for path in sorted(Path("/dev/dri").glob("card*")):
        card = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        try:
            dumb = bytearray(struct.pack("=6IQ", 64, 64, 32, 0, 0, 0, 0))
            fcntl.ioctl(card, request("rw", "d", 0xB2, 32), dumb)  # DRM_IOCTL_MODE_CREATE_DUMB
            handle = struct.unpack_from("=I", dumb, 16)[0]
            prime = bytearray(struct.pack("=IIi", handle, os.O_RDWR | os.O_CLOEXEC, -1))
            fcntl.ioctl(card, request("rw", "d", 0x2D, 12), prime)  # DRM_IOCTL_PRIME_HANDLE_TO_FD
            fcntl.ioctl(card, request("rw", "d", 0x41, 16), bytearray(struct.pack("=4I", handle, 1, 0, 0)))
        except OSError:  # no vgem
            os.close(card)
            continue
        return struct.unpack_from("=i", prime, 8)[0], card
    pytest.skip("no vgem here: no fence that is not signalled")


def test_a_fence_that_is_not_signalled(kernel: KernelAllocator) -> None:
    buffer, card = unsignalled()
    inode = os.fstat(buffer).st_ino
    content = kernel.open_content(inode, [FdAt(os.getpid(), buffer)])
    began = time.monotonic()
    with pytest.raises(SourceError, match="a fence is not signalled"):
        content.read([(0, 16)])
    assert time.monotonic() - began < 8
    content.close()
    os.close(buffer)
    os.close(card)
    for reader in threading.enumerate():
        if reader.name == "heaptop-content":
            reader.join(60)
    assert inode not in bufinfo(), "it is let go when the fence is over"
