"""What the machine beneath the guest does not allow, or has not: 500,000 descriptors, and the name of a real buffer."""

import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from heaptop.backend import uapi
from heaptop.backend.kernel import KernelBackend
from heaptop.scan.holders import Way
from heaptop.session import Session
from tests.scan.churn import chunks_of
from tests.scan.test_bpf_scan import skip_where_refused
from tests.scan.whole import command, told

COUNT = 500_000
ROOT = Path(__file__).parent.parent.parent.parent
MEMORY_BYTES_MAX = 120 << 20


@pytest.fixture(scope="module")
def many() -> Iterator[int]:
    words = [sys.executable, "-I", "-S", str(ROOT / "tests/scan/holder.py"), str(COUNT), "other"]
    with subprocess.Popen(words, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            if process.stdout.readline() != b"ready\n":
                pytest.skip("so many descriptors are not allowed here")
            yield process.pid
        finally:
            process.kill()


def test_very_many_descriptors(many: int) -> None:
    """The look takes far longer than what hangs is waited for. Others are still shown, and memory is bounded."""
    os.ftruncate(mine := os.memfd_create("dmabuf-mine"), 4096)
    found = told([os.getpid(), many], "buffers")
    os.close(mine)
    assert {holder["pid"] for buffer in found["buffers"] for holder in buffer["holders"]} == {many, os.getpid()}
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024 < MEMORY_BYTES_MAX


@pytest.mark.parametrize("walks", [True, False])
def test_very_many_descriptors_by_bpf(many: int, *, walks: bool) -> None:
    """The buffer that comes last is seen."""
    skip_where_refused()
    with closing(chunks_of(bpf=True, walks=walks)) as chunks:
        ((_, capture, _),) = chunks.each([many], complete=False)
        assert chunks.way == Way("BPF")
    assert capture is not None
    assert [link.target for link in capture.table.links] == [b"/dmabuf:many"]


def test_interrupted_meanwhile(many: int) -> None:
    """Ctrl-C ends it at once, not when the look is over."""
    with subprocess.Popen(
        command([many], "buffers", "-b", "kernel"), cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        while not has_open(process.pid, f"/proc/{many}/fd"):
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        assert process.wait() == 130


def has_open(pid: int, path: str) -> bool:
    folder = f"/proc/{pid}/fd"
    for name in os.listdir(folder):
        with suppress(OSError):
            if os.readlink(f"{folder}/{name}") == path:
                return True
    return False


def test_a_name_changed_by_another_process() -> None:
    """It is the buffer's, whoever sets it: each look has the newest, with those who have not run since too."""
    with open("/dev/dma_heap/system", "rb") as heap:
        buffer = uapi.allocate(heap.fileno(), 4096)
    inode = os.fstat(buffer).st_ino
    other = subprocess.Popen(["sleep", "1000"], pass_fds=[buffer])
    backend, fresh = KernelBackend(), KernelBackend()
    session = Session(backend, time.time)
    try:
        for name in ("first", "second", "third name", "x" * 31):
            uapi.set_name(buffer, name.encode())
            seen = [
                next(each for each in one.snapshot.buffers if each.inode == inode)
                for one in (session.refresh(), Session(fresh, time.time).refresh())
            ]
            assert [each.name for each in seen] == [name, name]
            assert seen[0] == seen[1]
            assert {holder.process.pid for holder in seen[0].holders} == {os.getpid(), other.pid}
    finally:
        other.kill()
        other.wait()
        os.close(buffer)
        backend.close()
        fresh.close()
