"""`heaptop run`: commands see heaps that this kernel need not have, and nobody sees heaptop."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from heaptop_emulator import shared
from tests.emulator.serving import wait_for

ALLOCATE = """
import fcntl, os, struct, sys
heap = os.open("/dev/dma_heap/" + sys.argv[1], os.O_RDWR | os.O_CLOEXEC)
request = bytearray(struct.pack("=QIIQ", int(sys.argv[2]), 0, os.O_RDWR | os.O_CLOEXEC, 0))
fcntl.ioctl(heap, 0xC0184800, request)
fd = struct.unpack("=QIIQ", request)[1]
print(os.getpid(), fd, os.fstat(fd).st_ino, os.lseek(fd, 0, os.SEEK_END), flush=True)
sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A shared emulator of the test's own."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    path = str(tmp_path / "heaptop")
    yield path
    shared.stop(path)


def heaptop(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "heaptop", "run", *arguments]


def run(*arguments: str, given: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(heaptop(*arguments), input=given, capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.parametrize("status", [0, 1, 77, 255])
def test_the_status_is_the_commands(status: int) -> None:
    ended = run("-q", "--", "sh", "-c", f"echo out; echo err >&2; exit {status}")
    assert (ended.returncode, ended.stdout, ended.stderr) == (status, "out\n", "err\n")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV, signal.SIGINT])
def test_it_dies_as_the_command_does(number: signal.Signals) -> None:
    assert run("-q", "--", "sh", "-c", f"kill -{number} $$").returncode == -number


@pytest.mark.parametrize(("command", "status"), [("no-such-command", 127), ("/etc/passwd", 126)])
def test_no_command(command: str, status: int) -> None:
    ended = run("-q", "--", command)
    assert ended.returncode == status
    assert ended.stderr.startswith(f"heaptop: cannot run {command}: E")


def test_no_command_at_all() -> None:
    assert run("-q", "--").returncode == 2


def test_the_commands_options_are_its_own() -> None:
    ended = run("-q", "echo", "--profile", "-v4", "--", "-b", "--help")
    assert ended.stdout == "--profile -v4 -- -b --help\n"


def test_stdin_environment_and_folder_are_passed_through(tmp_path: Path) -> None:
    ended = subprocess.run(
        heaptop("-q", "--", "sh", "-c", "cat; pwd; echo $ODD; env | grep -c LC_CTYPE"),
        input="in\n",
        env={"PATH": os.environ["PATH"], "ODD": "a b", "LC_ALL": "C", "XDG_RUNTIME_DIR": str(tmp_path)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.stdout == f"in\n{tmp_path}\na b\n0\n"


def test_closed_descriptors_stay_closed() -> None:
    """Nothing of heaptop's takes their numbers, in the command or in the supervisor."""
    script = f"exec {sys.executable} -m heaptop run -q -- {sys.executable} -c '{ALLOCATE}' system 5000 <&- 2>&-"
    ended = subprocess.run(
        ["sh", "-c", script.replace("sys.stdin.read()", "os.fstat(2)")], capture_output=True, text=True, check=False
    )
    pid, fd, _, size = map(int, ended.stdout.split())
    assert (fd, size) == (2, 8192)
    assert pid > 0


def test_buffers_are_seen_and_go_with_the_command(folder: str) -> None:
    command = heaptop("--", sys.executable, "-c", ALLOCATE, "system", "5000")
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        pid, fd, inode, size = map(int, process.stdout.readline().split())
        assert size == 8192
        with shared.connect(folder) as client:
            assert [(buffer.inode, buffer.heap) for buffer in client.state().buffers] == [(inode, "system")]
            assert os.stat(f"/proc/{pid}/fd/{fd}").st_ino == inode
            process.communicate("")
            assert process.returncode == 0
            wait_for(client.state, lambda state: state.buffers == ())


def test_the_host_keeps_its_dev() -> None:
    before = sorted(os.listdir("/dev"))
    assert run("-q", "--", "sh", "-c", "ls /dev/dma_heap").stdout == "camera\nreserved\nsystem\n"
    assert sorted(os.listdir("/dev")) == before


def test_what_is_said() -> None:
    ended = run("--", "true")
    assert "emulating the dma-heaps system, reserved, camera" in ended.stderr
    assert json.dumps(ended.stdout) == '""'
