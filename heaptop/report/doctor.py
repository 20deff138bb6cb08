"""What a source lets heaptop read, and the one command that gets the rest. Judged from a capture and a few probes."""

import errno
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

from heaptop.assemble.limits import UDEV_RULE, hidden_by, is_in_a_pid_namespace, locked_heaps
from heaptop.capture import Capture, ReadError
from heaptop.errors import errno_text
from heaptop.sources import source_of

AS_ROOT: Final = "sudo heaptop"
MOUNT_DEBUGFS: Final = "sudo mount -t debugfs none /sys/kernel/debug"
MOUNT_TRACEFS: Final = "sudo mount -t tracefs none /sys/kernel/tracing"
SHOW_PROCESSES: Final = "sudo mount -o remount,hidepid=0 /proc"
ADD_UDEV_RULE: Final = f"echo '{UDEV_RULE}' | sudo tee /etc/udev/rules.d/60-dma-heap.rules"
EMULATOR: Final = "heaptop -b emulator"

CAPABILITIES: Final = {
    1: "CAP_DAC_OVERRIDE",
    2: "CAP_DAC_READ_SEARCH",
    19: "CAP_SYS_PTRACE",
    21: "CAP_SYS_ADMIN",
    38: "CAP_PERFMON",
    39: "CAP_BPF",
    40: "CAP_CHECKPOINT_RESTORE",
}
"""Those that open a source (linux/capability.h), by their bit."""


class Probes(NamedTuple):
    """What only a look at the running kernel tells: `capabilities` is the effective set as /proc/self/status has it,
    `tracepoints` those of dma-bufs and CMA, None where tracefs cannot be listed; `perf_paranoid` is
    kernel.perf_event_paranoid. In a user namespace below the first capabilities open none of the kernel's own files.
    """

    uid: int
    capabilities: int
    debugfs_mounted: bool
    bpf_iterator: bool | None
    tracefs_mounted: bool = False
    tracepoints: tuple[str, ...] | None = None
    kprobes: bool = False
    perf_paranoid: int | None = None
    is_in_a_user_namespace: bool = False


class Watch(NamedTuple):
    """How an attempt to watch live events ended: what is watched and what is missing then, or why there are none
    (`is_denied`: for want of permission). `time_ms` is what it took to begin and to end.
    """

    watched: tuple[str, ...]
    gaps: tuple[str, ...]
    time_ms: float
    why: str = ""
    is_denied: bool = False


class Scan(NamedTuple):
    """How processes are looked at here, why not by BPF where that failed, whether the kernel has the types that BPF
    takes, and what it took to begin.
    """

    way: str
    why: str
    has_types: bool
    time_ms: float

    @property
    def is_by_bpf(self) -> bool:
        """Which is the quickest way."""
        return self.way == "BPF"


class Cost(NamedTuple):
    """What one reading takes: wall time, and the size of the texts where there are any."""

    time_ms: float
    size_bytes: int | None = None


class Check(NamedTuple):
    """One source of facts. `there` and `readable` are None where this cannot be told, `cost` where it was not measured;
    `source` is its name for --source, None for what cannot be switched off.
    """

    name: str
    there: bool | None
    readable: bool | None
    detail: str
    adds: str
    remedy: str
    source: str | None = None
    cost: Cost | None = None


def _read(name: str, adds: str, detail: str) -> Check:
    return Check(name, there=True, readable=True, detail=detail, adds=adds, remedy="")


def _absent(name: str, adds: str, detail: str, remedy: str = "") -> Check:
    return Check(name, there=False, readable=False, detail=detail, adds=adds, remedy=remedy)


def _refused(name: str, adds: str, detail: str, remedy: str = "") -> Check:
    """It cannot be read, so nobody can tell whether it is there."""
    return Check(name, there=None, readable=False, detail=detail, adds=adds, remedy=remedy)


class _Place(NamedTuple):
    """A file or tree of the kernel: what it adds, and the remedy (or option) where the kernel does not have it."""

    name: str
    path: str
    adds: str
    absent: str = ""


def _built_with(options: str) -> str:
    return f"a kernel built with {options}"


_PLACES: Final = (
    _Place("sysfs heaps", "sys/class/dma_heap", "the heaps, without a look at /dev", EMULATOR),
    _Place(
        "bufinfo",
        "sys/kernel/debug/dma_buf/bufinfo",
        "every buffer, file counts, attachments, fences",
        _built_with("CONFIG_DEBUG_FS"),
    ),
    _Place(
        "sysfs dmabuf",
        "sys/kernel/dmabuf/buffers",
        "every buffer without root",
        _built_with("CONFIG_DMABUF_SYSFS_STATS (5.14 to 6.19)"),
    ),
    _Place(
        "debugfs cma",
        "sys/kernel/debug/cma",
        "the bitmap of each CMA area",
        _built_with("CONFIG_CMA and CONFIG_CMA_DEBUGFS"),
    ),
    _Place(
        "sysfs cma",
        "sys/kernel/mm/cma",
        "sizes and counters of each CMA area without root",
        _built_with("CONFIG_CMA and CONFIG_CMA_SYSFS (5.13 on)"),
    ),
    _Place("meminfo", "proc/meminfo", "memory available, CMA total and free"),
    _Place("vmstat", "proc/vmstat", "CMA allocations that succeeded and failed (5.13 on)"),
)


def examine(
    capture: Capture,
    heaps: Iterable[str],
    probes: Probes | None,
    costs: Mapping[str, Cost] = MappingProxyType({}),
    watch: Watch | None = None,
    *,
    scan: Scan | None = None,
) -> tuple[Check, ...]:
    """Every source in turn. `heaps` are those that the capture tells of; `probes` is None for a source that is not
    this kernel: remedies would be no help there. `costs` are by the names that --source takes; `watch` is None for a
    source that has no live events, `scan` for one that is not looked at here.
    """
    checks = [_nodes(capture, tuple(heaps), probes), *(_place(capture, place, probes) for place in _PLACES)]
    checks += [_tables(capture, probes), _maps(capture, probes)]
    if probes is None:
        checks = [check._replace(remedy="") for check in checks]
    else:
        checks += [_processes(capture), _debugfs(probes), _bpf(capture, probes)]
        checks += [] if scan is None else [_scan(scan, probes)]
        checks += [_tracepoints(probes), _kprobes(probes), _capabilities(probes)]
    told = tuple(check._replace(cost=check.cost or costs.get(check.source or "")) for check in checks)
    return told if watch is None else (*told, _live_events(watch))


def _nodes(capture: Capture, heaps: tuple[str, ...], probes: Probes | None) -> Check:
    adds = "the heaps to allocate from"
    listing = capture.files.get("dev.ls")
    locked = locked_heaps(capture)
    if isinstance(listing, bytes) and b"/dev/dma_heap:" in listing:
        if not locked:
            return _read("/dev/dma_heap", adds, ", ".join(heaps))
        detail = f"not open to uid {probes.uid if probes else 0}: {', '.join(locked)}"
        return Check("/dev/dma_heap", there=True, readable=False, detail=detail, adds=adds, remedy=ADD_UDEV_RULE)
    if isinstance(listing, ReadError) and listing.errno != errno.ENOENT:
        return _refused("/dev/dma_heap", adds, errno_text(listing.errno), AS_ROOT)
    return _absent("/dev/dma_heap", adds, "no such folder: CONFIG_DMABUF_HEAPS is not set", EMULATOR)


def _place(capture: Capture, place: _Place, probes: Probes | None) -> Check:
    return _look_at(capture, place, probes)._replace(source=source_of(place.path))


def _look_at(capture: Capture, place: _Place, probes: Probes | None) -> Check:
    prefix = place.path + "/"
    files = [raw for path, raw in capture.files.items() if path == place.path or path.startswith(prefix)]
    links = sum(path.startswith(prefix) for path in capture.links)
    texts = sum(isinstance(raw, bytes) for raw in files)
    if texts or links:
        what = "1 file" if texts + links == 1 else f"{texts + links} files"
        return _read(place.name, place.adds, what)
    errors = [raw for raw in files if isinstance(raw, ReadError)] or _ancestor_errors(capture, place.path)
    if errors and errors[0].errno != errno.ENOENT:
        denied = errors[0].errno in {errno.EACCES, errno.EPERM}
        return _refused(place.name, place.adds, errno_text(errors[0].errno), AS_ROOT if denied else "")
    if place.path.startswith("sys/kernel/debug") and probes is not None and not probes.debugfs_mounted:
        return _refused(place.name, place.adds, "debugfs is not mounted", MOUNT_DEBUGFS)
    why = "not in this capture" if probes is None else "this kernel does not have it"
    return _absent(place.name, place.adds, why, place.absent)


def _ancestor_errors(capture: Capture, path: str) -> list[ReadError]:
    found = []
    while path := path.rpartition("/")[0]:
        raw = capture.files.get(path)
        if isinstance(raw, ReadError):
            found.append(raw)
    return found


def _tables(capture: Capture, probes: Probes | None) -> Check:
    denied = sum(process.table.error is not None for process in capture.processes)
    adds = "who holds a buffer by descriptor, its name and count"
    return _of_processes(capture, probes, "fd tables", denied, adds)._replace(source="fd")


def _maps(capture: Capture, probes: Probes | None) -> Check:
    denied = sum(isinstance(process.files.get("maps"), ReadError) for process in capture.processes)
    return _of_processes(capture, probes, "maps", denied, "who holds a buffer by mapping alone")._replace(source="maps")


def _processes(capture: Capture) -> Check:
    """Whether /proc shows all of them: it may be mounted with hidepid, or show a pid namespace of its own."""
    name, adds = "all processes", "who else holds a buffer"
    hiding = hidden_by(capture)
    if hiding is not None:
        detail = f"/proc is mounted with {hiding}"
        return Check(name, there=True, readable=False, detail=detail, adds=adds, remedy=SHOW_PROCESSES)
    if is_in_a_pid_namespace(capture):
        detail = "this is a pid namespace of its own"
        return Check(name, there=True, readable=False, detail=detail, adds=adds, remedy="run heaptop outside of it")
    return _read(name, adds, "the first pid namespace, no hidepid")


def _of_processes(capture: Capture, probes: Probes | None, name: str, denied: int, adds: str) -> Check:
    seen = capture.processes_seen
    total = len(capture.processes) if seen is None else max(seen, len(capture.processes))
    if not total:
        return _refused(name, adds, "no process is seen")
    if not denied:
        return _read(name, adds, f"of all {total} processes")
    detail = f"{denied} of {total} processes are not yours to read"
    remedy = "" if probes is not None and _traces_all(probes) else AS_ROOT
    return Check(name, there=True, readable=denied < total, detail=detail, adds=adds, remedy=remedy)


def _held(probes: Probes) -> tuple[str, ...]:
    return tuple(name for bit, name in CAPABILITIES.items() if probes.capabilities >> bit & 1)


def _traces_all(probes: Probes) -> bool:
    """Whether any process's fds and maps are open to it (fs/proc/fd.c, fs/proc/task_mmu.c; all kernels read)."""
    held = _held(probes)
    return "CAP_SYS_PTRACE" in held and ("CAP_DAC_READ_SEARCH" in held or "CAP_DAC_OVERRIDE" in held)


def _debugfs(probes: Probes) -> Check:
    remedy = "" if probes.debugfs_mounted else MOUNT_DEBUGFS
    detail = "mounted" if probes.debugfs_mounted else "not mounted"
    return Check("debugfs", probes.debugfs_mounted, probes.debugfs_mounted, detail, "bufinfo and debugfs cma", remedy)


def _is_able(probes: Probes) -> bool:
    """Whether it may load programs that look into the kernel (kernel/bpf/syscall.c, 5.8 on)."""
    return bool(probes.capabilities & (1 << 21)) or not ~probes.capabilities & (1 << 38 | 1 << 39)


def _bpf(capture: Capture, probes: Probes) -> Check:
    told = capture.files.get("bpf/dmabuf_iter")
    if isinstance(told, ReadError):
        detail = f"the kernel has it, {errno_text(told.errno)}"
    elif probes.bpf_iterator is None:
        detail = "no BTF tells"
    else:
        detail = "the kernel has it" if probes.bpf_iterator else "older than 6.16, or built without it"
        if told is None and isinstance(capture.files.get("bpf/dmabuf_pages"), bytes):
            detail += "; the one over descriptors tells where buffers lie that are held by one"
    is_there = True if told is not None else probes.bpf_iterator
    is_read = isinstance(told, bytes) or (told is None and bool(probes.bpf_iterator) and _is_able(probes))
    remedy = ""
    if is_there and not is_read:
        remedy = "" if _is_able(probes) else AS_ROOT
    elif not is_there:
        remedy = _built_with("CONFIG_BPF_SYSCALL and CONFIG_DEBUG_INFO_BTF (6.16 on)")
    adds = "every buffer without debugfs, exact names, where buffers lie in memory"
    readable = is_read if is_there is not None else None
    return Check("BPF iterator", is_there, readable, detail, adds, remedy, source="bpf")


def _scan(scan: Scan, probes: Probes) -> Check:
    """The ways to look at processes tell the same, and differ in what they cost."""
    name, adds = "BPF scan", "who holds buffers, in a fraction of the time"
    detail = f"processes are looked at by {scan.way}"
    if scan.is_by_bpf:
        return _read(name, adds, detail)._replace(cost=Cost(scan.time_ms))
    if not scan.has_types:
        return _absent(name, adds, detail, _built_with("CONFIG_BPF_SYSCALL and CONFIG_DEBUG_INFO_BTF (5.12 on)"))
    detail += f": {scan.why}" if scan.why else ""
    remedy = "" if _is_able(probes) else AS_ROOT
    return Check(name, there=True, readable=False, detail=detail, adds=adds, remedy=remedy)


def _tracepoints(probes: Probes) -> Check:
    name, adds = "tracepoints", "live events of allocations, and of CMA"
    if not probes.tracefs_mounted:
        return _refused(name, adds, "tracefs is not mounted", MOUNT_TRACEFS)
    if probes.tracepoints is None:
        return _refused(name, adds, "tracefs is not open to this user", AS_ROOT)
    if not probes.tracepoints:
        return _absent(name, adds, "none of dma_buf or cma", _built_with("CONFIG_EVENT_TRACING and CONFIG_CMA"))
    found = Check(name, there=True, readable=True, detail=", ".join(probes.tracepoints), adds=adds, remedy="")
    return found if _is_able(probes) else found._replace(readable=False, remedy=AS_ROOT)


def _kprobes(probes: Probes) -> Check:
    name, adds = "kprobes", "live events where there is no tracepoint"
    if not probes.kprobes:
        return _absent(name, adds, "the kernel has none", _built_with("CONFIG_KPROBE_EVENTS"))
    paranoid = "" if probes.perf_paranoid is None else f", kernel.perf_event_paranoid is {probes.perf_paranoid}"
    found = Check(name, there=True, readable=True, detail=f"the kernel has them{paranoid}", adds=adds, remedy="")
    return found if _is_able(probes) else found._replace(readable=False, remedy=AS_ROOT)


def _live_events(watch: Watch) -> Check:
    name, adds = (
        "live events",
        "each allocation and free as it happens, who did it, CMA failures; `events`, and e in the app",
    )
    if watch.is_denied:
        return _refused(name, adds, watch.why, AS_ROOT)
    if not watch.watched:
        return _absent(name, adds, watch.why, _built_with("CONFIG_BPF_EVENTS and CONFIG_KPROBE_EVENTS (5.8 on)"))
    missing = "".join(f"; without {gap}" for gap in watch.gaps)
    found = _read(name, adds, ", ".join(watch.watched) + missing)
    return found._replace(cost=Cost(watch.time_ms))


def _capabilities(probes: Probes) -> Check:
    detail = f"uid {probes.uid}, " + (" ".join(_held(probes)) or "none that matter")
    enough = _traces_all(probes)
    remedy = "" if enough else AS_ROOT
    if probes.is_in_a_user_namespace:
        detail = f"uid {probes.uid} of a user namespace: its capabilities count in there alone"
        remedy = "run heaptop outside of it"
    adds = "other users' processes"
    return Check("capabilities", there=enough, readable=enough, detail=detail, adds=adds, remedy=remedy)
