"""Failures on demand: which allocation is refused, and that only that one is."""

import errno
import json
import sys
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heaptop.trace.supervise.faults import Faults, Injector
from tests.trace.supervise.conftest import Runner

ASK = """
import fcntl, os, struct, sys, time
held = []
for word in sys.argv[1:]:
    heap, size, *freed = word.split("=")
    began = time.monotonic()
    try:
        with open(f"/dev/dma_heap/{heap}", "rb", buffering=0) as node:
            request = bytearray(struct.pack("=QIIQ", int(size), 0, 2, 0))
            fcntl.ioctl(node, 0xC0184800, request)
        held.append(struct.unpack("=QIIQ", request)[1])
        result = 0
    except OSError as error:
        result = error.errno
    if freed:
        os.close(held.pop())
    print(result, int(time.monotonic() - began >= 0.2))
"""

REQUESTS = st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 100)), max_size=30)


@given(
    st.builds(
        Faults,
        st.one_of(st.none(), st.integers(1, 10)),
        st.one_of(st.none(), st.sampled_from("abc")),
        st.one_of(st.none(), st.integers(0, 500)),
    ),
    REQUESTS,
)
def test_which_is_refused(faults: Faults, requests: list[tuple[str, int]]) -> None:
    injector = Injector(faults)
    numbers = {heap: count(1) for heap in "abc"}
    numbers_of_all = count(1)
    live = 0
    for heap, size in requests:
        refused = injector.refuses(heap, size, lambda _, alive=live: alive)  # type: ignore[misc]
        if faults.limit_bytes is not None and live + size > faults.limit_bytes:
            assert refused == errno.ENOMEM
            continue
        of_heap, of_all = next(numbers[heap]), next(numbers_of_all)
        expected = {
            (False, False): False,
            (True, False): of_all == faults.fail_nth,
            (False, True): heap == faults.fail_heap,
            (True, True): heap == faults.fail_heap and of_heap == faults.fail_nth,
        }[faults.fail_nth is not None, faults.fail_heap is not None]
        assert refused == (errno.ENOMEM if expected else 0)
        live += 0 if refused else size


def asked(runner: Runner, *words: str) -> list[int]:
    done = runner.run(
        "-q", *words[: words.index("--")], "--", sys.executable, "-c", ASK, *words[words.index("--") + 1 :]
    )
    assert done.returncode == 0, done.stderr
    return [int(line.split()[0]) for line in done.stdout.splitlines()]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ((), [0, 0, 0, 0]),
        (("--fail-nth", "3"), [0, 0, errno.ENOMEM, 0]),
        (("--fail-nth", "9"), [0, 0, 0, 0]),
        (("--fail-heap", "camera"), [0, errno.ENOMEM, 0, errno.ENOMEM]),
        (("--fail-heap", "camera", "--fail-nth", "2"), [0, 0, 0, errno.ENOMEM]),
        (("--limit", "12K"), [0, 0, 0, errno.ENOMEM]),
        (("--limit", "8K"), [0, 0, errno.ENOMEM, errno.ENOMEM]),
    ],
)
def test_a_program_is_refused(runner: Runner, options: tuple[str, ...], expected: list[int]) -> None:
    words = ("system=4096", "camera=4095", "system=4095", "camera=4095")
    assert asked(runner, *options, "--", *words) == expected


def test_the_limit_is_of_what_lives(runner: Runner) -> None:
    """What the program frees makes room again."""
    assert asked(runner, "--limit", "8K", "--", "system=4096=freed", "system=8192", "system=4096") == [
        0,
        0,
        errno.ENOMEM,
    ]


def test_latency(runner: Runner) -> None:
    done = runner.run("-q", "--latency", "250ms", "--", sys.executable, "-c", ASK, "system=1", "camera=1")
    assert done.stdout == "0 1\n0 1\n"


def test_latency_is_each_threads_own(runner: Runner) -> None:
    """Eight threads wait at the same time, not one after the other."""
    script = (
        "import threading, subprocess, sys, time; began = time.monotonic();"
        "code = '''import fcntl, struct\n"
        "with open('/dev/dma_heap/system', 'rb', buffering=0) as node:\n"
        "    fcntl.ioctl(node, 0xC0184800, bytearray(struct.pack('=QIIQ', 1, 0, 2, 0)))''';"
        "all = [threading.Thread(target=exec, args=(code,)) for _ in range(8)];"
        "[one.start() for one in all]; [one.join() for one in all];"
        "print(1 <= time.monotonic() - began < 7)"
    )
    assert runner.run("-q", "--latency", "1s", "--", sys.executable, "-c", script).stdout == "True\n"


def test_events_are_told(runner: Runner) -> None:
    words = ("system=4096", "camera=4096")
    done = runner.run("--json", "--fail-heap", "camera", "--", sys.executable, "-c", ASK, *words)
    first, second = (json.loads(line) for line in done.stderr.splitlines() if line.startswith("{"))
    assert (first["event"], first["exporter"], first["size_bytes"], first["errno"]) == ("alloc", "system", 4096, None)
    assert (second["event"], second["exporter"], second["errno"]) == ("alloc_fail", "camera", errno.ENOMEM)
    assert first["pid"] == second["pid"] > 0
    assert first["inode"] > 0
    assert first["comm"].startswith("python")
    assert done.stderr.splitlines()[-1] == (
        "heaptop: the command was given 0 buffers of camera, 0 B, 1 refused; 1 buffer of system, 4.00 KiB"
    )


def test_events_in_a_file(runner: Runner) -> None:
    path = runner.folder / "events"
    done = runner.run("-q", "-o", str(path), "--", sys.executable, "-c", ASK, "system=4096")
    assert done.stderr == ""
    assert "4.00 KiB of system" in path.read_text()
    assert runner.run("-o", str(runner.folder), "--", "true").returncode == 3
