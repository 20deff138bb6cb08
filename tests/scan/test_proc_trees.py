"""The pass over folders that stand for /proc, where the kernel's own would refuse or cannot be had so."""

import errno
import os
import shutil
from pathlib import Path

import pytest

from heaptop.capture import FdTable, ReadError
from heaptop.scan.proc import ProcScan, scan_processes
from tests.scan.trees import fake_process


def test_a_table_whose_links_are_refused_is_told_by_fdinfo(tmp_path: Path) -> None:
    folder = fake_process(tmp_path, 5, {"0": "/dev/null", "3": "/dev/null", "4": "/dev/null"})
    (folder / "fdinfo/3").write_bytes(b"pos:\t0\nino:\t9\nsize:\t4096\ncount:\t1\nexp_name:\tsystem\n")
    shutil.rmtree(folder / "fd")
    (folder / "fd").symlink_to("fd")
    (found,) = scan_processes(str(tmp_path))
    assert (found.table.links, found.table.error, list(found.table.fdinfo)) == ((), None, [3])
    (folder / "fdinfo/4").unlink()
    (folder / "fdinfo/4").symlink_to("4")
    (found,) = scan_processes(str(tmp_path))
    assert found.table == FdTable(error=ReadError("open", errno.ELOOP))


def test_the_pass_is_linear(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten times the processes are ten times the calls: 10,000 cost no more than their number."""
    for pid in range(1, 1001):
        fake_process(tmp_path, pid, {"0": "/dev/null", "3": "/dev/null"})
    calls = 0

    def count(name: str) -> None:
        real = getattr(os, name)

        def counted(*arguments: object, **options: object) -> object:
            nonlocal calls
            calls += 1
            return real(*arguments, **options)

        monkeypatch.setattr(os, name, counted)

    for name in ("open", "read", "readlink", "listdir", "stat"):
        count(name)
    scan = ProcScan(str(tmp_path))
    costs = []
    for pids in (range(1, 101), range(1, 1001)):
        calls = 0
        scan_processes(str(tmp_path), pids=pids)
        costs.append(calls)
    assert costs[1] == 10 * costs[0]
    assert costs[0] <= 100 * 20
    assert len(scan.pids()) == 1000


def test_a_process_without_memory_is_known_without_maps(tmp_path: Path) -> None:
    for pid, statm in ((5, "0 0 0 0 0 0 0\n"), (6, "100 10 1 1 0 1 0\n")):
        folder = fake_process(tmp_path, pid, {})
        (folder / "statm").write_text(statm)
        for name in ("fd", "fdinfo"):
            (folder / name).rmdir()
            (folder / name).symlink_to(name)
    scan = ProcScan(str(tmp_path), off=frozenset({"maps"}))
    assert scan.process(5) is None
    assert scan.process(6) is not None


def test_only_buffers_are_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stat through any other link could hang on a dead mount."""
    target = tmp_path / "dmabuf"
    target.write_bytes(b"x" * 4096)
    fake_process(tmp_path, 5, {"0": "/dead/mount/file", "3": str(target), "10": "socket:[1]"})
    followed: list[object] = []
    real = os.stat

    def stat(path: str, *, dir_fd: int | None = None, follow_symlinks: bool = True) -> os.stat_result:
        if follow_symlinks:
            followed.append(path)
        return real(path, dir_fd=dir_fd, follow_symlinks=follow_symlinks)

    monkeypatch.setattr(os, "stat", stat)
    found = ProcScan(str(tmp_path), lambda link: link.endswith(b"dmabuf")).process(5)
    assert found is not None
    assert followed == ["3"]
    assert [link.fd for link in found.table.links] == [0, 3, 10]
    assert list(found.table.fdinfo) == [3]


@pytest.mark.parametrize("maps", ["", "7f0a1c000000-7f0a1c400000 rw-p 00000000 00:00 0 \n"])
def test_a_kernel_thread_is_no_unreadable_process(tmp_path: Path, maps: str) -> None:
    """Its descriptors are refused to a plain user, but it has no memory: there is nothing to miss."""
    folder = fake_process(tmp_path, 5, {})
    for name in ("fd", "fdinfo"):
        (folder / name).rmdir()
        (folder / name).symlink_to(name)  # ELOOP stands for a refusal
    (folder / "maps").write_text(maps)
    found = scan_processes(str(tmp_path))
    refused = ReadError("open", errno.ELOOP)
    assert [process.table.error for process in found] == ([refused] if maps else [])


def test_an_io_uring_with_a_buffer_is_kept(tmp_path: Path) -> None:
    fake_process(tmp_path, 5, {"3": "anon_inode:[io_uring]", "4": "/dev/null"})
    (found,) = scan_processes(str(tmp_path))
    assert b"dmabuf" in bytes(found.table.fdinfo[3])  # type: ignore[arg-type]


def test_a_link_closed_meanwhile_is_dropped(tmp_path: Path) -> None:
    fake_process(tmp_path, 5, {"3": "/dmabuf:gone", "4": "/dev/null"})
    assert scan_processes(str(tmp_path)) == ()
