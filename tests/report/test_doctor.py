"""What doctor makes of a capture: what is there, what can be read, and the one command for the rest."""

import errno
from dataclasses import replace

import pytest

from heaptop import recording
from heaptop.capture import Capture, FdTable, ProcessCapture, Raw, ReadError
from heaptop.report.doctor import AS_ROOT, EMULATOR, MOUNT_DEBUGFS, Check, Probes, examine, render
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
    checks = checks_of(capture_of(), replace(USER, debugfs_mounted=False))
    assert checks["/dev/dma_heap"].there is False
    assert checks["/dev/dma_heap"].remedy == EMULATOR
    assert checks["bufinfo"].remedy == MOUNT_DEBUGFS
    assert checks["debugfs"].remedy == MOUNT_DEBUGFS
    assert (checks["sysfs cma"].there, checks["sysfs cma"].remedy) == (False, "")


def test_a_plain_user() -> None:
    denied = tuple(ProcessCapture(pid, {"maps": DENIED}, FdTable(error=DENIED)) for pid in range(1, 413))
    checks = checks_of(capture_of(denied, sys__kernel__debug=DENIED, proc__meminfo=b"MemTotal: 1 kB\n"))
    assert checks["bufinfo"] == replace(
        checks["bufinfo"], there=None, readable=False, detail="EACCES (Permission denied)", remedy=AS_ROOT
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


def test_bpf_needs_both_its_capabilities() -> None:
    only_bpf = replace(USER, capabilities=1 << 39)
    assert checks_of(capture_of(), only_bpf)["BPF iterator"].readable is False
    both = replace(USER, capabilities=1 << 39 | 1 << 38)
    assert checks_of(capture_of(), both)["BPF iterator"].readable is True
    assert checks_of(capture_of(), replace(USER, bpf_iterator=None))["BPF iterator"].readable is None


def test_a_locked_node_is_there_all_the_same() -> None:
    capture = replace(capture_of(), files={"dev.ls": b"/dev/dma_heap:\n"})
    found = checks_of(capture, replace(USER, locked_heaps=("system",)), ("reserved", "system"))["/dev/dma_heap"]
    assert (found.there, found.readable, found.remedy) == (True, False, AS_ROOT)
    assert found.detail == "not open to uid 1000: system"
    assert checks_of(capture, USER, ("reserved", "system"))["/dev/dma_heap"].detail == "reserved, system"


def test_an_unreadable_dev_is_no_absence() -> None:
    found = checks_of(replace(capture_of(), files={"dev.ls": DENIED}))["/dev/dma_heap"]
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
    assert text.splitlines()[-3:] == [
        "To get the rest:",
        f"  {EMULATOR}    # /dev/dma_heap, sysfs heaps",
        f"  {AS_ROOT}    # bufinfo, debugfs cma, BPF iterator, capabilities",
    ]
