"""Reading recordings: those of real kernels, and those that are cut, damaged or hostile."""

import errno
import io
import os
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heaptop import recording
from heaptop.capture import Capture, FdLink, FdTable, ReadError
from heaptop.errors import RecordingError
from heaptop.recording import source
from tests.support import archive, truth

KERNEL = "7.2.13-x86_64"
CUT = ReadError("tar", errno.EIO)


def make_tar(path: Path, *members: tuple[str, bytes] | tarfile.TarInfo) -> str:
    with tarfile.open(path, "w") as tar:
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                tar.addfile(member)
            else:
                info = tarfile.TarInfo(member[0])
                info.size = len(member[1])
                tar.addfile(info, io.BytesIO(member[1]))
    return str(path)


def make_folder(path: Path, **files: bytes) -> str:
    for name, content in files.items():
        target = path / name.replace("__", "/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
    return str(path)


def anonymous(capture: Capture) -> Capture:
    return capture._replace(source="")


def test_folder_and_tar_are_the_same(capture_name: str, capture_dir: Callable[[str], Path]) -> None:
    folder = recording.read(str(capture_dir(capture_name)))
    tar = recording.read(str(archive(capture_name)))
    assert anonymous(folder) == anonymous(tar)
    assert tar.source == f"replay:{archive(capture_name)}"


def test_every_true_fd_is_a_link(capture_name: str) -> None:
    capture = recording.read(str(archive(capture_name)))
    tables = {process.pid: process.table for process in capture.processes}
    tables |= {task.tid: task.table for process in capture.processes for task in process.tasks}
    held = [holder for holder in truth(capture_name) if holder.fd is not None]
    assert held
    for holder in held:
        table = tables[holder.tid if holder.tid in tables else holder.pid]
        link = next(link for link in table.links if link.fd == holder.fd)
        assert holder.fd is not None
        assert link.target == b"/dmabuf:" + (holder.name or b"")
        assert link.stat is not None
        assert (link.stat.inode, link.stat.size_bytes) == (holder.inode, holder.size_bytes)
        assert f"size:\t{holder.size_bytes}\n".encode() in bytes(table.fdinfo[holder.fd])  # type: ignore[arg-type]


def test_system_files_and_links() -> None:
    capture = recording.read(str(archive(KERNEL)))
    assert capture.links["sys/class/dma_heap/system"] == b"../../devices/virtual/dma_heap/system"
    assert capture.links["sys/kernel/debug/cma/reserved/base_pfn"] == b"ranges/0/base_pfn"
    assert "sys/kernel/debug/cma/reserved/alloc" not in capture.links
    assert isinstance(capture.files["sys/kernel/debug/dma_buf/bufinfo"], bytes)
    assert "dev.ls" in capture.files
    assert "truth.json" not in capture.files
    assert "bpf-iter.tsv" not in capture.files
    assert capture.captured_at is None
    assert capture.processes_seen is None


def test_errors_keep_their_errno(tmp_path: Path) -> None:
    path = make_folder(
        tmp_path / "r",
        **{
            "proc__1__maps.error": b"open: Permission denied\n",
            "proc__1__fd.error": b"open: Operation not permitted\n",
            "proc__1__fdinfo__3.error": b"read: I/O error\n",
            "sys__kernel__debug.error": b"open: Permission denied",
            "sys__a": b"the part that was read",
            "sys__a.error": b"read: Something that no C library says\n",
            "sys__b.error": b"\xff\0noise",
            "sys__c.error": b"read: Unknown error 524\n",
        },
    )
    capture = recording.read(path)
    (process,) = capture.processes
    assert process.files["maps"] == ReadError("open", errno.EACCES)
    assert process.table == FdTable((), {3: ReadError("read", errno.EIO)}, ReadError("open", errno.EPERM))
    assert capture.files["sys/kernel/debug"] == ReadError("open", errno.EACCES)
    assert capture.files["sys/a"] == capture.files["sys/b"] == ReadError("read", errno.EIO)
    assert capture.files["sys/c"] == ReadError("read", 524)


WHOLE = b'[\n {"fd": 0, "target": "a"},\n {"fd": 3, "target": "/dmabuf:\\u00ff\\n", "link_mode": "0120700"}\n]\n'


@pytest.mark.parametrize(
    ("json_text", "links_text", "expected", "damaged"),
    [
        (WHOLE, b"noise", [(0, b"a"), (3, b"/dmabuf:\xff\n")], False),
        (WHOLE[:40], b"0 -> a\n3 -> /dmabuf:\xff\\012\n", [(0, b"a"), (3, b"/dmabuf:\xff\n")], True),
        (WHOLE[:40], None, [(0, b"a")], True),
        (b"\xff\0" * 9, b"0 -> a\n", [(0, b"a")], True),
        (b"[" * 100_000, b"0 -> a\n", [(0, b"a")], True),
        (b'[{"fd": 0, "target": "a", "stat_rc": 0, "st_ino": Infinity}]', b"", [], True),
        (None, b"10 -> b \\134 c\n2 -> x -> y\n", [(2, b"x -> y"), (10, b"b \\ c")], False),
        (None, b"0 -> a\n1 -> cut", [(0, b"a")], True),
        (None, b"", [], False),
        (None, None, [], False),
    ],
)
def test_fd_table(
    tmp_path: Path, json_text: bytes | None, links_text: bytes | None, expected: list[tuple[int, bytes]], damaged: bool
) -> None:
    files = {"proc__1__fd.json": json_text, "proc__1__fd.links": links_text, "proc__1__comm": b"x\n"}
    path = make_folder(tmp_path / "r", **{name: text for name, text in files.items() if text is not None})
    (process,) = recording.read(path).processes
    assert [(link.fd, link.target) for link in process.table.links] == expected
    assert process.table.error == (ReadError("read", errno.EBADMSG) if damaged else None)


def test_a_folder_around_it(tmp_path: Path) -> None:
    whole = make_tar(tmp_path / "a.tar", ("./report/proc/1/comm", b"init\n"), ("report/truth.json", b"{}"), ("x", b""))
    capture = recording.read(whole)
    assert [process.pid for process in capture.processes] == [1]
    assert dict(capture.files) == {}
    two = make_tar(tmp_path / "b.tar", ("a/proc/1/comm", b"a\n"), ("b/proc/1/comm", b"b\n"))
    with pytest.raises(RecordingError, match="holds 2 recordings: among them a, b; name one of them"):
        recording.read(two)


def test_hostile_tar(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_bytes(b"secret")
    link, hard, fifo, node = (tarfile.TarInfo(f"proc/{name}") for name in ("link", "hard", "fifo", "node"))
    link.type, link.linkname = tarfile.SYMTYPE, str(outside)
    hard.type, hard.linkname = tarfile.LNKTYPE, str(outside)
    fifo.type, node.type = tarfile.FIFOTYPE, tarfile.CHRTYPE
    path = make_tar(
        tmp_path / "r.tar",
        ("../escape", b"x"),
        ("proc/../../escape", b"x"),
        ("/proc/version", b"absolute"),
        ("proc//1/comm", b"x"),
        link,
        hard,
        fifo,
        node,
        ("proc/meminfo", b"first"),
        ("proc/meminfo", b"second"),
    )
    assert recording.read(path) == Capture(f"replay:{path}", None, {"proc/meminfo": b"second"}, {}, ())
    assert sorted(os.listdir(tmp_path)) == ["outside", "r.tar"]


def test_hostile_folder(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    (outside / "1").mkdir(parents=True)
    (outside / "1" / "comm").write_bytes(b"secret")
    folder = Path(make_folder(tmp_path / "r", proc__meminfo=b"x"))
    (folder / "proc" / "1").symlink_to(outside / "1")
    (folder / "sys").symlink_to(outside)
    (folder / "proc" / "version").symlink_to(outside / "1" / "comm")
    os.mkfifo(folder / "proc" / "vmstat")
    deep = folder / "proc"
    for _ in range(40):
        deep /= "d"
    deep.mkdir(parents=True)
    (deep / "f").write_bytes(b"x")
    assert dict(recording.read(str(folder)).files) == {"proc/meminfo": b"x"}


def test_huge_files_are_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "FILE_BYTES_MAX", 1000)
    large, small = b"x" * 1001, b"x" * 1000
    expected = {"proc/large": ReadError("read", errno.EFBIG), "proc/small": small}
    folder = make_folder(tmp_path / "r", proc__large=large, proc__small=small)
    assert dict(recording.read(folder).files) == expected
    tar = make_tar(tmp_path / "r.tar", ("proc/large", large), ("proc/small", small))
    assert dict(recording.read(tar).files) == expected


def test_a_recording_too_large_is_read_in_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "TOTAL_BYTES_MAX", 1500)
    monkeypatch.setattr(source, "MEMBERS_MAX", 10)
    path = make_tar(tmp_path / "r.tar", ("proc/a", b"x" * 1000), ("proc/b", b"x" * 1000))
    capture = recording.read(path)
    assert set(capture.files) == {"proc/a", "recording"}
    assert capture.files["recording"] == ReadError("tar", errno.EFBIG)


@pytest.mark.parametrize("compression", ["", "gz", "xz", "bz2"])
def test_cut_anywhere(tmp_path: Path, compression: str) -> None:
    whole = tmp_path / "whole"
    with tarfile.open(whole, f"w:{compression}") as tar:  # type: ignore[call-overload]
        for number in range(40):
            info = tarfile.TarInfo(f"proc/{number}/comm")
            info.size = 300
            tar.addfile(info, io.BytesIO(os.urandom(300)))
    content = whole.read_bytes()
    full = recording.read(str(whole))
    end = 40 * 1024 if not compression else len(content)
    for size in range(0, end, 97):
        cut = tmp_path / "cut"
        cut.write_bytes(content[:size])
        try:
            capture = recording.read(str(cut))
        except RecordingError as error:
            assert size < end // 2 or compression == "bz2", error  # noqa: PT017  (one block of bz2 is 900 kB)
            continue
        assert capture.files["recording"] == CUT
        assert capture.processes == full.processes[: len(capture.processes)]
    assert "recording" not in full.files


def test_cut_at_a_member_is_noticed(tmp_path: Path) -> None:
    path = Path(make_tar(tmp_path / "r.tar", ("proc/a", b"a"), ("proc/b", b"b")))
    path.write_bytes(path.read_bytes()[:1024])
    assert dict(recording.read(str(path)).files) == {"proc/a": b"a", "recording": CUT}


@given(st.binary(max_size=3000), st.integers(0, 4000))
def test_noise_never_fails(tmp_path_factory: pytest.TempPathFactory, noise: bytes, offset: int) -> None:
    path = tmp_path_factory.getbasetemp() / "noise.tar"
    make_tar(path, ("proc/1/comm", b"a"), ("proc/1/fd.json", WHOLE), ("sys/b", b"b"))
    content = path.read_bytes()
    path.write_bytes(content[:offset] + noise + content[offset + len(noise) :])
    try:
        recording.read(str(path))
    except RecordingError:
        return


@pytest.mark.parametrize("name", ["fd.json", "fd.links", "fdinfo/3", "maps", "fd.error"])
@given(noise=st.binary(max_size=200))
def test_a_file_of_noise(tmp_path_factory: pytest.TempPathFactory, name: str, noise: bytes) -> None:
    path = make_tar(tmp_path_factory.getbasetemp() / "n.tar", (f"proc/1/{name}", noise), ("proc/1/comm", b"a\n"))
    (process,) = recording.read(path).processes
    assert process.files["comm"] == b"a\n"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: None, "cannot read the recording .*: No such file or directory; check the path"),
        (lambda path: path.mkdir(), "holds no recording: there is neither proc/ nor sys/ in it, nor a dump"),
        (lambda path: path.write_bytes(b""), "holds no recording: .* before it breaks off"),
        (lambda path: path.write_bytes(b"# notes\n" * 999), "holds no recording"),
        (os.mkfifo, "is no recording: it is neither a folder nor a file"),
    ],
)
def test_no_recording(tmp_path: Path, make: Callable[[Path], object], message: str) -> None:
    make(tmp_path / "r")
    with pytest.raises(RecordingError, match=message):
        recording.read(str(tmp_path / "r"))


def test_no_permission(tmp_path: Path, as_another_user: None) -> None:
    with pytest.raises(RecordingError, match="Permission denied; recordings are readable by their owner only"):
        recording.read(str(tmp_path / "r"))


@pytest.mark.parametrize("path", ["/", "/proc", "/sys", "/proc/self", "/dev/null", "a\0b"])
def test_live_trees_are_refused(path: str) -> None:
    with pytest.raises(RecordingError):
        recording.read(path)


def test_links_with_arrows_and_escapes(tmp_path: Path) -> None:
    text = b"/sys/a -> b -> c\n/sys/w (write-only, mode 200)\n/sys/cma0\\012/x\\040-> y -> z\\134\n\xff\n"
    path = make_folder(tmp_path / "r", **{"links.txt": text, "sys__a": b""})
    assert dict(recording.read(path).links) == {"sys/a": b"b -> c", "sys/cma0\n/x -> y": b"z\\"}


def test_processes_are_sorted_and_numbers_are_plain(tmp_path: Path) -> None:
    path = make_tar(
        tmp_path / "r.tar",
        ("proc/10/comm", b"b"),
        ("proc/9/comm", b"a"),
        ("proc/007/comm", b"x"),
        ("proc/9/fd.links", b"5 -> x\n"),
    )
    capture = recording.read(path)
    assert [process.pid for process in capture.processes] == [9, 10]
    assert capture.processes[0].table.links == (FdLink(5, b"x"),)
    assert dict(capture.files) == {"proc/007/comm": b"x"}
