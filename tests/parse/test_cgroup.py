import pytest

from heaptop.errors import ParseError
from heaptop.parse import cgroup
from heaptop.parse.cgroup import Cgroup
from tests.conftest import CaptureDir

V1 = b"""12:cpu,cpuacct:/a:b/c
3:memory:/app
1:name=systemd:/user.slice/x.scope
"""


def test_v1() -> None:
    groups = cgroup.parse(V1)
    assert groups[0] == Cgroup(12, (b"cpu", b"cpuacct"), b"/a:b/c")
    assert cgroup.path(groups) == b"/user.slice/x.scope"
    assert cgroup.path(groups[:2]) == b"/a:b/c"


def test_v2_comes_first() -> None:
    groups = cgroup.parse(V1 + b"0::/system.slice/gone.service (deleted)\n")
    assert groups[-1] == Cgroup(0, (), b"/system.slice/gone.service (deleted)")
    assert cgroup.path(groups) == b"/system.slice/gone.service (deleted)"


def test_none() -> None:
    assert cgroup.parse(b"") == ()
    assert cgroup.path(()) is None


@pytest.mark.parametrize(("data", "line"), [(b"0::/", 1), (V1 + b"noise\n", 4), (b"x::/\n", 1)])
def test_broken(data: bytes, line: int) -> None:
    with pytest.raises(ParseError) as caught:
        cgroup.parse(data)
    assert caught.value.line == line


def test_captured(capture_dir: CaptureDir, capture_name: str) -> None:
    groups = cgroup.parse((capture_dir(capture_name) / "proc/1/cgroup").read_bytes())
    assert groups == (Cgroup(0, (), b"/"),)
