"""A snapshot as OpenMetrics text (1.0), for Prometheus and whatever reads the same.

What is not known is left out: a missing series is not 0. Processes are summed up by comm, for a pid in a label would be
a new series with every restart.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Final, NamedTuple

from heaptop.analysis.classes import BufferClass, holder_text
from heaptop.model import CmaArea, Snapshot
from heaptop.units import printable

CONTENT_TYPE: Final = "application/openmetrics-text; version=1.0.0; charset=utf-8"


class Own(NamedTuple):
    """What heaptop itself costs: CPU seconds since it started, and the wall time of the look that is told."""

    cpu_s: float
    look_s: float


Sample = tuple[Mapping[str, str], float | None]


def text(snapshot: Snapshot, own: Own | None = None, suspects: Iterable[BufferClass] = ()) -> str:
    """The exposition. `suspects` are the classes that are suspected of growing."""
    page = snapshot.page_bytes
    families = [
        _family("heaptop_heap_size", "bytes", "Bytes of all buffers of a heap.", _heaps(snapshot, "size_bytes")),
        _family("heaptop_heap_buffers", "", "Buffers of a heap.", _heaps(snapshot, "buffers")),
        _family(
            "heaptop_exporter_size",
            "bytes",
            "Bytes of all buffers of an exporter, heaps among them.",
            [({"exporter": _label(total.name)}, total.size_bytes) for total in snapshot.exporters],
        ),
        _family(
            "heaptop_exporter_buffers",
            "",
            "Buffers of an exporter, heaps among them.",
            [({"exporter": _label(total.name)}, total.buffers) for total in snapshot.exporters],
        ),
        _family("heaptop_buffers", "", "All live dma-bufs.", [({}, len(snapshot.buffers))]),
        _family("heaptop_buffers_size", "bytes", "Bytes of all live dma-bufs.", [({}, snapshot.size_bytes)]),
        *_unheld(snapshot),
        *_processes(snapshot),
        *_memory(snapshot),
        *(family for family in _cma(snapshot.cma, page)),
        _family("heaptop_gaps", "", "Things that could not be read.", [({}, len(snapshot.gaps))]),
        _family("heaptop_suspects", "", "Classes of buffers that grow.", [(_class(one), 1) for one in suspects]),
        *_own(own),
    ]
    return "".join(families) + "# EOF\n"


def _heaps(snapshot: Snapshot, field: str) -> list[Sample]:
    return [({"heap": _label(heap.name)}, getattr(heap, field)) for heap in snapshot.heaps]


def _unheld(snapshot: Snapshot) -> Iterator[str]:
    orphans = [buffer for buffer in snapshot.buffers if buffer.is_orphan]
    yield _family("heaptop_orphan_buffers", "", "Buffers that no process is seen to hold.", [({}, len(orphans))])
    size = sum(buffer.size_bytes or 0 for buffer in orphans)
    yield _family("heaptop_orphan_size", "bytes", "Bytes that no process is seen to hold.", [({}, size)])
    known = [buffer.hidden_refs for buffer in snapshot.buffers if buffer.hidden_refs is not None]
    hidden = sum(known) if known or not snapshot.buffers else None
    help_text = "References that no visible descriptor or mapping explains."
    yield _family("heaptop_hidden_references", "", help_text, [({}, hidden)])


def _processes(snapshot: Snapshot) -> Iterator[str]:
    rss: Counter[str] = Counter()
    pss: dict[str, int | None] = {}
    buffers: Counter[str] = Counter()
    for process in snapshot.processes:
        comm = _label(process.comm)
        rss[comm] += process.rss_bytes
        share, before = process.pss_bytes, pss.setdefault(comm, 0)
        pss[comm] = None if share is None or before is None else before + share
        buffers[comm] += len(process.inodes)
    yield _family("heaptop_process_rss", "bytes", "Whole buffers that processes hold.", _by(rss, "comm"))
    yield _family("heaptop_process_pss", "bytes", "The same, each divided by its processes.", _by(pss, "comm"))
    yield _family("heaptop_process_buffers", "", "Buffers that processes hold.", _by(buffers, "comm"))


def _by(counts: Mapping[str, int | None] | Mapping[str, int], label: str) -> list[Sample]:
    return [({label: name}, count) for name, count in sorted(counts.items())]


def _memory(snapshot: Snapshot) -> Iterator[str]:
    memory = snapshot.memory
    yield _family("heaptop_pools_size", "bytes", "What heaps keep for reuse.", [({}, memory.pools_bytes)])
    help_text = "Allocations from all CMA areas since boot."
    calls = [({"result": "success"}, memory.cma_alloc_success), ({"result": "fail"}, memory.cma_alloc_fail)]
    yield _family("heaptop_cma_allocations", "", help_text, calls, kind="counter")


def _cma(areas: Iterable[CmaArea], page_bytes: int) -> Iterator[str]:
    areas = tuple(areas)
    for name, field, help_text in (
        ("heaptop_cma_size", "count_pages", "A CMA area's size."),
        ("heaptop_cma_used", "used_pages", "What is allocated from a CMA area."),
        ("heaptop_cma_largest_free_run", "max_free_run_pages", "A CMA area's largest free run."),
    ):
        yield _family(
            name, "bytes", help_text, [(_area(area), _times(getattr(area, field), page_bytes)) for area in areas]
        )
    for name, field, help_text in (
        ("heaptop_cma_allocated", "alloc_pages_success", "Allocated from a CMA area since boot."),
        ("heaptop_cma_failed", "alloc_pages_fail", "Refused by a CMA area since boot."),
        ("heaptop_cma_released", "release_pages_success", "Given back to a CMA area since boot."),
    ):
        samples = [(_area(area), _times(getattr(area, field), page_bytes)) for area in areas]
        yield _family(name, "bytes", help_text, samples, kind="counter")


def _area(area: CmaArea) -> Mapping[str, str]:
    return {"area": _label(area.name)}


def _times(pages: int | None, page_bytes: int) -> int | None:
    return None if pages is None else pages * page_bytes


def _class(key: BufferClass) -> Mapping[str, str]:
    return {
        "exporter": _label(key.exporter),
        "size_bytes": "" if key.size_bytes is None else str(key.size_bytes),
        "name": _label(key.name),
        "holder": _label(holder_text(key.holders)),
    }


def _own(own: Own | None) -> Iterator[str]:
    if own is None:
        return
    yield _family("heaptop_cpu", "seconds", "CPU time of heaptop itself.", [({}, own.cpu_s)], kind="counter")
    yield _family("heaptop_look", "seconds", "How long the look that this is of took.", [({}, own.look_s)])


def _family(name: str, unit: str, help_text: str, samples: Iterable[Sample], kind: str = "gauge") -> str:
    """One family; empty where none of its samples is known."""
    known = [(labels, value) for labels, value in samples if value is not None]
    if not known:
        return ""
    full = f"{name}_{unit}" if unit else name
    suffix = "_total" if kind == "counter" else ""
    lines = [f"# TYPE {full} {kind}"]
    lines += [f"# UNIT {full} {unit}"] if unit else []
    lines.append(f"# HELP {full} {help_text}")
    lines += [f"{full}{suffix}{_labels(labels)} {value:.17g}" for labels, value in known]
    return "\n".join(lines) + "\n"


def _labels(labels: Mapping[str, str]) -> str:
    if not labels:
        return ""
    return "{" + ",".join(f'{key}="{_escaped(value)}"' for key, value in labels.items()) + "}"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _label(name: str | None) -> str:
    """A name from outside as a label: control characters and invalid UTF-8 escaped; empty where it is not known."""
    return "" if name is None else printable(name)
