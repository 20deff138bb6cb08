"""`heaptop record`: what it says, what ends it, what it refuses; and any moment of a recording in every list."""

import errno
import gzip
import io
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from heaptop import recording
from heaptop.capture import Capture
from heaptop.recording.series import Series
from tests.cli.conftest import FakeBackend, Run, Use
from tests.recording.phone import NOON, Phone
from tests.support import CAPTURES, archive


class Going(FakeBackend):
    """A phone that goes on a second at each look, and at the last one sends itself signals."""

    def __init__(self, looks: int, *signals: signal.Signals) -> None:
        super().__init__("phone", looks=looks)
        self.phone = Phone()
        self.signals = signals

    def capture(self) -> Capture:
        super().capture()
        self.phone.tick()
        self.phone.give(70, 1000 + self.looks)
        if self.looks == 0:
            for number in self.signals:
                os.kill(os.getpid(), number)
        return self.phone.capture()


def opened(path: Path) -> Series:
    series = recording.read_all(str(path))
    assert isinstance(series, Series)
    return series


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_ends_it_well(use: Use, run: Run, tmp_path: Path, number: signal.Signals, code: int) -> None:
    backend = use(Going(1, number))
    ran = run("record", str(tmp_path / "r"))
    assert (ran.code, ran.out) == (code, "")
    first, second, third, last = ran.err.splitlines()
    assert first == f"heaptop: recording phone to {tmp_path}/r every 1 s, at most 256 MiB"
    assert f"kill -USR2 {os.getpid()}" in second
    assert third == "note: it holds the names of processes and buffers; look before you share it"
    assert last.startswith(f"heaptop: recorded 1 moment to {tmp_path}/r, ")
    assert backend.closed == 1
    assert backend.asked[2]  # read-only
    assert (tmp_path / "r" / "000000.moments").read_text().endswith("# end\n")


def test_for_a_time(use: Use, run: Run, tmp_path: Path) -> None:
    use(Going(1000))
    assert run("record", str(tmp_path / "r"), "--for", "0.35", "--interval", "100ms").code == 0
    assert 2 <= len(opened(tmp_path / "r").moments) <= 4


def test_signals_that_ask_are_answered_at_once(tmp_path: Path) -> None:
    """In a process of its own, with an interval that would never be over."""
    arguments = ["-b", "emulator", "record", str(tmp_path / "r"), "--interval", "1h"]
    environment = os.environ | {"XDG_RUNTIME_DIR": str(tmp_path)}
    with subprocess.Popen(
        [sys.executable, "-m", "heaptop", *arguments], stderr=subprocess.PIPE, text=True, env=environment
    ) as recorder:
        assert recorder.stderr is not None
        lines = iter(recorder.stderr.readline, "")
        assert any("look before you share it" in line for line in lines)
        moments = tmp_path / "r" / "000000.moments"
        while not moments.exists() or not moments.read_text().count("\n0\t"):
            os.sched_yield()
        recorder.send_signal(signal.SIGUSR1)
        assert next(lines).startswith("heaptop: incident: asked for by SIGUSR1: incident-")
        recorder.send_signal(signal.SIGUSR2)
        while "mark 1" not in moments.read_text():
            os.sched_yield()
        recorder.send_signal(signal.SIGINT)
        rest = "".join(lines)
    assert recorder.returncode == 130
    assert ", 1 incident" in rest
    marks = [moment.mark for moment in opened(tmp_path / "r").moments]
    assert marks == ["", "incident (asked): asked for by SIGUSR1", "mark 1"]


def test_it_goes_on_with_a_recording(use: Use, run: Run, tmp_path: Path) -> None:
    for _ in range(2):
        use(Going(1, signal.SIGINT))
        run("record", str(tmp_path / "r"))
    assert len(opened(tmp_path / "r").moments) == 2


def test_the_terminal_is_gone(use: Use, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Gone(io.StringIO):
        def write(self, text: str) -> int:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    use(Going(3, signal.SIGINT))
    monkeypatch.setattr(sys, "stderr", Gone())
    ran = run("record", str(tmp_path / "r"), "--interval", "0.1", "--incident-bytes", "1")
    assert ran.code == 130
    assert len(opened(tmp_path / "r").moments) == 3


def test_the_source_is_gone(use: Use, run: Run, tmp_path: Path) -> None:
    use(Going(2))
    ran = run("record", str(tmp_path / "r"), "--interval", "0.1")
    assert ran.code == 3
    assert ran.err.splitlines()[-1] == "heaptop: the device: gone; plug it in"
    assert len(opened(tmp_path / "r").moments) == 2


@pytest.mark.parametrize(
    "option",
    [
        ("--max-size", "x"),
        ("--max-size", "-1"),
        ("--max-age", "0"),
        ("--incident-growth", "8M"),
        ("--incident-growth", "8M/fortnight"),
        ("--incident-bytes", "lots"),
        ("--keep-free", "-5"),
        ("--json",),
        ("--at", "first"),
    ],
)
def test_options_that_cannot_be_taken(use: Use, run: Run, tmp_path: Path, option: tuple[str, ...]) -> None:
    use(FakeBackend())
    assert run("record", str(tmp_path / "r"), *option).code == 2
    assert not (tmp_path / "r").exists()


def test_a_recording_is_not_recorded(run: Run, tmp_path: Path) -> None:
    ran = run("-b", f"replay:{archive(CAPTURES[0])}", "record", str(tmp_path / "r"))
    assert ran.code == 2
    assert ran.err.startswith("heaptop: record: a recording does not change; copy it, or take `heaptop capture`")
    assert not (tmp_path / "r").exists()


def test_a_bad_place(use: Use, run: Run, tmp_path: Path) -> None:
    use(FakeBackend())
    (tmp_path / "file").write_text("mine")
    ran = run("record", str(tmp_path / "file"))
    assert ran.code == 4
    assert ran.err.startswith(f"heaptop: cannot record to {tmp_path}/file: it exists and is no folder; name a new path")


def test_without_names(use: Use, run: Run, tmp_path: Path) -> None:
    use(Going(2, signal.SIGINT))
    ran = run("record", str(tmp_path / "r"), "--anonymise", "--interval", "0.1")
    assert "note: names are replaced" in ran.err
    assert "were replaced by stand-ins" in (tmp_path / "r" / "README.txt").read_text()
    series = opened(tmp_path / "r")
    assert b"app70" not in gzip.decompress((tmp_path / "r" / "000000.tar.gz").read_bytes())
    assert {process.pid for process in series.capture(1).processes} == {70, 80}


# Moments


@pytest.fixture
def recorded(use: Use, tmp_path: Path) -> str:
    """Six moments, a second apart, each with a buffer more."""
    from heaptop.recorder import Recorder
    from heaptop.session import Session

    backend = Going(6)
    recorder = Recorder(str(tmp_path / "r"), tell=print, clock=lambda: 0, uptime=lambda: backend.phone.up)
    session = Session(backend, lambda: 0)
    session.observer = recorder.observe
    for _ in range(6):
        session.refresh()
    recorder.close()
    return f"replay:{tmp_path / 'r'}"


def document(run: Run, *arguments: str) -> dict[str, Any]:
    ran = run(*arguments, "--json")
    assert ran.code == 0
    found: dict[str, Any] = json.loads(ran.out)
    return found


def test_lists_at_a_moment(run: Run, recorded: str) -> None:
    assert len(document(run, "-b", recorded, "buffers")["buffers"]) == 9
    first = document(run, "-b", recorded, "buffers", "--at", "first")
    assert len(first["buffers"]) == 4
    assert first["captured_at"] == "2023-11-14T22:13:21.000Z"
    assert len(document(run, "-b", recorded, "buffers", "--at", "-2s")["buffers"]) == 7


def test_ages_are_those_the_recorder_knew(run: Run, recorded: str) -> None:
    seen = {row["inode"]: row["first_seen"] for row in document(run, "-b", recorded, "buffers")["buffers"]}
    assert seen[10] == "2023-11-14T22:13:21.000Z"
    assert seen[1000] == "2023-11-14T22:13:26.000Z"


@pytest.mark.parametrize(("arguments", "counts"), [
    (("--interval", "1s"), [4, 5, 6, 7, 8, 9]),
    (("--interval", "2s"), [4, 6, 8]),
    (("--interval", "2s", "--at", "-3s"), [6, 8]),
    (("--interval", "1d"), [4]),
])  # fmt: skip
def test_lists_over_time(run: Run, recorded: str, arguments: tuple[str, ...], counts: list[int]) -> None:
    ran = run("-b", recorded, "buffers", "--json", *arguments)
    assert [len(json.loads(line)["buffers"]) for line in ran.out.splitlines()] == counts


def test_a_moment_as_a_capture_of_its_own(run: Run, recorded: str, tmp_path: Path) -> None:
    assert run("-b", recorded, "capture", str(tmp_path / "one.tar.gz"), "--at", "first").code == 0
    capture = recording.read(str(tmp_path / "one.tar.gz"))
    assert capture.captured_at == NOON + 1
    assert len(capture.processes[0].table.links) == 2


def test_moments_that_are_refused(use: Use, run: Run, recorded: str) -> None:
    ran = run("-b", recorded, "buffers", "--at", "soon")
    assert (ran.code, ran.err.splitlines()[0][:31]) == (2, "heaptop: 'soon' is no moment; w")
    use(FakeBackend())
    ran = run("buffers", "--at", "first")
    assert (ran.code, ran.err) == (2, "heaptop: --at: fake is not a recording; take it with -b replay:PATH\n")
