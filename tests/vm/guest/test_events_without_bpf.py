"""`heaptop events` where BPF is not for this process: by kprobes in tracefs and perf. Nothing stays behind, either."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.vm.guest.conftest import TIMEOUT_S
from tests.vm.guest.test_events import ALLOCATING, HAS_CMA, HOLDING, TOO_MUCH, answering, line_of, program, traces
from tests.vm.guest.truth import Json

SIZES = [4096 * (1 + number % 7) for number in range(1000)]
SETPRIV = shutil.which("setpriv")
PARANOID = Path("/proc/sys/kernel/perf_event_paranoid")
PARANOID_MAX = 2
DEFINED = Path("/sys/kernel/tracing/kprobe_events")
pytestmark = pytest.mark.skipif(SETPRIV is None, reason="no setpriv here")


@pytest.fixture(autouse=True)
def perf_is_allowed() -> Iterator[None]:
    """Debian's kernels refuse perf to all but CAP_SYS_ADMIN, unless they are told not to."""
    before = PARANOID.read_bytes()
    if int(before) > PARANOID_MAX:
        PARANOID.write_bytes(b"%d" % PARANOID_MAX)
    yield
    PARANOID.write_bytes(before)


def watching() -> subprocess.Popen[str]:
    """`heaptop events` by root without CAP_BPF, once it watches."""
    assert SETPRIV is not None
    command = [SETPRIV, "--bounding-set=-bpf,-sys_admin", sys.executable, "-m", "heaptop", "events", "--json"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    while not (line := process.stderr.readline()).startswith("heaptop: watching"):
        assert line
    return process


def nothing_is_left(before: Json) -> bool:
    """The shell that cleans up waits for the last descriptor to be closed."""
    end = time.monotonic() + TIMEOUT_S
    while traces() != before and time.monotonic() < end:
        os.sched_yield()
    return traces() == before


def test_a_thousand_allocations_and_a_cma_failure() -> None:
    before = traces()
    with watching() as process:
        try:
            assert b"heaptop_" in DEFINED.read_bytes()
            if HAS_CMA:
                with answering("-c", HOLDING, "reserved", TOO_MUCH, TOO_MUCH) as holding:
                    assert line_of(holding) == "12\n"
            pid = program(ALLOCATING, "system", *SIZES)
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=TIMEOUT_S)
        finally:
            process.kill()
    assert traces() == before, "the end takes all away at once"
    events = [json.loads(line) for line in out.splitlines()]
    allocs = [event for event in events if (event["pid"], event["event"]) == (pid, "alloc")]
    frees = [event for event in events if (event["pid"], event["event"]) == (pid, "free")]
    assert [event["size_bytes"] for event in allocs] == SIZES, err
    assert [event["inode"] for event in frees] == [event["inode"] for event in allocs]
    assert all(event["inode"] and event["latency_s"] > 0 and event["exporter"] == "system" for event in allocs)
    assert ", 0 lost;" in err
    if HAS_CMA:
        (failure,) = [event for event in events if event["event"] == "cma_fail"]
        assert (failure["reason"], failure["size_bytes"]) == ("no run large enough", TOO_MUCH)
        assert failure["cma"] is not None
        (placed,) = [event for event in events if event["pfn"] is not None]
        assert (placed["pid"], placed["size_bytes"]) == (holding.pid, TOO_MUCH)


def test_nothing_stays_behind_a_kill() -> None:
    """Nor what another had left that was killed together with its shell."""
    before = traces()
    dead = subprocess.Popen(["true"])
    dead.wait()
    fd = os.open(DEFINED, os.O_WRONLY | os.O_APPEND)
    os.write(fd, f"p:heaptop_{dead.pid}/left pipe_release\n".encode())
    os.close(fd)
    with watching() as process:
        assert f"heaptop_{dead.pid}/" not in DEFINED.read_text()
        process.kill()
        process.wait(TIMEOUT_S)
    assert nothing_is_left(before)
