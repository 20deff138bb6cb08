"""OpenMetrics text, read back by Prometheus' own client library."""

from prometheus_client.openmetrics.parser import text_string_to_metric_families

from heaptop.analysis.classes import BufferClass
from heaptop.model import Snapshot
from heaptop.report import openmetrics
from tests.report.samples import EMPTY, SNAPSHOT


def samples(snapshot: Snapshot, **arguments: object) -> dict[tuple[str, ...], float]:
    text = openmetrics.text(snapshot, **arguments)  # type: ignore[arg-type]
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)  # type: ignore[no-untyped-call]
        for sample in family.samples
    }


def test_all_of_a_snapshot() -> None:
    found = samples(SNAPSHOT, own=openmetrics.Own(1.5, 0.25))
    for heap in SNAPSHOT.heaps:
        if heap.size_bytes is not None:
            assert found["heaptop_heap_size_bytes", heap.name] == heap.size_bytes
    assert found["heaptop_buffers",] == len(SNAPSHOT.buffers)
    assert found["heaptop_buffers_size_bytes",] == SNAPSHOT.size_bytes
    assert found["heaptop_cpu_seconds_total",] == 1.5
    area = SNAPSHOT.cma[0]
    assert area.used_pages is not None
    assert found["heaptop_cma_used_bytes", area.name] == area.used_pages * SNAPSHOT.page_bytes


def test_processes_of_one_comm_are_one_series() -> None:
    process = SNAPSHOT.processes[0]
    twin = process._replace(id=process.id._replace(pid=99_999))
    found = samples(SNAPSHOT._replace(processes=(process, twin)))
    assert found["heaptop_process_rss_bytes", process.comm] == 2 * process.rss_bytes
    unknown = samples(SNAPSHOT._replace(processes=(process, twin._replace(pss_bytes=None))))
    assert ("heaptop_process_pss_bytes", process.comm) not in unknown


def test_what_is_not_known_is_left_out() -> None:
    found = samples(EMPTY)
    assert found["heaptop_buffers",] == 0
    assert not any(name.startswith("heaptop_cma_") for name, *_ in found)
    assert ("heaptop_pools_size_bytes",) not in found


def test_names_are_hostile() -> None:
    heap = SNAPSHOT.heaps[0]._replace(name='a"} 1\n# EOF\nx{y="\\\udcff\x1b[31m')
    found = samples(SNAPSHOT._replace(heaps=(heap,)))
    (label,) = (labels[0] for name, *labels in found if name == "heaptop_heap_size_bytes")
    assert label == 'a"} 1\\n# EOF\\nx{y="\\\\xff\\x1b[31m'


def test_suspects() -> None:
    key = BufferClass("system", 16384, "codec-out", ("mediaserver",))
    assert samples(SNAPSHOT, suspects=[key])["heaptop_suspects", "system", "16384", "codec-out", "mediaserver"] == 1
