"""The kernel backend: on real kernels' files in a tree of their own, and on this machine."""

import errno
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from heaptop import recording
from heaptop.backend.base import Allocator, Backend
from heaptop.backend.kernel import KernelAllocator, KernelBackend
from heaptop.capture import Capture, ProcessCapture, ReadError
from heaptop.errors import AllocationError, UsageError
from heaptop.scan.holders import PlainHolders
from heaptop.scan.proc import ProcScan, is_dmabuf
from tests.support import archive

DEBUGFS = "sys/kernel/debug"
BUFINFO = f"{DEBUGFS}/dma_buf/bufinfo"
BITMAP = f"{DEBUGFS}/cma/reserved/bitmap"


def as_live_tree(capture: Capture, root: Path) -> KernelBackend:
    """A recorded kernel as files and links below `root`, as its proc and sysfs had them."""
    for path, raw in capture.files.items():
        if isinstance(raw, bytes):
            put(root / path, raw)
    for path, target in capture.links.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        os.symlink(target, os.fsencode(root / path))
    for process in capture.processes:
        put_process(root / "proc" / str(process.pid), process)
    return KernelBackend(str(root), clock=lambda: 12.5)


def put(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def put_process(folder: Path, process: ProcessCapture) -> None:
    (folder / "fd").mkdir(parents=True)
    for name, raw in process.files.items():
        if isinstance(raw, bytes):
            put(folder / name, raw)
    for link in process.table.links:
        os.symlink(link.target, os.fsencode(folder / "fd" / str(link.fd)))
    for fd, raw in process.table.fdinfo.items():
        if isinstance(raw, bytes):
            put(folder / "fdinfo" / str(fd), raw)


def test_system_files_of_real_kernels(capture_name: str, tmp_path: Path) -> None:
    recorded = recording.read(str(archive(capture_name)))
    seen = as_live_tree(recorded._replace(processes=()), tmp_path).capture()
    assert (seen.source, seen.captured_at, seen.processes, seen.processes_seen) == ("kernel", 12.5, (), 0)
    assert [path for path, raw in seen.files.items() if raw != recorded.files.get(path)] == []
    wanted = ("proc/meminfo", "proc/vmstat", "proc/version", "proc/mounts", "proc/sys/", BUFINFO)
    trees = ("sys/kernel/mm/cma/", "sys/kernel/dmabuf/", f"{DEBUGFS}/cma/", "sys/class/dma_heap/")
    for path in [*recorded.files, *recorded.links]:
        if path.startswith((*wanted, *trees)):
            assert path in seen.files or path in seen.links
    heaps = {path: target for path, target in recorded.links.items() if path.startswith(trees)}
    assert heaps
    assert heaps.items() <= seen.links.items()


def test_files_that_act_are_never_opened(tmp_path: Path) -> None:
    for name in ("alloc", "free", "count", "unknown"):
        put(tmp_path / DEBUGFS / "cma" / "reserved" / name, b"1\n")
    put(tmp_path / DEBUGFS / "cma" / "reserved" / "used", b"1\n")
    (tmp_path / DEBUGFS / "cma" / "reserved" / "used").chmod(0o200)
    seen = KernelBackend(str(tmp_path)).capture()
    assert [path for path in seen.files if "cma" in path] == [f"{DEBUGFS}/cma/reserved/count"]


def test_names_of_any_bytes(tmp_path: Path) -> None:
    folder = os.path.join(os.fsencode(tmp_path), b"sys/kernel/mm/cma", b"cma0\n\xff")
    os.makedirs(folder)
    with open(os.path.join(folder, b"total_pages"), "wb") as file:
        file.write(b"16\n")
    seen = KernelBackend(str(tmp_path)).capture()
    assert seen.files["sys/kernel/mm/cma/cma0\n\udcff/total_pages"] == b"16\n"


def test_an_empty_root(tmp_path: Path) -> None:
    seen = KernelBackend(str(tmp_path)).capture()
    assert dict(seen.files) == {"proc": ReadError("open", errno.ENOENT)}
    assert dict(seen.links) == {}


@pytest.fixture
def refused(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Refuse to list a folder or to open a file, which root cannot be refused by modes."""
    paths: list[str] = []
    real_listdir, real_open = os.listdir, os.open

    def check(path: object) -> None:
        if os.fsdecode(path) in paths if isinstance(path, str | bytes) else False:
            raise PermissionError(errno.EACCES, "Permission denied")

    def listdir(path: object) -> list[str]:
        check(path)
        return real_listdir(path)  # type: ignore[call-overload, no-any-return]

    def open_(path: str, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        check(path)
        return real_open(path, flags, mode, dir_fd=dir_fd)

    monkeypatch.setattr(os, "listdir", listdir)
    monkeypatch.setattr(os, "open", open_)
    return paths.append


def test_debugfs_that_is_refused(tmp_path: Path, refused: Callable[[str], None]) -> None:
    for path in (DEBUGFS, f"{DEBUGFS}/cma"):
        refused(str(tmp_path / path))
    refused(str(tmp_path / BUFINFO))
    put(tmp_path / BUFINFO, b"")
    put(tmp_path / "proc/mounts", b"debugfs /sys/kernel/debug debugfs rw 0 0\n")
    files = KernelBackend(str(tmp_path)).capture().files
    denied = ReadError("open", errno.EACCES)
    assert files[DEBUGFS] == files[f"{DEBUGFS}/cma"] == files[BUFINFO] == denied
    assert isinstance(files["proc/mounts"], bytes)


def test_debugfs_that_is_not_mounted(tmp_path: Path) -> None:
    (tmp_path / DEBUGFS).mkdir(parents=True)
    put(tmp_path / "proc/mounts", b"sysfs /sys sysfs rw 0 0\n")
    files = KernelBackend(str(tmp_path)).capture().files
    assert set(files) == {"proc/mounts"}


def test_proc_that_is_refused(tmp_path: Path, refused: Callable[[str], None]) -> None:
    refused(str(tmp_path / "proc"))
    seen = KernelBackend(str(tmp_path)).capture()
    assert seen.files["proc"] == ReadError("open", errno.EACCES)
    assert seen.processes == ()


def test_processes_of_a_real_kernel(tmp_path: Path) -> None:
    recorded = recording.read(str(archive("7.2.13-x86_64")))
    seen = as_live_tree(recorded, tmp_path).capture()
    assert seen.processes_seen == len(recorded.processes)
    by_pid = {process.pid: process for process in seen.processes}
    mapped = [p for p in recorded.processes if b"/dmabuf:" in bytes(p.files.get("maps", b""))]  # type: ignore[arg-type]
    assert mapped
    for process in mapped:
        assert by_pid[process.pid].files["maps"] == process.files["maps"]
    # Links of dma-bufs lead nowhere in this tree, as if they were closed meanwhile.
    assert not any(is_dmabuf(link.target) for p in seen.processes for link in p.table.links)


@pytest.fixture
def holder() -> Iterator[subprocess.Popen[bytes]]:
    """A real process that holds a memfd."""
    code = "import os; os.memfd_create('heaptop-kernel-test'); print(flush=True); input()"
    process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    with process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process
        process.kill()


def test_this_machine(holder: subprocess.Popen[bytes]) -> None:
    scan = ProcScan(is_buffer=lambda link: b"heaptop-kernel-test" in link)
    backend = KernelBackend(holders=PlainHolders(scan))
    seen = backend.capture()
    assert seen.files["proc/sys/kernel/osrelease"] == f"{os.uname().release}\n".encode()
    assert seen.captured_at is not None
    assert seen.processes_seen is not None
    assert seen.processes_seen > 1
    assert holder.pid in [process.pid for process in seen.processes]
    assert [p.pid for p in seen.processes] == sorted(p.pid for p in seen.processes)


def test_a_file_that_hangs_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = threading.Event()
    put(tmp_path / BUFINFO, b"text")
    put(tmp_path / BITMAP, b"text")
    (tmp_path / "proc/7").mkdir(parents=True)
    (tmp_path / "proc/8").mkdir()
    holders = PlainHolders(ProcScan(str(tmp_path / "proc")), 0.05)
    backend = KernelBackend(str(tmp_path), timeout_s=0.05, holders=holders)
    real = backend._slow._read

    def stuck(path: str) -> object:
        if path == BUFINFO:
            gate.wait()
        return real(path)

    def stuck_process(pid: int) -> ProcessCapture | None:
        if pid == 7:
            gate.wait()
        return ProcessCapture(pid, {}) if pid == 8 else None

    monkeypatch.setattr(backend._slow, "_read", stuck)
    monkeypatch.setattr(holders._patience, "_work", stuck_process)
    for _ in range(3):
        seen = backend.capture()
        assert seen.files[BUFINFO] == ReadError("read", errno.ETIMEDOUT)
        assert seen.files[BITMAP] == b"text"
        assert [(p.pid, p.table.error) for p in seen.processes] == [(7, ReadError("read", errno.ETIMEDOUT)), (8, None)]
    assert sum(thread.name == "heaptop-reader" for thread in threading.enumerate()) == 2
    gate.set()
    for thread in threading.enumerate():
        if thread.name == "heaptop-reader":
            thread.join()
    assert backend.capture().files[BUFINFO] == b"text"


def test_devices_as_ls_prints_them(tmp_path: Path) -> None:
    heaps = tmp_path / "dma_heap"
    heaps.mkdir()
    (heaps / "system").symlink_to("/dev/null")
    listing = KernelBackend(dev=str(tmp_path)).capture().files["dev.ls"]
    assert isinstance(listing, bytes)
    assert listing.startswith(b"/dev/dma_heap:\ntotal 0\nlrwx")
    if os.geteuid() != 0:
        return
    os.mknod(tmp_path / "udmabuf", 0o020600, os.makedev(10, 257))
    os.utime(tmp_path / "udmabuf", (0, 0))
    shutil.rmtree(heaps)
    listing = KernelBackend(dev=str(tmp_path)).capture().files["dev.ls"]
    assert listing == b"crw-------    1 0        0          10, 257 Jan 01 00:00 /dev/udmabuf\n"


def heaps_of(tmp_path: Path, **nodes: str) -> KernelAllocator:
    (tmp_path / "dma_heap").mkdir(exist_ok=True)
    for name, target in nodes.items():
        (tmp_path / "dma_heap" / name).symlink_to(target)
    return KernelAllocator(dev=str(tmp_path))


def test_the_allocator_is_one(tmp_path: Path) -> None:
    assert isinstance(KernelAllocator(), Allocator)
    assert isinstance(KernelBackend(), Backend)
    assert not isinstance(KernelBackend(), Allocator)
    assert heaps_of(tmp_path, system="/dev/null", cma="/dev/null").heaps() == ["cma", "system"]
    assert KernelAllocator(dev=str(tmp_path / "missing")).heaps() == ()


@pytest.mark.parametrize(
    ("heap", "size_bytes", "number", "remedy"),
    [
        ("null", 4096, errno.ENOTTY, "this file is no dma-heap"),
        ("null", 0, errno.EINVAL, "the heap takes no such size"),
        ("null", -5, errno.EINVAL, "the heap takes no such size"),
        ("null", 1 << 64, errno.EINVAL, "the heap takes no such size"),
        ("null", (1 << 64) - 1, errno.ENOMEM, "ask for less"),
        ("none", 4096, errno.ENOENT, "`heaptop heaps` lists the heaps that there are"),
        ("../../null", 4096, errno.ENOENT, ""),
        ("dangling", 4096, errno.ENOENT, ""),
    ],
)
def test_refusals(tmp_path: Path, heap: str, size_bytes: int, number: int, remedy: str) -> None:
    backend = heaps_of(tmp_path, null="/dev/null", dangling="nowhere")
    before = os.listdir("/proc/self/fd")
    with pytest.raises(AllocationError, match=f"cannot allocate .* from {heap}: {errno.errorcode[number]}") as caught:
        backend.allocate(heap, size_bytes)
    assert caught.value.errno == number
    assert remedy in caught.value.remedy
    assert os.listdir("/proc/self/fd") == before


@pytest.mark.parametrize("name", [b"x" * 32, b"a\0b"])
def test_names_that_do_not_fit(tmp_path: Path, name: bytes) -> None:
    with pytest.raises(UsageError, match="at most 31 bytes, and no NUL"):
        heaps_of(tmp_path, null="/dev/null").allocate("null", 4096, name)
