"""Each scenario does what it says an observer must find, the same each time. Played in simulated time."""

import os
from collections import Counter

import pytest

from heaptop_emulator.scenarios import SCENARIOS, Suspect
from heaptop_emulator.simulation import Simulation
from heaptop_emulator.troubles import Storm

MIB = 1 << 20
PLAYED = sorted(SCENARIOS.keys() - {"idle"})
GROWING = sorted(name for name, scenario in SCENARIOS.items() if scenario.expected)


def kinds(played: Simulation) -> list[tuple[int, str, int, bytes | None]]:
    return [(buffer.serial, buffer.heap, buffer.size_bytes, buffer.name) for buffer in played.buffers.values()]


def of(played: Simulation, suspect: Suspect) -> list[int]:
    """Inodes of the class that is suspected, whoever holds them."""
    name = os.fsencode(suspect.name)
    wanted = (suspect.exporter, suspect.size_bytes, name)
    return [
        buffer.inode for buffer in played.buffers.values() if (buffer.heap, buffer.size_bytes, buffer.name) == wanted
    ]


@pytest.mark.parametrize("scenario", PLAYED)
def test_it_is_alike_each_time(scenario: str) -> None:
    played = [Simulation(scenario), Simulation(scenario)]
    assert kinds(played[0]) == kinds(played[1])
    for each in played:
        each.advance(20)
    assert kinds(played[0]) == kinds(played[1])
    assert played[0].state() == played[1].state()
    assert SCENARIOS[scenario].finding.endswith(".")
    assert len(SCENARIOS[scenario].finding) <= 120


@pytest.mark.parametrize("scenario", ["steady", "leak-fd", "leak-map", "leak-fork", "in-flight", "storm"])
def test_another_seed_is_another_run(scenario: str) -> None:
    assert kinds(Simulation(scenario)) != kinds(Simulation(scenario, seed=2))


def test_steady_starts_as_an_ordinary_device() -> None:
    first = kinds(Simulation("steady"))
    assert len(first) == 30
    assert 70 * MIB < sum(row[2] for row in first) < 120 * MIB
    assert {row[1] for row in first} == {"system", "reserved", "camera"}


def test_idle_is_empty() -> None:
    played = Simulation("idle")
    played.advance(60)
    assert (played.buffers, played.processes) == ({}, {})


@pytest.mark.parametrize("scenario", ["steady", "storm", "fragmentation", "pinned", "hostile-names"])
def test_nothing_grows(scenario: str) -> None:
    played = Simulation(scenario)
    before = len(played.buffers)
    for _ in range(60):
        played.advance(1)
        assert len(played.buffers) == before


def test_steady_keeps_some_and_replaces_others() -> None:
    played = Simulation("steady")
    before = dict(played.buffers)
    played.advance(12)
    names = [
        {buffer.name for inode, buffer in before.items() if (inode in played.buffers) is kept} for kept in (True, False)
    ]
    assert names[0] >= {b"fb0", b"fb1", b"scanout", b"cam-raw", b"cam-meta", b"shared-frame", b"thumbnails 1"}
    assert names[1] >= {b"cam-preview", None}


def test_storm_is_thousands_a_second() -> None:
    played = Simulation("storm")
    before = played.allocations
    played.advance(2)
    assert played.allocations - before > 2 * 2000


@pytest.mark.parametrize("scenario", GROWING)
def test_the_suspect_grows_at_its_rate_and_nothing_else_does(scenario: str) -> None:
    suspect = SCENARIOS[scenario].expected
    assert suspect is not None
    played = Simulation(scenario)
    others = len(played.buffers) - len(of(played, suspect))
    for minute in (1, 2, 3):
        played.advance(60)
        found = of(played, suspect)
        assert len(found) == pytest.approx(minute * suspect.rate_per_minute, abs=1)
        assert len(played.buffers) - len(found) == others
        holders = Counter(
            process.comm
            for process in played.processes.values()
            for inode in {*process.fds.values(), *process.maps.values()}
            if inode in found
        )
        assert holders == ({} if suspect.holder is None else {suspect.holder: len(found)})


def test_leak_map_is_held_by_mappings_alone() -> None:
    played = Simulation("leak-map")
    played.advance(10)
    leaked = of(played, suspect) if (suspect := SCENARIOS["leak-map"].expected) else []
    (gallery,) = (process for process in played.processes.values() if process.comm == "app-gallery")
    assert len(leaked) == 20
    assert set(leaked) <= set(gallery.maps.values())
    assert not set(leaked) & set(gallery.fds.values())


def test_a_leak_by_fork_has_an_end() -> None:
    played = Simulation("leak-fork")
    played.advance(600)
    helpers = [process for process in played.processes.values() if process.comm == "camera-helper"]
    assert len(helpers) == 180
    assert {len(helper.fds) for helper in helpers} == {1}


def test_fragmentation_leaves_half_of_the_area_in_holes() -> None:
    played = Simulation("fragmentation")
    played.advance(5)
    files = played.state().files
    area = "sys/kernel/debug/cma/reserved"
    assert files[f"{area}/used"] == b"%d\n" % (32 * MIB // 4096)
    assert files[f"{area}/maxchunk"] == b"%d\n" % (MIB // 2 // 4096)
    assert files["sys/kernel/mm/cma/reserved/alloc_pages_fail"] == b"%d\n" % (5 * 4 * MIB // 4096)


def test_pinned_pages_are_in_the_way_of_what_would_fit() -> None:
    played = Simulation("pinned")
    played.advance(5)
    files = played.state().files
    assert files["sys/kernel/debug/cma/camera/used"] == b"0\n"
    assert files["sys/kernel/debug/cma/camera/maxchunk"] == b"%d\n" % (32 * MIB // 4096)
    assert files["sys/kernel/mm/cma/camera/alloc_pages_fail"] == b"%d\n" % (5 * 8 * MIB // 4096)


def test_every_reference_is_accounted_for() -> None:
    """What processes hold, and what is in flight, is what the buffers' counts say."""
    for scenario in PLAYED:
        played = Simulation(scenario)
        played.advance(30)
        counted = Counter(
            inode
            for process in played.processes.values()
            for inode in (*process.fds.values(), *process.maps.values(), *process.in_flight)
        )
        assert counted == played.counts()
        assert counted.keys() == played.buffers.keys()


def test_closing_and_dropping_twice_is_no_matter() -> None:
    played = Simulation("storm")
    storm = next(role for role, _ in played._roles if isinstance(role, Storm))
    held = storm.ring[0].map()
    assert held.fd >= 4
    held.close_fd().close_fd()
    with pytest.raises(ValueError, match="closed"):
        _ = held.fd
    held.drop()
    held.drop()
