"""What doctor makes of a capture: what is there, what can be read, and the one command for the rest."""

import errno

import pytest

from heaptop import recording
from heaptop.capture import Capture, FdTable, ProcessCapture, Raw, ReadError
from heaptop.report.doctor import (
    ADD_UDEV_RULE,
    AS_ROOT,
    EMULATOR,
    MOUNT_DEBUGFS,
    MOUNT_TRACEFS,
    SHOW_PROCESSES,
    Check,
    Cost,
    Probes,
    Scan,
    Watch,
    examine,
)
from heaptop.report.doctor_text import render
from heaptop.report.table import Look
from tests.support import archive

USER = Probes(uid=1000, capabilities=0, debugfs_mounted=True, bpf_iterator=True)
ROOT = Probes(uid=0, capabilities=(1 << 41) - 1, debugfs_mounted=True, bpf_iterator=True)
DENIED = ReadError("open", errno.EACCES)


def capture_of(processes: tuple[ProcessCapture, ...] = (), **files: Raw) -> Capture:
    return Capture("kernel", None, {path.replace("__", "/"): raw for path, raw in files.items()}, {}, processes, 430)


def checks_of(capture: Capture, probes: Probes | None = USER, heaps: tuple[str, ...] = ()) -> dict[str, Check]:
    return {check.name: check for check in examine(capture, heaps, probes)}


def test_a_kernel_without_heaps() -> None:
    checks = checks_of(capture_of(), USER._replace(debugfs_mounted=False))
    assert checks["/dev/dma_heap"].there is False
    assert checks["/dev/dma_heap"].remedy == EMULATOR
    assert checks["bufinfo"].remedy == MOUNT_DEBUGFS
    assert checks["debugfs"].remedy == MOUNT_DEBUGFS
    assert checks["sysfs cma"].there is False
    assert "CONFIG_CMA_SYSFS" in checks["sysfs cma"].remedy


def test_a_plain_user() -> None:
    denied = tuple(ProcessCapture(pid, {"maps": DENIED}, FdTable(error=DENIED)) for pid in range(1, 413))
    checks = checks_of(capture_of(denied, sys__kernel__debug=DENIED, proc__meminfo=b"MemTotal: 1 kB\n"))
    assert checks["bufinfo"] == checks["bufinfo"]._replace(
        there=None, readable=False, detail="EACCES (Permission denied)", remedy=AS_ROOT
    )
    assert checks["fd tables"].detail == "412 of 430 processes are not yours to read"
    assert (checks["fd tables"].readable, checks["fd tables"].remedy) == (True, AS_ROOT)
    assert (checks["meminfo"].there, checks["meminfo"].readable, checks["meminfo"].remedy) == (True, True, "")
    assert (checks["BPF iterator"].readable, checks["BPF iterator"].remedy) == (False, AS_ROOT)
    assert checks["capabilities"].detail == "uid 1000, none that matter"


def test_root() -> None:
    checks = checks_of(capture_of(), ROOT)
    assert (checks["BPF iterator"].readable, checks["BPF iterator"].remedy) == (True, "")
    assert (checks["capabilities"].readable, checks["capabilities"].remedy) == (True, "")
    assert "CAP_SYS_PTRACE" in checks["capabilities"].detail


@pytest.mark.parametrize(
    ("scan", "probes", "expected"),
    [
        (Scan("BPF", "", has_types=True, time_ms=9), ROOT, (True, True, "looked at by BPF", "")),
        (
            Scan("PROCMAP_QUERY", "EPERM", has_types=True, time_ms=9),
            USER,
            (True, False, "PROCMAP_QUERY: EPERM", AS_ROOT),
        ),
        (Scan("PROCMAP_QUERY", "refused", has_types=True, time_ms=9), ROOT, (True, False, ": refused", "")),
        (
            Scan("the text of maps", "", has_types=False, time_ms=9),
            ROOT,
            (False, False, "by the text of maps", "CONFIG_"),
        ),
    ],
)
def test_how_processes_are_looked_at(scan: Scan, probes: Probes, expected: tuple[bool, bool, str, str]) -> None:
    (check,) = (each for each in examine(capture_of(), (), probes, scan=scan) if each.name == "BPF scan")
    there, readable, detail, remedy = expected
    assert (check.there, check.readable) == (there, readable)
    assert check.detail.endswith(detail)
    assert remedy in check.remedy
    assert bool(check.remedy) is bool(remedy)
    assert (check.cost == Cost(9)) is scan.is_by_bpf


def test_bpf_needs_both_its_capabilities() -> None:
    only_bpf = USER._replace(capabilities=1 << 39)
    assert checks_of(capture_of(), only_bpf)["BPF iterator"].readable is False
    both = USER._replace(capabilities=1 << 39 | 1 << 38)
    assert checks_of(capture_of(), both)["BPF iterator"].readable is True
    assert checks_of(capture_of(), USER._replace(bpf_iterator=None))["BPF iterator"].readable is None


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        (b"ino\n", (True, True, "the kernel has it", "")),
        (ReadError("bpf", errno.EPERM), (True, False, "the kernel has it, EPERM (Operation not permitted)", AS_ROOT)),
    ],
)
def test_bpf_is_judged_by_what_it_said(told: Raw, expected: tuple[object, ...]) -> None:
    found = checks_of(capture_of(bpf__dmabuf_iter=told))["BPF iterator"]
    assert (found.there, found.readable, found.detail, found.remedy) == expected


@pytest.mark.parametrize("option", ["hidepid=2", "gid=3,hidepid=invisible"])
def test_hidepid(option: str) -> None:
    mounts = f"sysfs /sys sysfs rw 0 0\nproc /proc proc rw,nosuid,{option} 0 0\n".encode()
    found = checks_of(capture_of(proc__mounts=mounts))["all processes"]
    assert (found.readable, found.remedy) == (False, SHOW_PROCESSES)
    plain = mounts.replace(option.encode(), b"hidepid=off")
    assert checks_of(capture_of(proc__mounts=plain))["all processes"].readable


def test_a_pid_namespace() -> None:
    inside = capture_of()._replace(links={"proc/self/ns/pid": b"pid:[4026532001]"})
    assert checks_of(inside)["all processes"].readable is False


def test_tracing() -> None:
    assert checks_of(capture_of())["tracepoints"].remedy == MOUNT_TRACEFS
    mounted = ROOT._replace(tracefs_mounted=True)
    assert checks_of(capture_of(), mounted)["tracepoints"].remedy == AS_ROOT
    assert checks_of(capture_of(), mounted._replace(tracepoints=()))["tracepoints"].there is False
    assert checks_of(capture_of(), mounted._replace(tracepoints=("cma",)))["tracepoints"].readable is True
    assert "CONFIG_KPROBE_EVENTS" in checks_of(capture_of(), ROOT)["kprobes"].remedy
    assert checks_of(capture_of(), USER._replace(kprobes=True))["kprobes"].remedy == AS_ROOT


def test_costs_are_those_of_the_source() -> None:
    found = {each.name: each for each in examine(capture_of(), (), USER, {"bufinfo": Cost(1.25, 2048)})}
    assert found["bufinfo"].cost == Cost(1.25, 2048)
    assert [each.name for each in found.values() if each.cost is not None] == ["bufinfo"]
    assert "1.2 ms, 2.00 KiB" in render(found.values(), "kernel", Look())


def test_a_locked_node_is_there_all_the_same() -> None:
    capture = capture_of()._replace(files={"dev.ls": b"/dev/dma_heap:\n"})
    locked = capture._replace(files={**capture.files, "dev/dma_heap/system": DENIED})
    found = checks_of(locked, USER, ("reserved", "system"))["/dev/dma_heap"]
    assert (found.there, found.readable, found.remedy) == (True, False, ADD_UDEV_RULE)
    assert found.detail == "not open to uid 1000: system"
    assert checks_of(capture, USER, ("reserved", "system"))["/dev/dma_heap"].detail == "reserved, system"


def test_an_unreadable_dev_is_no_absence() -> None:
    found = checks_of(capture_of()._replace(files={"dev.ls": DENIED}))["/dev/dma_heap"]
    assert (found.there, found.readable, found.remedy) == (None, False, AS_ROOT)


def test_other_errors_have_no_false_remedy() -> None:
    found = checks_of(capture_of(sys__kernel__debug__dma_buf__bufinfo=ReadError("read", errno.EIO)))["bufinfo"]
    assert (found.there, found.detail, found.remedy) == (None, "EIO (Input/output error)", "")


def test_a_recording_gets_no_remedies(capture_name: str) -> None:
    capture = recording.read(str(archive(capture_name)))
    checks = checks_of(capture, None)
    assert all(check.remedy == "" for check in checks.values())
    assert checks["bufinfo"].readable
    assert "capabilities" not in checks


@pytest.mark.parametrize("width", [None, 80])
def test_each_remedy_is_told_once(width: int | None) -> None:
    checks = examine(capture_of(sys__kernel__debug=DENIED), (), USER)
    text = render(checks, "kernel", Look(width=width))
    told = text.partition("To get the rest:\n")[2].splitlines()
    assert told[:2] == [
        f"  {EMULATOR}    # /dev/dma_heap, sysfs heaps",
        f"  {AS_ROOT}    # bufinfo, debugfs cma, BPF iterator, capabilities",
    ]
    remedies = [line.partition("    # ")[0] for line in told]
    assert len(set(remedies)) == len(remedies)


def live_events(watch: Watch | None) -> Check | None:
    checks = examine(capture_of(), (), ROOT, watch=watch)
    return next((check for check in checks if check.name == "live events"), None)


def test_live_events_with_what_they_cost() -> None:
    found = live_events(Watch(("cma:cma_alloc_finish", "dma_heap_ioctl()"), ("frees",), 3.5))
    assert found is not None
    assert (found.there, found.readable, found.cost) == (True, True, Cost(3.5))
    assert found.detail == "cma:cma_alloc_finish, dma_heap_ioctl(); without frees"


def test_live_events_that_cannot_be_had() -> None:
    denied = live_events(Watch((), (), 0.0, "watching the kernel is not permitted", is_denied=True))
    assert denied is not None
    assert (denied.there, denied.readable, denied.remedy) == (None, False, AS_ROOT)
    absent = live_events(Watch((), (), 0.0, "this kernel offers nothing to watch"))
    assert absent is not None
    assert absent.there is False
    assert "CONFIG_KPROBE_EVENTS" in absent.remedy
    assert live_events(None) is None


def test_places_without_the_iterator_are_told() -> None:
    pages: dict[str, Raw] = {"bpf__dmabuf_pages": b""}
    older = ROOT._replace(bpf_iterator=False)
    assert "over descriptors" in checks_of(capture_of((), **pages), older)["BPF iterator"].detail
    assert (
        "over descriptors" not in checks_of(capture_of((), **pages, bpf__dmabuf_iter=b""), ROOT)["BPF iterator"].detail
    )
