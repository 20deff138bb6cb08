"""`heaptop doctor` over hand-made captures."""

import csv
import io
import json
from pathlib import Path

import pytest

from heaptop.capture import Capture
from heaptop.cli import doctor
from heaptop.cli.doctor import BPF_ITERATOR
from heaptop.errors import SourceError
from heaptop.model import Gap
from tests.cli.conftest import FakeBackend, Run, Use
from tests.happenings import FakeSource

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


def test_root_of_a_user_namespace_is_no_root(root: Path, use: Use, run: Run) -> None:
    (root / "proc/self/status").write_text("Name:\theaptop\nCapEff:\t000001ffffffffff\n")
    use(FakeBackend("kernel", capture_given=READABLE))
    for users, enough in (("         0          0 4294967295\n", True), ("         0       1000          1\n", False)):
        (root / "proc/self/uid_map").write_text(users)
        checks = {
            check["name"]: check for check in json.loads(run("doctor", "--json", "--root", str(root)).out)["checks"]
        }
        assert checks["capabilities"]["readable"] is enough
        assert checks["BPF iterator"]["readable"] is enough
        assert ("of a user namespace" in checks["capabilities"]["detail"]) is not enough


def test_a_system_that_tells_nothing(tmp_path: Path, use: Use, run: Run) -> None:
    use(FakeBackend("kernel", capture_given=READABLE))
    ran = run("doctor", "--json", "--root", str(tmp_path))
    checks = {check["name"]: check for check in json.loads(ran.out)["checks"]}
    assert checks["debugfs"]["there"] is False
    assert checks["BPF iterator"]["there"] is None
    assert ran.code == 0


def test_what_each_source_costs(root: Path, use: Use, run: Run) -> None:
    """Each source that was read is looked at alone, and then all is given back."""
    vmstat = READABLE._replace(files={"proc/vmstat": b"nr_free_pages 1\n", "bpf/dmabuf_iter": b""})
    backend = use(FakeBackend("kernel", capture_given=vmstat))
    checks = {check["name"]: check for check in json.loads(run("doctor", "--json", "--root", str(root)).out)["checks"]}
    assert (checks["vmstat"]["source"], checks["vmstat"]["size_bytes"]) == ("vmstat", 16)
    assert checks["vmstat"]["cost_ms"] >= 0
    assert checks["fd tables"]["cost_ms"] >= 0
    assert (checks["bufinfo"]["cost_ms"], checks["bufinfo"]["size_bytes"]) == (None, None)
    assert (checks["debugfs"]["source"], checks["debugfs"]["cost_ms"]) == (None, None)
    assert backend.closed == 1 + 1 + 4  # the look itself, one without any source, four sources
    assert "One reading" in run("doctor").out


def test_tracing(root: Path, use: Use, run: Run) -> None:
    use(FakeBackend("kernel", capture_given=READABLE))
    (root / "proc/mounts").write_text("tracefs /sys/kernel/tracing tracefs rw 0 0\n")
    for name in ("cma", "dma_buf", "sched"):
        (root / "sys/kernel/tracing/events" / name).mkdir(parents=True)
    (root / "sys/bus/event_source/devices/kprobe").mkdir(parents=True)
    (root / "proc/sys/kernel").mkdir(parents=True)
    (root / "proc/sys/kernel/perf_event_paranoid").write_text("3\n")
    checks = {check["name"]: check for check in json.loads(run("doctor", "--json", "--root", str(root)).out)["checks"]}
    assert (checks["tracepoints"]["detail"], checks["tracepoints"]["readable"]) == ("dma_buf, cma", False)
    assert checks["kprobes"]["detail"] == "the kernel has them, kernel.perf_event_paranoid is 3"


def test_where_nothing_can_be_read_it_fails(use: Use, run: Run) -> None:
    use(FakeBackend(capture_given=Capture("replay:x", None, {}, {}, ())))
    assert run("doctor").code == 3


def test_csv(use: Use, run: Run) -> None:
    use(FakeBackend(capture_given=READABLE))
    header, *rows = csv.reader(io.StringIO(run("doctor", "--csv").out, newline=""))
    assert header == ["name", "there", "readable", "detail", "adds", "remedy", "source", "cost_ms", "size_bytes"]
    assert ["meminfo", "True", "True"] in [row[:3] for row in rows]


def test_live_events_are_tried_and_taken_away(use: Use, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    tried = FakeSource(gaps=[Gap("frees", "nobody looks", "")])
    monkeypatch.setattr(doctor, "event_source", lambda _backend, _root, ask: tried)
    use(FakeBackend("kernel", capture_given=READABLE))
    checks = {check["name"]: check for check in json.loads(run("doctor", "--json").out)["checks"]}
    assert checks["live events"]["detail"] == "fake(); without frees"
    assert checks["live events"]["cost_ms"] >= 0
    assert (tried.started, tried.stopped) == (1, 1)


def test_live_events_that_are_denied(use: Use, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def deny() -> None:
        raise SourceError("live events", "not permitted", "") from PermissionError()

    tried = FakeSource()
    tried.start = deny  # type: ignore[method-assign]
    monkeypatch.setattr(doctor, "event_source", lambda _backend, _root, ask: tried)
    use(FakeBackend("kernel", capture_given=READABLE))
    checks = {check["name"]: check for check in json.loads(run("doctor", "--json").out)["checks"]}
    assert (checks["live events"]["readable"], checks["live events"]["remedy"]) == (False, "sudo heaptop")
