"""What is worth a capture of its own."""

from heaptop.analysis.incident import Incident, IncidentWatch, Kind, Thresholds
from heaptop.model import Memory, Snapshot
from tests.analysis.builders import buffer, snapshot

MIB = 1 << 20


def of(size_mib: int, failures: int | None = None) -> Snapshot:
    return snapshot(buffer(1, size_bytes=size_mib * MIB))._replace(memory=Memory(cma_alloc_fail=failures))


def kinds(watch: IncidentWatch, *looks: tuple[float, int]) -> list[list[Kind]]:
    return [[incident.kind for incident in watch.look(of(size), now)] for now, size in looks]


def test_nothing_where_nothing_is_asked() -> None:
    assert kinds(IncidentWatch(Thresholds()), (0, 1), (100, 10_000)) == [[], []]


def test_bytes_when_they_go_above_once() -> None:
    watch = IncidentWatch(Thresholds(size_bytes=100 * MIB))
    looks = [(0, 90), (1, 100), (2, 101), (3, 150), (100, 150), (101, 97), (102, 101), (103, 90), (104, 101)]
    assert [bool(found) for found in kinds(watch, *looks)] == [False, False, True, *[False] * 5, True]


def test_what_is_above_at_first_is_an_incident() -> None:
    (found,) = IncidentWatch(Thresholds(size_bytes=MIB)).look(of(2), 0)
    assert found == Incident(Kind.BYTES, "2.00 MiB in buffers, above 1.00 MiB")


def test_growth_over_time_not_one_buffer() -> None:
    watch = IncidentWatch(Thresholds(growth_bytes_per_min=8.0 * MIB))
    assert kinds(watch, (0, 100), (1, 150), (9, 150)) == [[], [], []]
    steady = IncidentWatch(Thresholds(growth_bytes_per_min=8.0 * MIB))
    assert kinds(steady, *[(second, 100 + second // 10) for second in range(0, 300, 5)]) == [[]] * 60
    leak = IncidentWatch(Thresholds(growth_bytes_per_min=8.0 * MIB))
    found = kinds(leak, *[(second, 100 + second // 5) for second in range(0, 300, 5)])
    assert found.index([Kind.GROWTH]) <= 3
    assert found.count([Kind.GROWTH]) == 1


def test_growth_is_measured_over_a_minute() -> None:
    watch = IncidentWatch(Thresholds(growth_bytes_per_min=8.0 * MIB))
    looks = [(second, 100) for second in range(0, 3600, 10)]
    assert not any(kinds(watch, *looks))
    (found,) = watch.look(of(110), 3600)
    assert found == Incident(Kind.GROWTH, "+10.0 MiB/min, above 8.00 MiB/min")


def test_failures_by_cmas_counter() -> None:
    watch = IncidentWatch(Thresholds(on_failure=True))
    told = [watch.look(of(1, failures), now) for now, failures in enumerate([5, 5, None, 6, 6, 7, 4])]
    assert [bool(one) for one in told] == [False, False, False, False, False, True, False]
    assert not IncidentWatch(Thresholds()).look(of(1, 9), 0)


def test_at_most_one_a_minute_of_a_kind_and_how_many_were_passed_over() -> None:
    watch = IncidentWatch(Thresholds(on_failure=True))
    told = [watch.failure("no", now) for now in range(0, 130, 10)]
    assert [one.passed_over for one in told if one is not None] == [0, 5, 5]
    assert IncidentWatch(Thresholds()).failure("no", 0) is None
