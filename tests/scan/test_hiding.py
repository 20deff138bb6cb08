"""`scan.hiding`: real sockets with descriptors in flight, at its own pace."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from heaptop.scan.hiding import REST, HidingScan


class Ticks:
    """A clock that goes on by `step` with each question."""

    def __init__(self, step: float = 0.0) -> None:
        self.now = 0.0
        self.step = step

    def __call__(self) -> float:
        self.now += self.step
        return self.now


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        yield ours, theirs


def mine(files: object) -> list[str]:
    assert hasattr(files, "items")
    return sorted(path for path, _ in files.items() if path.startswith(f"heaptop/hiding/{os.getpid()}/"))


def test_a_socket_with_descriptors_in_flight(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    if b"scm_fds" not in Path(f"/proc/self/fdinfo/{ours.fileno()}").read_bytes():
        pytest.skip("this kernel does not tell of them")
    scan = HidingScan(timer=Ticks())
    scan.wanted = True
    assert mine(scan.files()) == []
    socket.send_fds(ours, [b"x"], [0, 1])
    files = scan.files()
    here = f"heaptop/hiding/{os.getpid()}"
    assert mine(files) == [f"{here}/comm", f"{here}/fdinfo/{theirs.fileno()}", f"{here}/stat"]
    raw = files[f"{here}/fdinfo/{theirs.fileno()}"]
    assert isinstance(raw, bytes)
    assert b"scm_fds: 2\n" in raw
    scan.wanted = False
    assert scan.files() == {}


def fake(root: Path, pid: int, target: str, fdinfo: bytes) -> None:
    for folder in ("fd", "fdinfo"):
        (root / str(pid) / folder).mkdir(parents=True)
    (root / str(pid) / "fd" / "5").symlink_to(target)
    (root / str(pid) / "fdinfo" / "5").write_bytes(fdinfo)
    (root / str(pid) / "comm").write_bytes(b"x\n")


def test_rings_with_buffers_and_none_else(tmp_path: Path) -> None:
    fake(tmp_path, 1, "anon_inode:[io_uring]", b"UserFiles:\t1\n    0: /dmabuf:x\n")
    fake(tmp_path, 2, "anon_inode:[io_uring]", b"UserFiles:\t1\n    0: /etc/passwd\n")
    fake(tmp_path, 3, "/dmabuf:x", b"scm_fds: 9\n")
    fake(tmp_path, 4, "socket:[7]", b"scm_fds: 0\n")
    scan = HidingScan(str(tmp_path), timer=Ticks())
    scan.wanted = True
    assert sorted(scan.files()) == ["heaptop/hiding/1/comm", "heaptop/hiding/1/fdinfo/5"]


def test_it_rests_and_goes_on_where_it_ended(tmp_path: Path) -> None:
    for pid in range(1, 5):
        fake(tmp_path, pid, "socket:[7]", b"scm_fds: 1\n")
    clock = Ticks(0.3)
    scan = HidingScan(str(tmp_path), timer=clock)
    scan.wanted = True
    first = set(scan.files())
    assert 0 < sum("fdinfo" in path for path in first) < 4
    assert set(scan.files()) == first
    clock.now += REST * 10
    later = set(scan.files())
    clock.now += REST * 10
    assert sum("fdinfo" in path for path in {*later, *scan.files()}) == 4


def test_no_proc() -> None:
    scan = HidingScan("/nowhere", timer=Ticks())
    scan.wanted = True
    assert scan.files() == {}
