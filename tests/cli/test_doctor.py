"""`heaptop doctor` over hand-made captures."""

import csv
import io
import json
from pathlib import Path

import pytest

from heaptop.capture import Capture
from heaptop.cli.doctor import BPF_ITERATOR
from tests.cli.conftest import FakeBackend, Run, Use

READABLE = Capture("kernel", None, {"proc/meminfo": b"MemTotal: 1 kB\n"}, {}, ())


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A system whose debugfs is mounted and whose BTF has the dmabuf iterator; the caller has CAP_SYS_PTRACE alone."""
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/status").write_text("Name:\theaptop\nCapEff:\t0000000000080000\n")
    (tmp_path / "proc/mounts").write_text("debugfs /sys/kernel/debug debugfs rw 0 0\n")
    (tmp_path / "sys/kernel/btf").mkdir(parents=True)
    (tmp_path / "sys/kernel/btf/vmlinux").write_bytes(b"\x9f\xeb\x01" + BPF_ITERATOR)
    return tmp_path


def test_it_looks_at_the_kernel_unless_told_otherwise(use: Use, run: Run) -> None:
    backend = use(FakeBackend(capture_given=READABLE))
    assert run("doctor").code == 0
    assert backend.asked[0] == "kernel"
    assert run("-b", "emulator", "doctor").code == 0
    assert backend.asked[0] == "emulator"


def test_probes_are_taken_below_root(root: Path, use: Use, run: Run) -> None:
    use(FakeBackend("kernel", capture_given=READABLE))
    ran = run("doctor", "--json", "--root", str(root))
    checks = {check["name"]: check for check in json.loads(ran.out)["checks"]}
    assert checks["debugfs"]["readable"] is True
    assert (checks["BPF iterator"]["there"], checks["BPF iterator"]["readable"]) == (True, False)
    assert checks["capabilities"]["detail"].endswith(", CAP_SYS_PTRACE")


def test_a_system_that_tells_nothing(tmp_path: Path, use: Use, run: Run) -> None:
    use(FakeBackend("kernel", capture_given=READABLE))
    ran = run("doctor", "--json", "--root", str(tmp_path))
    checks = {check["name"]: check for check in json.loads(ran.out)["checks"]}
    assert checks["debugfs"]["there"] is False
    assert checks["BPF iterator"]["there"] is None
    assert ran.code == 0


def test_where_nothing_can_be_read_it_fails(use: Use, run: Run) -> None:
    use(FakeBackend(capture_given=Capture("replay:x", None, {}, {}, ())))
    assert run("doctor").code == 3


def test_csv(use: Use, run: Run) -> None:
    use(FakeBackend(capture_given=READABLE))
    header, *rows = csv.reader(io.StringIO(run("doctor", "--csv").out, newline=""))
    assert header == ["name", "there", "readable", "detail", "adds", "remedy"]
    assert ["meminfo", "True", "True"] in [row[:3] for row in rows]
