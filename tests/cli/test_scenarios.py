"""What each scenario says must be found, heaptop finds: real processes, looked at from outside."""

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from heaptop.assemble import assemble
from heaptop.backend.emulated import EmulatedBackend
from heaptop.backend.reach import OwnEmulator
from heaptop.backend.simulated import SimulatedBackend
from heaptop.model import Buffer, Snapshot
from heaptop_emulator.scenarios import SCENARIOS, Suspect

HEAPTOP = (sys.executable, "-m", "heaptop")
GROWING = sorted(name for name, scenario in SCENARIOS.items() if scenario.expected)


@contextmanager
def playing(scenario: str) -> Iterator[EmulatedBackend]:
    backend = EmulatedBackend(OwnEmulator(scenario))
    try:
        yield backend
    finally:
        backend.close()


def of(snapshot: Snapshot, suspect: Suspect) -> list[Buffer]:
    return [
        buffer
        for buffer in snapshot.buffers
        if (buffer.exporter, buffer.size_bytes, buffer.name) == (suspect.exporter, suspect.size_bytes, suspect.name)
    ]


@pytest.mark.parametrize("scenario", GROWING)
def test_real_processes_do_what_is_said(scenario: str) -> None:
    """The suspect grows, held by whom it is said to be; all else stays as many as it was."""
    suspect = SCENARIOS[scenario].expected
    assert suspect is not None
    with playing(scenario) as backend:
        tick = threading.Event()
        for _ in range(300):
            snapshot = assemble(backend.capture())
            if len(of(snapshot, suspect)) >= 3:
                break
            tick.wait(0.05)
    leaked = of(snapshot, suspect)
    assert len(leaked) >= 3
    # The ordinary device has 30; a capture has only what lived all the while.
    assert len(snapshot.buffers) - len(leaked) <= 33
    for buffer in leaked[:-1]:
        held = {holder.comm for holder in buffer.holders}
        assert held == (set() if suspect.holder is None else {suspect.holder})
        assert bool(buffer.hidden_refs) == (suspect.holder is None)


def document(*arguments: str) -> Any:
    return json.loads(subprocess.run([*HEAPTOP, *arguments], capture_output=True, check=True, timeout=60).stdout)


def test_fragmentation_is_seen_in_the_area() -> None:
    areas = {area["name"]: area for area in document("-b", "emulator:fragmentation", "cma", "--json")["cma"]}
    reserved = areas["reserved"]
    assert (reserved["count_pages"], reserved["used_pages"]) == (16384, 8192)
    assert reserved["max_free_run_pages"] == 128


def test_pinned_pages_are_told_by_events() -> None:
    areas = {area["name"]: area for area in document("-b", "emulator:pinned", "cma", "--json")["cma"]}
    assert (areas["camera"]["used_pages"], areas["camera"]["max_free_run_pages"]) == (0, 8192)
    command = [*HEAPTOP, "-b", "emulator:pinned", "events", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as watching:
        assert watching.stdout is not None
        event = next(one for line in watching.stdout if (one := json.loads(line))["event"] == "cma_fail")
        watching.terminate()
        watching.communicate(timeout=60)
    assert (event["area"], event["reason"], event["size_bytes"]) == ("camera", "pages pinned (busy)", 8 << 20)


def test_storm_is_seen_as_what_lives_at_once() -> None:
    with playing("storm") as backend:
        for _ in range(3):
            snapshot = assemble(backend.capture())
            assert sum(buffer.name == "scratch" for buffer in snapshot.buffers) <= 64
            assert not snapshot.gaps


def test_hostile_names_are_there_once_and_never_raw() -> None:
    command = [*HEAPTOP, "-b", "emulator:hostile-names", "buffers"]
    ran = subprocess.run(command, capture_output=True, check=True, timeout=60)
    assert b"\x1b" not in ran.stdout
    rows = [line for line in ran.stdout.decode().splitlines() if "16.0 KiB" in line]
    assert len(rows) == 22
    buffers = document("-b", "emulator:hostile-names", "buffers", "--json")["buffers"]
    hostile = [buffer for buffer in buffers if buffer["size_bytes"] == 16384]
    assert len(hostile) == 22
    assert len({buffer["name"] for buffer in hostile}) == 11
    assert {holder["comm"] for buffer in hostile for holder in buffer["holders"]} == {
        "\x1b[31mred\n\udcff[b]",
        "1) S 0 0 (init",
    }


@pytest.mark.parametrize("scenario", sorted(SCENARIOS))
def test_simulated_time_starts_as_real_processes_do(scenario: str) -> None:
    simulated = SimulatedBackend(scenario)
    simulated.seek(0)
    with playing(scenario) as backend:
        real = backend.state().buffers
    expected = {buffer.inode: buffer for buffer in simulated._simulation.buffers.values()}
    assert {(buffer.heap, buffer.size_bytes, buffer.name) for buffer in expected.values()} <= {
        (buffer.heap, buffer.size_bytes, buffer.name) for buffer in real
    } | {("system", 4096 << shift, b"scratch") for shift in range(8)}
