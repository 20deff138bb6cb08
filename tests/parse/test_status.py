import pytest
from hypothesis import given

from heaptop.errors import ParseError
from heaptop.parse import status
from tests.conftest import CaptureDir
from tests.parse import hostile
from tests.support import truth

REST = b"""Umask:\t0022
State:\tS (sleeping)
Tgid:\t88
Ngid:\t0
Pid:\t89
PPid:\t79
TracerPid:\t0
Uid:\t1000\t1001\t1002\t1003
Gid:\t5\t6\t7\t8
FDSize:\t1024
Groups:\t\x20
NSpid:\t88\t3
VmSize:\t    2116 kB
VmRSS:\t     444 kB
Threads:\t2
x86_Thread_features:\t
"""


def render(comm: bytes) -> bytes:
    """As task_name prints it."""
    return b"Name:\t" + comm.replace(b"\\", rb"\\").replace(b"\n", rb"\n") + b"\n" + REST


@given(hostile.comms())
def test_any_comm(comm: bytes) -> None:
    parsed = status.parse(render(comm))
    assert parsed.name == comm
    assert (parsed.tgid, parsed.pid, parsed.ppid, parsed.threads) == (88, 89, 79, 2)
    assert (parsed.uid, parsed.gid) == ((1000, 1001, 1002, 1003), (5, 6, 7, 8))
    assert (parsed.nspid, parsed.vmsize, parsed.vmrss) == ((88, 3), 2116, 444)


def test_a_kernel_thread_has_no_memory() -> None:
    lines = [line for line in render(b"kworker/0:1").splitlines(keepends=True) if not line.startswith((b"Vm", b"NS"))]
    parsed = status.parse(b"".join(lines))
    assert (parsed.vmsize, parsed.vmrss, parsed.nspid) == (None, None, ())


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        (b"Uid:\t1000", b"Uid:\tx", 9),
        (b"\t1003\n", b"\n", 9),
        (b"PPid:\t79\n", b"", 1),
        (b"  444 kB", b"  444 MB", 15),
        (b"Threads:\t2", b"Threads:\t" + b"2" * 5000, 16),
        (b"x86_Thread_features:\t\n", b"x86", 17),
    ],
)
def test_broken(old: bytes, new: bytes, line: int) -> None:
    assert old in render(b"x")
    with pytest.raises(ParseError) as caught:
        status.parse(render(b"x").replace(old, new))
    assert caught.value.line == line


def test_captured(capture_dir: CaptureDir, capture_name: str) -> None:
    for holder in truth(capture_name):
        parsed = status.parse((capture_dir(capture_name) / f"proc/{holder.pid}/status").read_bytes())
        assert parsed.tgid == parsed.pid == holder.pid
        assert (parsed.uid[0] == 1000) == (holder.comm == b"uid1000")
        assert holder.tid != holder.pid or parsed.name == holder.comm
        assert parsed.threads == (2 if parsed.name == b"threads" else 1)
