"""`heaptop run` observes a real kernel's heaps: it tells what the kernel did, and refuses on demand in its place."""

import errno
import json
import os
import sys

import pytest

from tests.vm.guest.conftest import run_heaptop
from tests.vm.guest.kernel_text import bufinfo

PROGRAM = """
import fcntl, os, struct, sys
for word in sys.argv[1:]:
    heap, size, *freed = word.split("=")
    request = bytearray(struct.pack("=QIIQ", int(size), 0, os.O_RDWR | os.O_CLOEXEC, 0))
    try:
        with open(f"/dev/dma_heap/{heap}", "rb", buffering=0) as node:
            fcntl.ioctl(node, 0xC0184800, request)
    except OSError as error:
        print(error.errno)
        continue
    fd = struct.unpack("=QIIQ", request)[1]
    print(0, os.getpid(), fd, os.fstat(fd).st_ino, os.lseek(fd, 0, os.SEEK_END))
    if freed:
        os.close(fd)
sys.exit(7)
"""


def run(*words: str, uid: int | None = None) -> tuple[list[list[int]], list[dict[str, object]], list[str]]:
    """What the program printed, the events that heaptop told, and what else it said."""
    at = words.index("--")
    options = ("run", "--json", *words[:at], "--", sys.executable, "-c", PROGRAM, *words[at + 1 :])
    done = run_heaptop(*options, uid=uid)
    assert done.returncode == 7, done.stderr
    lines = done.stderr.splitlines()
    events = [json.loads(line) for line in lines if line.startswith("{")]
    printed = [[int(word) for word in line.split()] for line in done.stdout.splitlines()]
    return printed, events, [line for line in lines if not line.startswith("{")]


def test_what_the_kernel_did_is_told() -> None:
    printed, events, said = run("--", "system=5000", "system=0", "system=4096")
    assert [row[0] for row in printed] == [0, errno.EINVAL, 0]
    assert [event["event"] for event in events] == ["alloc", "alloc_fail", "alloc"]
    for row, event in zip((printed[0], printed[2]), (events[0], events[2]), strict=True):
        assert [event[key] for key in ("pid", "inode", "size_bytes")] == [row[1], *row[3:]]
    assert events[1]["errno"] == errno.EINVAL
    assert {event["exporter"] for event in events} == {"system"}
    assert said[0].startswith("heaptop: observing this kernel's dma-heaps")
    assert said[-1] == "heaptop: the command was given 2 buffers of system, 12.0 KiB, 1 refused"


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("--fail-nth", "2"), [0, errno.ENOMEM, 0]),
        (("--fail-heap", "system"), [errno.ENOMEM] * 3),
        (("--limit", "8K"), [0, 0, errno.ENOMEM]),
    ],
)
def test_it_refuses_in_the_kernels_place(options: tuple[str, ...], expected: list[int]) -> None:
    printed, _, _ = run(*options, "--", "system=4096", "system=4096", "system=4096")
    assert [row[0] for row in printed] == expected


def test_the_limit_is_of_what_lives() -> None:
    """The kernel tells no release from 6.14 on; still what is freed makes room."""
    printed, _, _ = run("--limit", "8K", "--", "system=8192=freed", "system=8192=freed", "system=4096", "system=8192")
    assert [row[0] for row in printed] == [0, 0, 0, errno.ENOMEM]


def test_nothing_is_left() -> None:
    before = frozenset(bufinfo())
    run("--", *(["system=4096"] * 20))
    assert frozenset(bufinfo()) == before


def test_a_plain_user_observes_too(plain_user: int) -> None:
    """The nodes are root's: the kernel's EACCES comes through."""
    os.chmod("/dev/dma_heap/system", 0o666)
    try:
        printed, events, _ = run("--", "system=4096", uid=plain_user)
    finally:
        os.chmod("/dev/dma_heap/system", 0o600)
    assert printed[0][0] == 0
    assert events[0]["inode"] == printed[0][3]


EMULATED = """
import fcntl, json, os, struct, subprocess, sys
def allocate(access):
    request = bytearray(struct.pack("=QIIQ", 5000, 0, access | os.O_CLOEXEC, 0))
    with open("/dev/dma_heap/camera", "rb", buffering=0) as node:
        fcntl.ioctl(node, 0xC0184800, request)
    return struct.unpack("=QIIQ", request)[1]
fd, read_only = allocate(os.O_RDWR), allocate(os.O_RDONLY)
fcntl.ioctl(fd, 0x40086201, b"trial\\0")
fcntl.ioctl(fd, 0x40086200, (3).to_bytes(8, "little"))
with open(f"/proc/self/fdinfo/{fd}") as file:
    print(json.dumps(file.read()))
print(json.dumps([os.readlink(f"/proc/self/fd/{fd}"), os.readlink(f"/proc/self/fd/{read_only}")]))
print(json.dumps([os.getpid(), fd, os.fstat(fd).st_ino, read_only]))
heaptop = [sys.executable, "-m", "heaptop", "-b", "emulator", "buffers", "--json"]
print(json.dumps(json.loads(subprocess.run(heaptop, capture_output=True, check=True).stdout)["buffers"]))
for _ in range(10):
    os.close(allocate(os.O_RDWR))
from heaptop_emulator import shared
with shared.connect() as emulator:
    while (alive := emulator.about().buffers) != 2:
        continue
print(alive)
"""


def test_emulated_buffers_are_real_where_udmabuf_is(plain_user: int) -> None:
    """Real dma-bufs, which the kernel answers for; the emulator's heap and pages are shown of them all the same."""
    if not os.path.exists("/dev/udmabuf"):
        pytest.skip("this kernel has no udmabuf")
    done = run_heaptop("run", "--emulate", "--", sys.executable, "-c", EMULATED)
    assert done.returncode == 0, done.stderr
    assert "buffers are real dma-bufs from /dev/udmabuf" in done.stderr
    info, links, (pid, fd, inode, read_only), shown, alive = map(json.loads, done.stdout.splitlines())
    assert alive == 2  # the others' pages are free, though of their end no event tells
    assert "exp_name:\tudmabuf" in info
    assert "name:\ttrial" in info
    assert links[0] == "/dmabuf:trial"
    assert links[1].startswith("/memfd:dmabuf:camera:")
    buffer = next(buffer for buffer in shown if buffer["inode"] == inode)
    assert (buffer["exporter"], buffer["name"], buffer["size_bytes"]) == ("camera", "trial", 8192)
    assert [(holder["pid"], holder["fds"]) for holder in buffer["holders"]] == [(pid, [fd])]
    other = next(buffer for buffer in shown if buffer["inode"] != inode)
    assert [(holder["pid"], holder["fds"]) for holder in other["holders"]] == [(pid, [read_only])]
    done = run_heaptop("run", "--emulate", "--", "true", uid=plain_user)
    assert "buffers are sealed memfds: /dev/udmabuf: EACCES" in done.stderr
