"""The pass over /proc, on this machine's real /proc with real processes that hold memfds as buffers."""

import errno
import os
import shutil
import subprocess
import sys
from ast import literal_eval
from collections.abc import Iterator
from pathlib import Path
from types import MappingProxyType

import pytest

import heaptop
from heaptop.capture import FdTable, ProcessCapture, Raw, ReadError
from heaptop.scan import threads
from heaptop.scan.proc import ProcScan, is_dmabuf, scan_processes

NEEDLE = b"/memfd:heaptop-scan-test:"


def is_test_buffer(target: bytes) -> bool:
    return target.startswith(NEEDLE)


SCAN = ProcScan("/proc", is_test_buffer, NEEDLE)


def memfd(name: str, size_bytes: int = 8192) -> int:
    fd = os.memfd_create(f"heaptop-scan-test:{name}", 0)
    os.ftruncate(fd, size_bytes)
    return fd


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    """A process that holds `held` as fd 40, and nothing else of ours."""
    fd = memfd("held\n\xe9")
    code = f"import os; os.dup2({fd}, 40); os.close({fd}); print(flush=True); input()"
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, pass_fds=[fd]
    )
    os.close(fd)
    with process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process
        process.kill()


def run_and_wait(code: str) -> subprocess.Popen[bytes]:
    """Start Python code that prints a line when it is ready, and wait for the line."""
    process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() != b""
    return process


def test_a_holder(child: subprocess.Popen[bytes]) -> None:
    found = SCAN.process(child.pid)
    assert found is not None
    link = next(link for link in found.table.links if link.fd == 40)
    stat = os.stat(f"/proc/{child.pid}/fd/40")
    assert link.target == NEEDLE + "held\n\xe9 (deleted)".encode()
    assert link.stat is not None
    assert (link.stat.inode, link.stat.size_bytes) == (stat.st_ino, 8192)
    assert link.stat.dev == (os.major(stat.st_dev), os.minor(stat.st_dev))
    assert link.link_mode & 0o600 == 0o600
    assert [link.fd for link in found.table.links] == sorted(int(fd) for fd in os.listdir(f"/proc/{child.pid}/fd"))
    assert all(link.stat is None for link in found.table.links if link.fd != 40)
    assert list(found.table.fdinfo) == [40]
    assert f"ino:\t{stat.st_ino}\n".encode() in bytes(found.table.fdinfo[40])  # type: ignore[arg-type]
    assert f"{os.path.realpath(sys.executable)}\n".encode() in bytes(found.files["maps"])  # type: ignore[arg-type]
    assert set(found.files) == {"comm", "stat", "status", "statm", "cmdline", "cgroup", "oom_score_adj", "maps"}
    assert found.tasks == ()


MAPPED = """
import mmap, os
os.ftruncate(fd := os.memfd_create("heaptop-scan-test:mapped"), 8192)
mapping = mmap.mmap(fd, 8192)
os.closerange(3, 256)  # the descriptor, and its copy that mmap keeps
print(flush=True); input()
"""


def test_a_mapping_without_a_descriptor() -> None:
    with run_and_wait(MAPPED) as process:
        found = SCAN.process(process.pid)
        process.kill()
    assert found is not None
    assert NEEDLE + b"mapped" in bytes(found.files["maps"])  # type: ignore[arg-type]
    assert [link.fd for link in found.table.links] == [0, 1, 2]
    assert dict(found.table.fdinfo) == {}


def test_who_holds_nothing_is_dropped(child: subprocess.Popen[bytes]) -> None:
    other = subprocess.Popen(["cat"], stdin=subprocess.PIPE)
    with other:
        found = scan_processes("/proc", is_test_buffer, NEEDLE, [other.pid, child.pid])
        assert [process.pid for process in found] == [child.pid]


def test_a_dead_process_vanishes() -> None:
    done = subprocess.Popen(["true"])
    done.wait()
    assert SCAN.process(done.pid) is None
    assert scan_processes("/proc", is_test_buffer, NEEDLE, [done.pid, 2**22]) == ()


def test_a_zombie_holds_nothing() -> None:
    process = subprocess.Popen(["true"])
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert SCAN.process(process.pid) is None
    process.wait()


THREAD = """
import ctypes, os, threading
ready = threading.Event()
def own():
    ctypes.CDLL(None).unshare(0x400)  # CLONE_FILES
    os.ftruncate(fd := os.memfd_create("heaptop-scan-test:own"), 4096)
    os.dup2(fd, 50)
    ready.set(); threading.Event().wait()
def sharing():
    threading.Event().wait()
threading.Thread(target=own, daemon=True).start()
threading.Thread(target=sharing, daemon=True).start()
ready.wait(); print(flush=True); input()
"""


@pytest.mark.parametrize("has_kcmp", [True, False])
def test_a_thread_with_a_table_of_its_own(monkeypatch: pytest.MonkeyPatch, has_kcmp: bool) -> None:
    if not has_kcmp:
        monkeypatch.setattr(threads, "_number", None)
    with run_and_wait(THREAD) as process:
        found = SCAN.process(process.pid)
        process.kill()
    assert found is not None
    assert not any(is_test_buffer(link.target) for link in found.table.links)
    (task,) = found.tasks
    assert task.tid != process.pid
    assert b"heaptop-scan-test:own" in {link.fd: link.target for link in task.table.links}[50]
    assert 50 in task.table.fdinfo
    assert "comm" in task.files


def test_kcmp_knows_this_process() -> None:
    if threads.share_table(os.getpid(), os.getpid()) is None:
        pytest.skip("this kernel has no kcmp")
    with run_and_wait("print(flush=True); input()") as process:
        assert threads.share_table(os.getpid(), process.pid) is False
        process.kill()


AS_ANOTHER = """
import os, sys
from heaptop.scan.proc import ProcScan
os.setgroups([]); os.setresgid(1000, 1000, 1000); os.setresuid(1000, 1000, 1000)
print(ProcScan().process(int(sys.argv[1])))
"""


def test_unreadable_processes_are_kept(child: subprocess.Popen[bytes]) -> None:
    """As another user, a process of root cannot be read, but is there."""
    if os.geteuid() != 0:
        pytest.skip("needs root to become another user")
    root = Path(heaptop.__file__).parent.parent
    command = [sys.executable, "-c", AS_ANOTHER, str(child.pid)]
    answer = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)
    denied = ReadError("open", errno.EACCES)
    files: dict[str, Raw] = {"comm": Path(f"/proc/{child.pid}/comm").read_bytes(), "maps": denied}
    expected = ProcessCapture(child.pid, MappingProxyType(files), FdTable(error=denied))
    assert answer.stdout == f"{expected}\n"


def test_pids_are_listed() -> None:
    pids = SCAN.pids()
    assert pids == sorted(pids)
    assert os.getpid() in pids


def test_proc_that_cannot_be_listed(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        scan_processes(str(tmp_path / "missing"))


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (b"/dmabuf:", True),
        (b"/dmabuf:name\n", True),
        (b"anon_inode:dmabuf", True),
        (b"/dev/dma_heap/system", False),
        (b"/tmp/dmabuf:", False),
        (b"", False),
    ],
)
def test_is_dmabuf(target: bytes, expected: bool) -> None:
    assert is_dmabuf(target) is expected


def test_reading_leaves_no_descriptor(child: subprocess.Popen[bytes]) -> None:
    before = os.listdir("/proc/self/fd")
    scan_processes("/proc", is_test_buffer, NEEDLE, [child.pid, os.getpid(), 2**22])
    assert os.listdir("/proc/self/fd") == before


AS_TRACER = """
import os, sys
from heaptop.scan.proc import ProcScan
scan = ProcScan("/proc", lambda link: b"heaptop-scan-test" in link, b"/memfd:heaptop-scan-test:",
                is_info=lambda info: sys.argv[2].encode() in info)
found = scan.process(int(sys.argv[1]))
print(found.table.error, found.table.links, dict(found.table.fdinfo), sep="|")
"""


def test_cap_sys_ptrace_alone_is_enough(child: subprocess.Popen[bytes]) -> None:
    """/proc/PID/fd is closed to another user, but fdinfo is open to one who may trace (5.14 on)."""
    setpriv = shutil.which("setpriv")
    if os.geteuid() != 0 or setpriv is None:
        pytest.skip("needs root and setpriv to become a user with one capability")
    inode = os.stat(f"/proc/{child.pid}/fd/40").st_ino
    rights = ["--reuid=1000", "--clear-groups", "--inh-caps=+sys_ptrace", "--ambient-caps=+sys_ptrace"]
    command = [setpriv, *rights, sys.executable, "-c", AS_TRACER, str(child.pid), f"ino:\t{inode}\n"]
    answer = subprocess.run(
        command, cwd=Path(heaptop.__file__).parent.parent, capture_output=True, text=True, check=False
    )
    if answer.returncode and "Permission denied" in answer.stderr:
        pytest.skip("that user cannot run this Python")
    assert answer.returncode == 0, answer.stderr
    error, links, infos = answer.stdout.rstrip("\n").split("|")
    assert (error, links) == ("None", "()")
    assert list(literal_eval(infos)) == [40]


@pytest.mark.parametrize("off", [{"fd"}, {"fdinfo"}, {"maps"}, {"fd", "fdinfo"}, {"tasks", "maps"}])
def test_what_is_off_is_never_opened(
    child: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch, off: set[str]
) -> None:
    opened: list[str] = []
    real = os.open

    def open_(path: str, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        opened.append(path)
        return real(path, flags, mode, dir_fd=dir_fd)

    monkeypatch.setattr(os, "open", open_)
    inode = os.stat(f"/proc/{child.pid}/fd/40").st_ino
    scan = SCAN._replace(off=frozenset(off), is_info=lambda info: b"ino:\t%d\n" % inode in info)
    found = scan.process(child.pid)
    names = {"tasks": "task"}
    assert not [path for path in opened if path.split("/")[0] in {names.get(name, name) for name in off}]
    if off == {"fd", "fdinfo"}:
        assert found is None
        return
    assert found is not None
    assert bool(found.table.links) is ("fd" not in off)
    assert list(found.table.fdinfo) == ([] if "fdinfo" in off else [40])
    assert ("maps" in found.files) is ("maps" not in off)
