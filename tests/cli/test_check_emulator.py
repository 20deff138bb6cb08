"""`heaptop check` through the shared emulator: a daemon that loses one real buffer, and its mended twin."""

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from heaptop_emulator import shared
from heaptop_emulator.wire import Client

CYCLES = 20


@pytest.fixture
def daemon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    """This process as the daemon: a client of an emulator of its own."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    client, _ = shared.connect_or_start()
    yield client
    client.socket.close()
    shared.stop()


def checked(daemon: Client, path: Path, leaks_at: int | None) -> int:
    """Twenty cycles of two buffers, which are given back but for one in cycle `leaks_at`; the exit code."""
    command = ["-b", "emulator", "check", "--count", str(CYCLES), "--settle", "0.3s", "--warmup", "0"]
    kept: list[int] = []
    with subprocess.Popen([sys.executable, "-m", "heaptop", *command, "--marks", f"socket:{path}"]) as process:
        with _connected(path, process) as marks, marks.makefile("rw") as lines:
            for cycle in range(CYCLES + 1):
                lines.write("mark\n")
                lines.flush()
                assert lines.readline().startswith("ok ")
                given = [daemon.allocate("system", 16384, b"codec-out").fd for _ in range(2)]
                kept += given[:1] if cycle == leaks_at else []
                for fd in given[1 if cycle == leaks_at else 0 :]:
                    os.close(fd)
        code = process.wait(60)
    for fd in kept:
        os.close(fd)
    return code


def _connected(path: Path, process: "subprocess.Popen[bytes]") -> socket.socket:
    client = socket.socket(socket.AF_UNIX)
    tick = threading.Event()
    while process.poll() is None:
        try:
            client.connect(str(path))
        except OSError:
            tick.wait(0.02)
        else:
            return client
    raise AssertionError("heaptop has ended")


def test_one_buffer_in_twenty_cycles_and_the_mended_twin(daemon: Client, tmp_path: Path) -> None:
    assert checked(daemon, tmp_path / "leaky", CYCLES - 1) == 1
    assert checked(daemon, tmp_path / "mended", None) == 0
