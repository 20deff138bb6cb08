"""`--profile-self`: shares of the CPU time that was really taken, by step."""

import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest

from heaptop.cli.self_profile import LOADING, START, SelfProfile, step_of
from heaptop.units import format_size
from tests.support import archive

ROW = re.compile(r"^ *(\d+) ms +(\d+\.\d)%  (.+)$", re.MULTILINE)
TIMEOUT_S = 60
RECORDING = f"replay:{archive('6.12.117-x86_64')}"


def rows(text: str) -> dict[str, float]:
    return {step: float(share) for _, share, step in ROW.findall(text)}


def test_it_counts_cpu_time(capsys: pytest.CaptureFixture[str]) -> None:
    before = signal.getsignal(signal.SIGPROF)
    with SelfProfile().running():
        began = time.process_time()
        while time.process_time() - began < 0.2:
            format_size(1 << 20)
    text = capsys.readouterr().err
    assert re.match(r"heaptop: \d+\.\d\d s of CPU time in \d+\.\d s.*: [\d.]+ s its own, [\d.]+ s the kernel's; ", text)
    assert sum(rows(text).values()) == pytest.approx(100, abs=1)
    assert signal.getsignal(signal.SIGPROF) is before
    assert signal.getitimer(signal.ITIMER_PROF) == (0.0, 0.0)


def test_steps() -> None:
    assert step_of(sys._getframe()) == "the rest"
    for module, step in (
        ("heaptop.parse.maps", "assembly: parsing"),
        ("heaptop.tui.views.buffers", "drawing"),
        ("heaptop.tui.poller", "session"),
        ("importlib._bootstrap", LOADING),
    ):
        frame = SimpleNamespace(f_globals={"__name__": module}, f_back=None, f_locals={})
        inner = SimpleNamespace(f_globals={"__name__": "re"}, f_back=frame, f_locals={})
        assert step_of(inner) == step  # type: ignore[arg-type]


def test_a_verb() -> None:
    """All of its output is as ever; what it took goes to stderr."""
    command = [sys.executable, "-m", "heaptop", "--profile-self", "buffers", "-b", RECORDING]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=TIMEOUT_S)
    plain = subprocess.run([*command[:3], *command[4:]], capture_output=True, text=True, check=True, timeout=TIMEOUT_S)
    assert done.stdout == plain.stdout
    found = rows(done.stderr)
    assert START in found
    assert sum(found.values()) == pytest.approx(100, abs=1)


def test_the_app() -> None:
    """It tells when its screen is gone."""
    pid, fd = pty.fork()
    if pid == 0:
        words = [sys.executable, "-m", "heaptop", "--profile-self", "-b", RECORDING]
        os.execvpe(words[0], words, os.environ | {"TERM": "xterm-256color"})
    output, is_asked = b"", False
    end = time.monotonic() + TIMEOUT_S
    while time.monotonic() < end:
        ready, _, _ = select.select([fd], [], [], 1)
        try:
            output += os.read(fd, 1 << 16) if ready else b""
        except OSError:
            break  # it has ended
        if b"Buffers" in output and not is_asked:
            is_asked = bool(os.write(fd, b"q"))
    os.waitpid(pid, 0)
    os.close(fd)
    found = rows(output.rpartition(b"\x1b[?1049l")[2].decode().replace("\r\n", "\n"))
    assert found.keys() >= {LOADING, "drawing"}
