"""`heaptop events --stacks` on a real kernel: call stacks of a program that runs already, and nothing stays behind."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.vm.guest.conftest import run_heaptop
from tests.vm.guest.test_events import watching

BUFFERS = 5
HOLDING = """
import fcntl, os, struct, sys
heap = os.open("/dev/dma_heap/system", os.O_RDONLY)
for _ in range(int(sys.argv[1])):
    fcntl.ioctl(heap, 0xC0184800, bytearray(struct.pack("=QIIQ", 8192, 0, os.O_RDWR | os.O_CLOEXEC, 0)))
print("ready", flush=True)
sys.stdin.readline()
"""


@contextmanager
def holding() -> Iterator[int]:
    """A program that has allocated and holds its buffers; its pid."""
    command = [sys.executable, "-I", "-S", "-c", HOLDING, str(BUFFERS)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        try:
            yield process.pid
        finally:
            process.communicate("\n")


def buffers(pid: int) -> list[dict[str, object]]:
    found = json.loads(run_heaptop("-b", "kernel", "buffers", "--json", "--filter", f"pid:{pid}").stdout)["buffers"]
    assert len(found) == BUFFERS
    return list(found)


def test_stacks_of_a_running_program() -> None:
    probes = Path("/sys/kernel/tracing/kprobe_events").read_text()
    with watching("--stacks") as process, holding() as pid:
        while not all(one["origin"] for one in buffers(pid)):  # perf's ring is read as it fills
            assert process.poll() is None
        origins = [one["origin"] for one in buffers(pid)]
        sites = json.loads(run_heaptop("-b", "kernel", "sites", "--json", "--filter", f"pid:{pid}").stdout)["sites"]
        process.terminate()
        assert process.stderr is not None
        assert f"heaptop: {BUFFERS} call stacks\n" in process.stderr.read()
    for origin in origins:
        assert isinstance(origin, dict)
        assert (origin["pid"], origin["tid"], origin["cut"]) == (pid, pid, None)
        files = [frame["path"].rpartition("/")[2] for frame in origin["frames"]]
        assert files[0].startswith("libc")
        assert any("python" in name for name in files)
        assert len(files) > 5
    assert sum(site["buffers"] for site in sites) == BUFFERS
    assert Path("/sys/kernel/tracing/kprobe_events").read_text() == probes


def test_what_run_observes() -> None:
    """`heaptop run` on the kernel's own heaps: the thread is stopped as its call returns."""
    command = [
        sys.executable,
        "-m",
        "heaptop",
        "run",
        "-q",
        "--",
        sys.executable,
        "-I",
        "-S",
        "-c",
        HOLDING,
        str(BUFFERS),
    ]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        found = json.loads(run_heaptop("-b", "kernel", "sites", "--json").stdout)["sites"]
        process.communicate("\n")
        assert process.returncode == 0
    sites = [site for site in found if site["site"] is not None]
    assert [(site["buffers"], site["site"]["function"]) for site in sites] == [(BUFFERS, "<module>")]
