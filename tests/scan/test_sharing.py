"""Processes that share an fd table or a memory."""

import ctypes
import subprocess
import sys
from collections.abc import Iterable
from types import MappingProxyType

import pytest

from heaptop.capture import FdLink, FdStat, FdTable, ProcessCapture
from heaptop.scan import threads
from heaptop.scan.proc import ProcScan
from heaptop.scan.sharing import FD_SHARED, MAPS_SHARED, with_sharing

NEEDLE = b"/memfd:heaptop-sharing-test:"
SCAN = ProcScan("/proc", lambda link: link.startswith(NEEDLE), NEEDLE)

CLONES = """
import ctypes, os, signal, sys
libc = ctypes.CDLL(None)
os.ftruncate(fd := os.memfd_create("heaptop-sharing-test:x"), 4096)
os.dup2(fd, 70); os.close(fd)
CLONE_FILES = 0x400
if libc.syscall(56, CLONE_FILES | signal.SIGCHLD, 0, 0, 0, 0) == 0:
    libc.pause(); os._exit(0)
if os.fork() == 0:
    libc.pause(); os._exit(0)
print(*open(f"/proc/self/task/{os.getpid()}/children").read().split(), flush=True)
input()
os.killpg(0, signal.SIGKILL)
"""


def test_real_processes() -> None:
    """One child shares the table with its parent, the other has a copy of it."""
    if not sys.platform.startswith("linux") or threads._number is None or ctypes.sizeof(ctypes.c_void_p) != 8:
        pytest.skip("no kcmp here")
    if threads._number != 312:
        pytest.skip("clone(2) has another number here")
    command = [sys.executable, "-c", CLONES]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True) as process:
        assert process.stdout is not None
        sharing, copying = map(int, process.stdout.readline().split())
        found = [SCAN.process(pid) for pid in (process.pid, sharing, copying)]
        noted = with_sharing([each for each in found if each is not None])
        process.communicate(b"\n")
    files = {each.pid: each.files for each in noted}
    assert files.keys() == {process.pid, sharing, copying}
    assert files[sharing][FD_SHARED] == b"%d\n" % process.pid
    assert [pid for pid in files if FD_SHARED in files[pid]] == [sharing]
    assert not any(MAPS_SHARED in each for each in files.values())


def process_of(pid: int, inode: int | None, maps: bytes = b"") -> ProcessCapture:
    links = () if inode is None else (FdLink(3, b"/dmabuf:", FdStat((0, 11), inode, 4096, 0, 1, 0)),)
    return ProcessCapture(pid, MappingProxyType({"maps": maps}), FdTable(links))


def test_only_what_looks_alike_is_compared() -> None:
    asked = []

    def sharers(pids: Iterable[int], what: int) -> dict[int, int]:
        asked.append((tuple(pids), what))
        return {5: 4} if what == threads.FILES else {7: 6}

    processes = [process_of(1, 9), process_of(2, None), process_of(3, None), process_of(4, 8), process_of(5, 8)]
    processes += [process_of(6, 1, b"map"), process_of(7, 2, b"map")]
    noted = with_sharing(processes, sharers)
    assert asked == [((4, 5), threads.FILES), ((6, 7), threads.MEMORY)]
    assert [each.files.get(FD_SHARED) for each in noted] == [None, None, None, None, b"4\n", None, None]
    assert [each.files.get(MAPS_SHARED) for each in noted] == [None] * 6 + [b"6\n"]
    assert noted[0] is processes[0]


def test_many_that_share_are_found_in_few_comparisons(monkeypatch: pytest.MonkeyPatch) -> None:
    """1,000 processes with 10 tables between them: N log N, not N squared."""
    calls = 0

    def kcmp(one: int, other: int, what: int) -> int:
        nonlocal calls
        calls += 1
        return 0 if one % 10 == other % 10 else 1 if one % 10 < other % 10 else 2

    monkeypatch.setattr(threads, "_kcmp", kcmp)
    found = threads.sharers(range(1000, 0, -1), threads.FILES)
    assert found == {pid: pid % 10 or 10 for pid in range(11, 1001)}
    assert calls < 15_000


def test_without_kcmp_nothing_is_shared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "_number", None)
    assert threads.sharers([1, 2], threads.FILES) == {}
