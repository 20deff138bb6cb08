"""`heaptop events` on a real kernel: every allocation and free, a CMA failure with its reason, nothing left behind."""

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.vm.guest.conftest import TIMEOUT_S, run_heaptop
from tests.vm.guest.truth import Json

COUNT = 1000
PAGE_BYTES = 4096
ALLOCATING = """
import fcntl, os, struct, sys
heap = os.open(f"/dev/dma_heap/{sys.argv[1]}", os.O_RDONLY)
for size in map(int, sys.argv[2:]):
    request = bytearray(struct.pack("=QIIQ", size, 0, os.O_RDWR | os.O_CLOEXEC, 0))
    fcntl.ioctl(heap, 0xC0184800, request)
    os.close(struct.unpack_from("=QI", request)[1])
"""
HELD = """
import fcntl, os, struct, sys
heap = os.open(f"/dev/dma_heap/{sys.argv[1]}", os.O_RDONLY)
for size in map(int, sys.argv[2:]):
    try:
        fcntl.ioctl(heap, 0xC0184800, bytearray(struct.pack("=QIIQ", size, 0, os.O_RDWR | os.O_CLOEXEC, 0)))
    except OSError as error:
        print(error.errno)
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


def program(source: str, *arguments: object) -> tuple[int, str]:
    """Run a program to its end; its pid, and what it prints."""
    command = [sys.executable, "-I", "-S", "-c", source, *map(str, arguments)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        out, _ = process.communicate(timeout=TIMEOUT_S)
        assert process.returncode == 0
        return process.pid, out


def ended(process: subprocess.Popen[str]) -> tuple[list[Json], str]:
    """Interrupt it; the events it told, and its summary."""
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 130, err
    return [json.loads(line) for line in out.splitlines()], err


def of(events: Sequence[Json], pid: int, kind: str) -> list[Json]:
    return [event for event in events if (event["pid"], event["event"]) == (pid, kind)]


def traces() -> dict[str, str]:
    """What tracing shows of who watches what, and every probe there is."""
    folder = Path("/sys/kernel/tracing")
    if not (folder / "events").is_dir():
        subprocess.run(["mount", "-t", "tracefs", "tracefs", str(folder)], check=True)
    texts = {name: (folder / name).read_text() for name in TRACE_FILES if (folder / name).exists()}
    return texts | {"instances": str(os.listdir(folder / "instances")), "probes": PROBED.read_text()}


def test_a_thousand_allocations_are_a_thousand_events() -> None:
    sizes = [PAGE_BYTES * (1 + number % 7) for number in range(COUNT)]
    with watching() as process:
        pid, _ = program(ALLOCATING, "system", *sizes)
        events, summary = ended(process)
    allocs, frees = of(events, pid, "alloc"), of(events, pid, "free")
    assert [event["size_bytes"] for event in allocs] == sizes
    assert [event["size_bytes"] for event in frees] == sizes
    assert [event["inode"] for event in allocs] == [event["inode"] for event in frees]
    assert len({event["inode"] for event in allocs}) == COUNT
    assert {(event["tid"], event["exporter"]) for event in (*allocs, *frees)} == {(pid, "system")}
    assert all(isinstance(event["latency_s"], float) and 0 < event["latency_s"] < TIMEOUT_S for event in allocs)
    assert f"{COUNT} alloc" in summary
    assert " 0 lost; cost: " in summary


def test_events_tell_what_bufinfo_shows() -> None:
    with watching("--filter", "holder:heaptop-vm") as process:
        done = run_heaptop("alloc", "system", "5000", "--hold", "0", "--json")
        (told,) = [json.loads(line) for line in done.stdout.splitlines()]
        events, _ = ended(process)
    assert events == []
    with watching("--filter", f"inode:{told['inode'] + 1}") as process:
        done = run_heaptop("alloc", "system", "5000", "--hold", "0", "--json")
        (told,) = [json.loads(line) for line in done.stdout.splitlines()]
        events, _ = ended(process)
    assert [(event["event"], event["inode"], event["size_bytes"]) for event in events] == [
        ("alloc", told["inode"], 8192),
        ("free", told["inode"], 8192),
    ]


@pytest.mark.skipif(not os.path.exists("/dev/dma_heap/reserved"), reason="this kernel has no CMA heap")
def test_a_cma_failure_has_its_reason_and_its_map() -> None:
    size = 40 << 20  # of the area's 64 MiB
    with watching() as process:
        pid, out = program(HELD, "reserved", size, size)
        events, _ = ended(process)
    assert out.split() == ["12"]
    (alloc,), (failure,), (refusal,) = (of(events, pid, kind) for kind in ("alloc", "cma_fail", "alloc_fail"))
    assert (failure["area"], failure["size_bytes"], failure["reason"]) == ("reserved", size, "no run large enough")
    assert (refusal["errno"], refusal["size_bytes"]) == (12, size)
    area = failure["cma"]
    assert isinstance(area, dict)
    assert area["used_pages"] is not None
    (part,) = area["ranges"]
    assert part["free_runs"] is not None
    assert alloc["pfn"] is not None
    assert part["base_pfn"] <= alloc["pfn"] < part["base_pfn"] + part["count_pages"]


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT], ids=lambda end: end.name)
def test_nothing_stays_behind(end: signal.Signals) -> None:
    before = traces()
    with watching() as process:
        assert traces()["probes"] != before["probes"]
        process.send_signal(end)
        process.wait(TIMEOUT_S)
    assert traces() == before


def test_without_permission(plain_user: int) -> None:
    done = run_heaptop("events", "--for", "1s", uid=plain_user)
    assert (done.returncode, done.stdout) == (3, "")
    assert len(done.stderr.splitlines()) <= 2
    assert "root" in done.stderr


def test_it_ends_by_itself() -> None:
    done = run_heaptop("events", "--for", "100ms")
    assert done.returncode == 0
    assert Counter(done.stdout.split())["alloc"] == 0
    assert "0 lost" in done.stderr
