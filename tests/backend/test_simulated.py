"""A scenario in simulated time is a time line of captures like a kernel's."""

import pytest

from heaptop.assemble import assemble
from heaptop.backend.base import Allocator, Timeline
from heaptop.backend.select import open_backend
from heaptop.backend.simulated import BEGAN_AT, SimulatedBackend
from heaptop.errors import UsageError
from heaptop.model import Snapshot
from heaptop_emulator.scenarios import SCENARIOS


def look(backend: SimulatedBackend, index: int) -> Snapshot:
    backend.seek(index)
    return assemble(backend.capture())


def test_it_is_a_time_line_that_allocates_nothing() -> None:
    backend = open_backend("simulation:steady").backend
    assert isinstance(backend, Timeline)
    assert not isinstance(backend, Allocator)
    assert len(backend.moments()) == 601
    assert backend.moments()[-1] - backend.moments()[0] == 600
    assert backend.capture().captured_at == backend.moments()[-1]
    backend.close()


def test_going_back_gives_the_same_again() -> None:
    backend = SimulatedBackend("leak-fd", duration_s=10, interval_s=0.5)
    assert len(backend.moments()) == 21
    seen = []
    for index in (4, 12, 4):
        backend.seek(index)
        seen.append(backend.capture())
    assert seen[0] == seen[2] != seen[1]
    assert seen[0].captured_at == BEGAN_AT + 2
    for index in (-1, 21):
        with pytest.raises(IndexError):
            backend.seek(index)


@pytest.mark.parametrize("scenario", sorted(SCENARIOS))
def test_every_text_can_be_read(scenario: str) -> None:
    snapshot = look(SimulatedBackend(scenario), 10)
    assert not [gap for gap in snapshot.gaps if gap.why != "not captured"]
    held = {holder.comm for buffer in snapshot.buffers for holder in buffer.holders}
    holding_none = {"streamd", "burst-camera"}  # it gives its buffers away; it gets none
    comms = {role.comm for role in SCENARIOS[scenario].roles} - holding_none
    assert len(held) == len(comms) + (scenario == "leak-fork")
    assert all(buffer.file_count is not None and buffer.hidden_refs is not None for buffer in snapshot.buffers)


def test_what_is_in_flight_is_held_by_nobody() -> None:
    snapshot = look(SimulatedBackend("in-flight"), 30)
    unseen = [buffer for buffer in snapshot.buffers if not buffer.holders]
    assert len(unseen) == 60
    assert {(buffer.name, buffer.size_bytes, buffer.hidden_refs) for buffer in unseen} == {("net-frame", 131072, 1)}


def test_what_is_mapped_alone_is_held_by_its_mapping() -> None:
    snapshot = look(SimulatedBackend("leak-map"), 30)
    leaked = [buffer for buffer in snapshot.buffers if buffer.name == "thumbnail"]
    assert len(leaked) == 60
    for buffer in leaked:
        (holder,) = buffer.holders
        assert (holder.comm, holder.fds, len(holder.maps)) == ("app-gallery", (), 1)


def test_names_from_outside_stay_whole() -> None:
    snapshot = look(SimulatedBackend("hostile-names"), 1)
    hostile = [buffer for buffer in snapshot.buffers if buffer.size_bytes == 16384]
    assert len(hostile) == 22
    assert len({buffer.name for buffer in hostile}) == 11
    assert {process.comm for process in snapshot.processes} >= {"\x1b[31mred\n\udcff[b]", "1) S 0 0 (init"}


def test_what_is_off_is_not_there() -> None:
    backend = SimulatedBackend("steady", off=frozenset({"fd", "fdinfo", "maps"}))
    assert backend.capture().processes == ()


def test_an_unknown_scenario_is_told() -> None:
    with pytest.raises(UsageError, match="no scenario 'none'"):
        SimulatedBackend("none")
