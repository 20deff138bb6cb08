"""`heaptop events` on a real kernel: every allocation and free, a CMA failure with its reason, nothing left behind."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.vm.guest.conftest import TIMEOUT_S, run_heaptop
from tests.vm.guest.truth import Json

COUNT = 1000
PAGE_BYTES = 4096
SIZES = [PAGE_BYTES * (1 + number % 7) for number in range(COUNT)]
TOO_MUCH = 40 << 20
"""Twice more than the area's 64 MiB hold."""
HAS_CMA = os.path.exists("/dev/dma_heap/reserved")
ALLOCATING = """
import fcntl, os, struct, sys
heap = os.open(f"/dev/dma_heap/{sys.argv[1]}", os.O_RDONLY)
for size in map(int, sys.argv[2:]):
    request = bytearray(struct.pack("=QIIQ", size, 0, os.O_RDWR | os.O_CLOEXEC, 0))
    fcntl.ioctl(heap, 0xC0184800, request)
    os.close(struct.unpack_from("=QI", request)[1])
"""
HOLDING = """
import fcntl, os, struct, sys
heap = os.open(f"/dev/dma_heap/{sys.argv[1]}", os.O_RDONLY)
for size in map(int, sys.argv[2:]):
    try:
        fcntl.ioctl(heap, 0xC0184800, bytearray(struct.pack("=QIIQ", size, 0, os.O_RDWR | os.O_CLOEXEC, 0)))
    except OSError as error:
        print(error.errno, flush=True)
sys.stdin.readline()
"""
TRACE_FILES = ("kprobe_events", "uprobe_events", "dynamic_events", "current_tracer", "events/enable", "set_event")
PROBED = Path("/sys/kernel/debug/kprobes/list")


@contextmanager
def watching(*options: str) -> Iterator[subprocess.Popen[str]]:
    """`heaptop events`, once it watches."""
    command = [sys.executable, "-m", "heaptop", "events", "--json", *options]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="surrogateescape"
    ) as process:
        try:
            assert process.stderr is not None
            while not (line := process.stderr.readline()).startswith("heaptop: watching"):
                assert line
            yield process
        finally:
            process.kill()


def program(source: str, *arguments: object) -> int:
    """Run a Python program to its end; its pid."""
    with subprocess.Popen([sys.executable, "-I", "-S", "-c", source, *map(str, arguments)]) as process:
        assert process.wait(TIMEOUT_S) == 0
        return process.pid


def ended(process: subprocess.Popen[str]) -> tuple[list[Json], str]:
    """Interrupt it; the events it told, and its summary."""
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 130, err
    return [json.loads(line) for line in out.splitlines()], err


def traces() -> Json:
    """What tracing shows of who watches what, and every probe there is."""
    folder = Path("/sys/kernel/tracing")
    if not (folder / "events").is_dir():
        subprocess.run(["mount", "-t", "tracefs", "tracefs", str(folder)], check=True)
    texts: Json = {name: (folder / name).read_text() for name in TRACE_FILES if (folder / name).exists()}
    return texts | {"instances": str(os.listdir(folder / "instances")), "probes": PROBED.read_text()}


@dataclass(frozen=True, slots=True)
class Seen:
    """One run of `heaptop events`: what it told of whom, and what tracing showed before, meanwhile and after."""

    events: Sequence[Json]
    summary: str
    traces: tuple[Json, Json, Json]
    allocating: int
    holding: int
    pinning: int

    def of(self, pid: int, kind: str) -> list[Json]:
        return [event for event in self.events if (event["pid"], event["event"]) == (pid, kind)]


@pytest.fixture(scope="module")
def seen() -> Seen:
    """A thousand allocations, an area without room, and an area with a pinned page: all in one run, which is slow."""
    before = traces()
    with ExitStack() as held:
        pinning = held.enter_context(answering(Path(__file__).with_name("pin.py"))) if HAS_CMA else None
        assert pinning is None or line_of(pinning) == "pinned\n"
        process = held.enter_context(watching())
        meanwhile = traces()
        holding = None
        if pinning is not None:
            assert pinning.communicate("\n", timeout=TIMEOUT_S)[0] == "12\n"
            holding = held.enter_context(answering("-c", HOLDING, "reserved", TOO_MUCH, TOO_MUCH))
            assert line_of(holding) == "12\n"
        allocating = program(ALLOCATING, "system", *SIZES)
        events, summary = ended(process)
    pids = [0 if process is None else process.pid for process in (holding, pinning)]
    return Seen(events, summary, (before, meanwhile, traces()), allocating, *pids)


@contextmanager
def answering(*arguments: object) -> Iterator[subprocess.Popen[str]]:
    """A Python program that goes on after a line of input."""
    command = [sys.executable, "-I", "-S", *map(str, arguments)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def line_of(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline()


def test_a_thousand_allocations_are_a_thousand_events(seen: Seen) -> None:
    allocs, frees = seen.of(seen.allocating, "alloc"), seen.of(seen.allocating, "free")
    assert [event["size_bytes"] for event in allocs] == SIZES
    assert [event["size_bytes"] for event in frees] == SIZES
    assert [event["inode"] for event in allocs] == [event["inode"] for event in frees]
    assert len({event["inode"] for event in allocs}) == COUNT
    assert {(event["tid"], event["exporter"]) for event in (*allocs, *frees)} == {(seen.allocating, "system")}
    assert all(isinstance(event["latency_s"], float) and 0 < event["latency_s"] < TIMEOUT_S for event in allocs)


def test_nothing_is_lost_and_the_cost_is_told(seen: Seen) -> None:
    assert re.search(
        r"events \(1\d{3} alloc, .* 0 lost; cost: [0-9.]+ s of heaptop's own .*, [0-9.]+ ms in", seen.summary
    )


@pytest.mark.skipif(not HAS_CMA, reason="this kernel has no CMA heap")
def test_a_cma_area_without_room(seen: Seen) -> None:
    (alloc,), (failure,), (refusal,) = (seen.of(seen.holding, kind) for kind in ("alloc", "cma_fail", "alloc_fail"))
    assert (failure["area"], failure["size_bytes"], failure["reason"]) == ("reserved", TOO_MUCH, "no run large enough")
    assert (refusal["errno"], refusal["size_bytes"]) == (12, TOO_MUCH)
    area = failure["cma"]
    assert isinstance(area, dict)
    (part,) = area["ranges"]
    assert part["used_pages"] >= TOO_MUCH // PAGE_BYTES
    assert max(run["count_pages"] for run in part["free_runs"]) < TOO_MUCH // PAGE_BYTES
    assert alloc["pfn"] in range(part["base_pfn"], part["base_pfn"] + part["count_pages"])


@pytest.mark.skipif(not HAS_CMA, reason="this kernel has no CMA heap")
def test_a_cma_area_with_a_pinned_page(seen: Seen) -> None:
    (failure,) = seen.of(seen.pinning, "cma_fail")
    assert (failure["area"], failure["reason"]) == ("reserved", "pages pinned (busy)")
    area = failure["cma"]
    assert isinstance(area, dict)
    assert area["max_free_run_pages"] * PAGE_BYTES >= failure["size_bytes"], "there was room, but for the pinned page"


def test_nothing_stays_behind_an_interrupt(seen: Seen) -> None:
    before, meanwhile, after = seen.traces
    assert meanwhile["probes"] != before["probes"]
    assert after == before


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM], ids=lambda end: end.name)
def test_nothing_stays_behind(end: signal.Signals) -> None:
    before = traces()
    with watching() as process:
        assert traces()["probes"] != before["probes"]
        process.send_signal(end)
        process.wait(TIMEOUT_S)
    assert traces() == before


def test_without_permission(plain_user: int) -> None:
    done = run_heaptop("events", uid=plain_user)
    assert (done.returncode, done.stdout) == (3, "")
    assert "root" in done.stderr
