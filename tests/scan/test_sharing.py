"""Processes that share an fd table or a memory."""

import ctypes
import subprocess
import sys
from collections.abc import Mapping
from types import MappingProxyType

import pytest
from hypothesis import given
from hypothesis.strategies import booleans, integers, lists, sampled_from, tuples

from heaptop.capture import FdLink, FdStat, FdTable, ProcessCapture
from heaptop.scan import threads
from heaptop.scan.alike import Alike, Compare
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


def numbers(tables: Mapping[int, int], asked: list[tuple[int, int]] | None = None) -> Compare:
    """Compares processes by a number that each has; tells nothing of one that has none."""

    def compare(one: int, other: int, _what: int) -> int | None:
        if asked is not None:
            asked.append((one, other))
        mine, theirs = tables.get(one), tables.get(other)
        return None if mine is None or theirs is None else (mine > theirs) - (mine < theirs)

    return compare


def test_only_what_looks_alike_is_compared() -> None:
    asked: list[tuple[int, int]] = []
    processes = [process_of(1, 9), process_of(2, None), process_of(3, None), process_of(4, 8), process_of(5, 8)]
    processes += [process_of(6, 1, b"map"), process_of(7, 2, b"map")]
    noted = with_sharing(processes, numbers(dict.fromkeys(range(8), 0), asked))
    assert set(asked) == {(4, 5), (6, 7)}
    assert [each.files.get(FD_SHARED) for each in noted] == [None, None, None, None, b"4\n", None, None]
    assert [each.files.get(MAPS_SHARED) for each in noted] == [None] * 6 + [b"6\n"]
    assert noted[0] is processes[0]


def test_many_that_share_are_found_in_few_comparisons() -> None:
    """1,000 processes with 10 tables between them: N log N, not N squared; and one more costs log N."""
    asked: list[tuple[int, int]] = []
    tables = {pid: pid % 10 for pid in range(1, 1002)}
    alike = Alike(threads.FILES, numbers(tables, asked))
    for pid in range(1000, 0, -1):
        alike.note(pid, "a")
    assert alike.settle()
    assert alike.lower == {pid: pid % 10 or 10 for pid in range(11, 1001)}
    assert len(asked) < 15_000
    asked.clear()
    alike.note(1001, "a")
    assert alike.settle()
    assert alike.lower[1001] == 1
    assert len(asked) < 12
    assert not alike.settle()


def test_what_nothing_is_told_of_is_shared_with_nobody() -> None:
    """All of them (no kcmp here), the first (it has ended since), the new one."""
    tables: dict[int, int] = {}
    alike = Alike(threads.FILES, numbers(tables))
    for _ in range(2):
        for pid in (1, 2):
            alike.note(pid, "a")
        assert not alike.settle()
    tables |= {1: 5, 2: 5, 3: 5}
    for pid in (1, 2):
        alike.note(pid, "a")
    assert alike.settle()
    assert alike.lower == {2: 1}
    del tables[1]
    for pid in (3, 4):
        alike.note(pid, "a")
    assert alike.settle()
    assert alike.lower == {3: 2}
    assert alike.together([3]) == {2, 3}


@given(lists(tuples(integers(1, 6), integers(0, 2), sampled_from(["a", "b", None]), booleans()), max_size=60))
def test_kept_up_to_date_is_as_made_anew(steps: list[tuple[int, int, str | None, bool]]) -> None:
    """However tables change hands: a process gets another one by running alone, so it is noted then."""
    tables: dict[int, int] = {}
    keys: dict[int, str] = {}
    alike = Alike(threads.FILES, numbers(tables))
    before: dict[int, int] = {}
    for pid, table, key, settles in steps:
        tables[pid] = table
        keys.pop(pid, None)
        if key is not None:
            keys[pid] = key
        alike.note(pid, key)
        if not settles:
            continue
        changed = alike.settle()
        expected = {
            pid: first
            for pid, key in keys.items()
            if (first := min(p for p in keys if keys[p] == key and tables[p] == tables[pid])) != pid
        }
        assert alike.lower == expected
        assert changed == {pid for pid in range(1, 7) if before.get(pid) != expected.get(pid)}
        before = expected
