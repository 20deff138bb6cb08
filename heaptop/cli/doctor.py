"""`heaptop doctor`: what can be read here, what it costs, and how to get the rest."""

import os
import re
import time
from collections.abc import Iterable, Mapping
from typing import Final

from heaptop.assemble import assemble
from heaptop.backend.base import Backend, whole_capture
from heaptop.capture import Capture
from heaptop.cli.options import Options
from heaptop.cli.output import emit, look_of
from heaptop.cli.source import opened
from heaptop.errors import Exit, SourceError, UsageError
from heaptop.model import Snapshot
from heaptop.report.doctor import Check, Cost, Probes, Scan, Watch, examine
from heaptop.report.doctor_text import document, items, render
from heaptop.scan.holders import BTF, PLAIN, find_chunks
from heaptop.scan.proc import ProcScan
from heaptop.sources import SOURCES, source_of
from heaptop.units import printable
from heaptop.watching import event_source

BPF_ITERATOR: Final = b"\0bpf_iter__dmabuf\0"
"""The iterator's context in the kernel's BTF strings (kernel/bpf/dmabuf_iter.c, 6.16 on)."""
_PASSES: Final = {"fd": ("fd", "fdinfo", "tasks"), "maps": ("maps",)}
"""The passes over all processes, whose texts are too many to be counted."""
_ALL_USERS: Final = ["0", "0", "4294967295"]
"""/proc/self/uid_map in the first user namespace."""
_TRACEFS: Final = ("sys/kernel/tracing", "sys/kernel/debug/tracing")


MANUAL: Final = {
    "doctor": "For each source of facts whether it is there, whether it can be read, what one reading takes, what it "
    "tells, and the command or kernel option that gets what is missing. It looks at the kernel where -b says nothing.",
}


def run(options: Options) -> int:
    """Look at the kernel (or at what -b names) and say what it lets heaptop read.

    Raises:
        SourceError, RecordingError: the source cannot be opened.
    """
    if options.backend == "auto":
        options.backend = "kernel"
    with opened(options) as backend:
        capture = whole_capture(backend)
        is_kernel = backend.source == "kernel"
        watch = _watch(backend, options.root)
        scan = _scan() if is_kernel and options.root == "/" else None
    snapshot = assemble(capture)
    heaps = tuple(heap.name for heap in snapshot.heaps)
    if is_kernel:
        checks = examine(capture, heaps, _probe(options.root), _costs(options, capture), watch, scan=scan)
    else:
        checks = examine(capture, heaps, None, watch=watch)
    _print(checks, snapshot, options)
    return Exit.OK if any(check.readable for check in checks) else Exit.UNAVAILABLE


def _print(checks: tuple[Check, ...], snapshot: Snapshot, options: Options) -> None:
    if options.json:
        from heaptop.report import json

        emit(json.dumps(document(checks, snapshot)))
    elif options.csv:
        from heaptop.report import csv

        found = items(checks)
        emit(csv.dumps([tuple(found[0]), *(tuple(item.values()) for item in found)]))
    else:
        readable = sum(bool(check.readable) for check in checks)
        heading = printable(f"{snapshot.source} ({snapshot.kernel or '~'}): {readable} of {len(checks)} can be read")
        emit(render(checks, heading, look_of(options)))


def _costs(options: Options, capture: Capture) -> Mapping[str, Cost]:
    """One reading of each source: the time of a look with it alone, less that of a look without any."""
    base_ms = _time_ms(options, ())
    costs = {}
    for name in SOURCES.keys() - {"fdinfo", "tasks"}:
        raws = [raw for path, raw in capture.files.items() if source_of(path) == name and isinstance(raw, bytes)]
        if raws or name in _PASSES:
            time_ms = max(0.0, _time_ms(options, _PASSES.get(name, (name,))) - base_ms)
            costs[name] = Cost(time_ms, None if name in _PASSES else sum(map(len, raws)))
    return costs


def _time_ms(options: Options, names: Iterable[str]) -> float:
    options.off = frozenset(SOURCES).difference(names)
    with opened(options) as backend:
        if "bpf" in names:
            backend.capture()  # the program is made once
        return _timed_ms(backend)


def _timed_ms(backend: Backend) -> float:
    began = time.perf_counter()
    backend.capture()
    return (time.perf_counter() - began) * 1000


def _watch(backend: Backend, root: str) -> Watch | None:
    """Begin to watch live events and end it again; None where the source has none."""
    try:
        source = event_source(backend, root, ask=lambda _job: {})
    except UsageError:
        return None
    began = time.perf_counter()
    try:
        source.start()
        watched, gaps = source.watched, tuple(gap.what for gap in source.gaps)
    except SourceError as error:
        return Watch((), (), 0.0, error.why, isinstance(error.__cause__, PermissionError))
    finally:
        source.stop()
    return Watch(watched, gaps, (time.perf_counter() - began) * 1000)


def _scan() -> Scan:
    """Look at this very process in the quickest way."""
    began = time.perf_counter()
    chunks = find_chunks(ProcScan(), is_worth_it=True)
    if chunks is None:
        return Scan(PLAIN, "", os.path.exists(BTF), 0)
    try:
        list(chunks.each([os.getpid()], complete=False))
        return Scan(*chunks.way, os.path.exists(BTF), (time.perf_counter() - began) * 1000)
    finally:
        chunks.close()


def _probe(root: str) -> Probes:
    status = _text(root, "proc/self/status")
    effective = re.search(r"^CapEff:\s*([0-9a-f]+)$", status, re.MULTILINE)
    mounts = _text(root, "proc/mounts")
    users = _text(root, "proc/self/uid_map").split()
    is_inside = bool(users) and users != _ALL_USERS
    paranoid = _text(root, "proc/sys/kernel/perf_event_paranoid").strip()
    return Probes(
        uid=os.geteuid(),
        capabilities=int(effective[1], 16) if effective and not is_inside else 0,
        debugfs_mounted=bool(re.search(r"^\S+ /sys/kernel/debug debugfs ", mounts, re.MULTILINE)),
        bpf_iterator=_has_bpf_iterator(os.path.join(root, "sys/kernel/btf/vmlinux")),
        tracefs_mounted=bool(re.search(r"^\S+ /sys/kernel/(debug/)?tracing tracefs ", mounts, re.MULTILINE)),
        tracepoints=_tracepoints(root),
        kprobes=os.path.exists(os.path.join(root, "sys/bus/event_source/devices/kprobe")),
        is_in_a_user_namespace=is_inside,
        perf_paranoid=int(paranoid) if re.fullmatch(r"-?\d{1,9}", paranoid) else None,
    )


def _text(root: str, path: str) -> str:
    try:
        with open(os.path.join(root, path), encoding="utf-8", errors="surrogateescape") as file:
            return file.read(1 << 20)
    except OSError:
        return ""


def _tracepoints(root: str) -> tuple[str, ...] | None:
    """Groups of tracepoints of dma-bufs and CMA; None where tracefs cannot be listed."""
    for folder in _TRACEFS:
        try:
            groups = os.listdir(os.path.join(root, folder, "events"))
        except OSError:
            continue
        return tuple(name for name in ("dma_buf", "cma") if name in groups)
    return None


def _has_bpf_iterator(path: str) -> bool | None:
    try:
        with open(path, "rb") as file:
            return BPF_ITERATOR in file.read(64 << 20)
    except OSError:
        return None
