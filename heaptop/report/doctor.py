"""What a source lets heaptop read, and the one command that gets the rest. Judged from a capture and a few probes."""

import errno
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from heaptop.capture import Capture, ReadError
from heaptop.errors import errno_text
from heaptop.model import Snapshot
from heaptop.report.json import Json, head
from heaptop.report.table import Column, Look, Row, draw

AS_ROOT: Final = "sudo heaptop"
MOUNT_DEBUGFS: Final = "sudo mount -t debugfs none /sys/kernel/debug"
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


@dataclass(frozen=True, slots=True)
class Probes:
    """What only a look at the running kernel tells: `capabilities` is the effective set as /proc/self/status has it,
    `locked_heaps` are nodes that this user may not open.
    """

    uid: int
    capabilities: int
    debugfs_mounted: bool
    bpf_iterator: bool | None
    locked_heaps: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Check:
    """One source of facts. `there` and `readable` are None where this cannot be told."""

    name: str
    there: bool | None
    readable: bool | None
    detail: str
    adds: str
    remedy: str


def _read(name: str, adds: str, detail: str) -> Check:
    return Check(name, there=True, readable=True, detail=detail, adds=adds, remedy="")


def _absent(name: str, adds: str, detail: str, remedy: str = "") -> Check:
    return Check(name, there=False, readable=False, detail=detail, adds=adds, remedy=remedy)


def _refused(name: str, adds: str, detail: str, remedy: str = "") -> Check:
    """It cannot be read, so nobody can tell whether it is there."""
    return Check(name, there=None, readable=False, detail=detail, adds=adds, remedy=remedy)


@dataclass(frozen=True, slots=True)
class _Place:
    """A file or tree of the kernel: what it adds, and the remedy where the kernel does not have it."""

    name: str
    path: str
    adds: str
    absent: str = ""


_PLACES: Final = (
    _Place("sysfs heaps", "sys/class/dma_heap", "the heaps, without a look at /dev", EMULATOR),
    _Place("bufinfo", "sys/kernel/debug/dma_buf/bufinfo", "every buffer, file counts, attachments, fences"),
    _Place("sysfs dmabuf", "sys/kernel/dmabuf/buffers", "every buffer without root (5.14 to 6.19, DMABUF_SYSFS_STATS)"),
    _Place("debugfs cma", "sys/kernel/debug/cma", "the bitmap of each CMA area"),
    _Place("sysfs cma", "sys/kernel/mm/cma", "sizes and counters of each CMA area without root (5.13 on, CMA_SYSFS)"),
    _Place("meminfo", "proc/meminfo", "memory available, CMA total and free"),
    _Place("vmstat", "proc/vmstat", "CMA allocations that succeeded and failed (5.13 on)"),
)


def examine(capture: Capture, heaps: Iterable[str], probes: Probes | None) -> tuple[Check, ...]:
    """Every source in turn. `heaps` are those that the capture tells of; `probes` is None for a source that is not
    this kernel: remedies would be no help there.
    """
    checks = [_nodes(capture, tuple(heaps), probes), *(_place(capture, place, probes) for place in _PLACES)]
    checks += [_tables(capture, probes), _maps(capture, probes)]
    if probes is None:
        return tuple(Check(c.name, c.there, c.readable, c.detail, c.adds, "") for c in checks)
    return (*checks, _debugfs(probes), _bpf(probes), _capabilities(probes))


def _nodes(capture: Capture, heaps: tuple[str, ...], probes: Probes | None) -> Check:
    adds = "the heaps to allocate from"
    listing = capture.files.get("dev.ls")
    locked = () if probes is None else probes.locked_heaps
    if isinstance(listing, bytes) and b"/dev/dma_heap:" in listing:
        if not locked:
            return _read("/dev/dma_heap", adds, ", ".join(heaps))
        detail = f"not open to uid {probes.uid if probes else 0}: {', '.join(locked)}"
        return Check("/dev/dma_heap", there=True, readable=False, detail=detail, adds=adds, remedy=AS_ROOT)
    if isinstance(listing, ReadError) and listing.errno != errno.ENOENT:
        return _refused("/dev/dma_heap", adds, errno_text(listing.errno), AS_ROOT)
    return _absent("/dev/dma_heap", adds, "no such folder: CONFIG_DMABUF_HEAPS is not set", EMULATOR)


def _place(capture: Capture, place: _Place, probes: Probes | None) -> Check:
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
    return _of_processes(capture, probes, "fd tables", denied, "who holds a buffer by descriptor, its name and count")


def _maps(capture: Capture, probes: Probes | None) -> Check:
    denied = sum(isinstance(process.files.get("maps"), ReadError) for process in capture.processes)
    return _of_processes(capture, probes, "maps", denied, "who holds a buffer by mapping alone")


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


def _bpf(probes: Probes) -> Check:
    words = {True: "the kernel has it", False: "older than 6.16, or built without it", None: "no BTF tells"}
    able = bool(probes.capabilities & (1 << 21)) or not ~probes.capabilities & (1 << 38 | 1 << 39)
    readable = probes.bpf_iterator and able
    remedy = AS_ROOT if probes.bpf_iterator and not able else ""
    adds = "every buffer without debugfs, exact names, where buffers lie in memory"
    return Check("BPF iterator", probes.bpf_iterator, readable, words[probes.bpf_iterator], adds, remedy)


def _capabilities(probes: Probes) -> Check:
    detail = f"uid {probes.uid}, " + (" ".join(_held(probes)) or "none that matter")
    enough = _traces_all(probes)
    remedy = "" if enough else AS_ROOT
    adds = "other users' processes"
    return Check("capabilities", there=enough, readable=enough, detail=detail, adds=adds, remedy=remedy)


def document(checks: Iterable[Check], snapshot: Snapshot) -> Json:
    """The checks as the document of `doctor --json`."""
    items = [
        {
            "name": check.name,
            "there": check.there,
            "readable": check.readable,
            "detail": check.detail,
            "adds": check.adds,
            "remedy": check.remedy,
        }
        for check in checks
    ]
    return {**head(snapshot), "checks": items}


def render(checks: Iterable[Check], heading: str, look: Look) -> str:
    """A table of the checks, then the commands that get what is missing."""
    rows = [Row((c.name, _word(c.there), _word(c.readable), c.detail, c.adds)) for c in checks]
    columns = (
        Column("Source", worth=9),
        Column("There", worth=8),
        Column("Readable", worth=8),
        Column("Found", flexible=True, worth=7),
        Column("Tells", flexible=True, worth=5),
    )
    wanted: dict[str, list[str]] = {}
    for check in checks:
        if check.remedy:
            wanted.setdefault(check.remedy, []).append(check.name)
    lines = [f"  {remedy}    # {', '.join(names)}\n" for remedy, names in wanted.items()]
    more = "To get the rest:\n" + "".join(lines) if lines else ""
    return f"{heading}\n{draw(columns, rows, look)}{more}"


def _word(value: bool | None) -> str:
    return {True: "yes", False: "no", None: "~"}[value]
