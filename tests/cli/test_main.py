"""How the program ends: pipes, signals, errors, and what it loads. Real processes."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from heaptop.cli.verbs import VERBS
from heaptop.errors import RecordingError
from tests.cli.conftest import FakeBackend, Run, Use
from tests.support import CAPTURES, archive

REPLAY = f"replay:{archive(CAPTURES[0])}"
HEAPTOP = (sys.executable, "-m", "heaptop")
Popen = subprocess.Popen[str]


@pytest.fixture
def start() -> "Callable[..., Popen]":
    """A function that starts heaptop with pipes."""

    def start_it(*arguments: str, **options: object) -> Popen:
        return subprocess.Popen(  # type: ignore[call-overload, no-any-return]
            [*HEAPTOP, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options
        )

    return start_it


def run_shell(command: str) -> subprocess.CompletedProcess[str]:
    line = command.replace("heaptop", " ".join(HEAPTOP)).replace("REPLAY", REPLAY)
    return subprocess.run(["bash", "-o", "pipefail", "-c", line], capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    "arguments",
    ["-b REPLAY buffers --json", "-b REPLAY buffers", "--help", "-b REPLAY buffers --interval 100ms --json"],
)
@pytest.mark.parametrize("reader", ["head -n 1 >/dev/null", "true"])
def test_a_reader_that_goes_away_is_no_error(reader: str, arguments: str) -> None:
    ran = run_shell(f"heaptop {arguments} | {reader}")
    assert "Traceback" not in ran.stdout + ran.stderr
    assert "Broken" not in ran.stderr
    assert ran.returncode == 0


@pytest.mark.parametrize("arguments", ["-b REPLAY buffers --json", "--help", "completion bash"])
def test_a_full_disk_is_told(arguments: str) -> None:
    ran = run_shell(f"heaptop {arguments} >/dev/full")
    assert (ran.returncode, ran.stderr) == (3, "heaptop: stdout: ENOSPC (No space left on device)\n")


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&-", "<&- >&- 2>&-"])
def test_closed_streams_are_survived(closed: str) -> None:
    ran = run_shell(f"heaptop -b REPLAY buffers --json {closed}")
    assert ran.returncode == 0
    assert "Traceback" not in ran.stderr


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)], ids=str
)
def test_signals_end_a_stream_without_a_traceback(
    number: signal.Signals, code: int, start: "Callable[..., Popen]"
) -> None:
    with start("-b", REPLAY, "buffers", "--json", "--interval", "1h") as process:
        assert process.stdout is not None
        json.loads(process.stdout.readline())
        process.send_signal(number)
        _, err = process.communicate(timeout=30)
    assert process.returncode == code
    assert "Traceback" not in err


def test_a_stream_is_flushed_line_by_line(start: "Callable[..., Popen]") -> None:
    with start("-b", REPLAY, "heaps", "--json", "--interval", "100ms") as process:
        assert process.stdout is not None
        first, second = (json.loads(process.stdout.readline()) for _ in range(2))
        process.terminate()
        process.communicate(timeout=30)
    assert first == second


def test_an_ignored_hangup_stays_ignored(start: "Callable[..., Popen]") -> None:
    ignore = lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN)  # noqa: E731
    with start("-b", REPLAY, "heaps", "--json", "--interval", "100ms", preexec_fn=ignore) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGHUP)
        assert process.stdout.readline()
        assert process.stdout.readline()
        process.terminate()
        process.communicate(timeout=30)
    assert process.returncode == 143


def test_importtime_names_no_textual() -> None:
    ran = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "heaptop", "-b", REPLAY, "heaps"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "heaptop.model" in ran.stderr
    assert "textual" not in ran.stderr


def test_without_a_terminal_the_app_names_the_verbs() -> None:
    ran = subprocess.run([*HEAPTOP], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr.startswith("heaptop: the app needs a terminal: ")
    assert ran.stderr.rstrip().endswith(f"use a verb: {', '.join(verb.name for verb in VERBS)}")


def test_output_that_is_not_utf8(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    for verb in ("buffers", "cma"):
        for extra in ((), ("--csv",), ("--json",)):
            ran = subprocess.run(
                [*HEAPTOP, "-b", REPLAY, verb, *extra], capture_output=True, env=environment, check=True, cwd=None
            )
            assert ran.stdout.isascii()


def test_errors_are_one_line(use: Use, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    use(FakeBackend())

    def refuse(*_: object) -> None:
        raise RecordingError("evil\npath", "why", "remedy")

    monkeypatch.setattr("heaptop.recording.write", refuse)
    ran = run("capture", "x")
    assert (ran.code, ran.out, ran.err) == (4, "", "heaptop: evil\\npath: why; remedy\n")


def test_a_missing_recording(run: Run, tmp_path: Path) -> None:
    ran = run("-b", f"replay:{tmp_path / 'none'}", "heaps")
    assert (ran.code, ran.out) == (4, "")
    assert len(ran.err.splitlines()) == 1


def test_an_unknown_source(run: Run) -> None:
    ran = run("-b", "frob", "heaps")
    assert (ran.code, ran.out) == (2, "")
    assert "frob" in ran.err


def test_bugs_are_not_swallowed(use: Use, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    use(FakeBackend())
    monkeypatch.setattr("heaptop.cli.lists.assemble", lambda _: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run("heaps")
