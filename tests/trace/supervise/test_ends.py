"""Whoever dies, the others go on, or end as they should, and nothing hangs."""

import contextlib
import errno
import os
import pty
import select
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from heaptop_emulator import shared
from tests.emulator.serving import wait_for
from tests.trace.supervise.conftest import TIMEOUT_S, Build, Runner


@pytest.fixture
def client(build: Build) -> str:
    return build("client.c", "-O2", "-Wall", "-pthread")


@contextlib.contextmanager
def started(runner: Runner, *words: str) -> Iterator["subprocess.Popen[str]"]:
    with runner.start(*words) as process:
        try:
            yield process
        finally:
            process.kill()


def line(process: "subprocess.Popen[str]") -> list[int]:
    """The next line that the command says, of numbers."""
    assert process.stdout is not None
    readable, _, _ = select.select([process.stdout], [], [], TIMEOUT_S)
    assert readable
    return [int(word) for word in process.stdout.readline().split()]


def child_of(pid: int) -> int:
    with open(f"/proc/{pid}/task/{pid}/children") as file:
        (only,) = file.read().split()
    return int(only)


def gone(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def test_the_supervisor_dies(runner: Runner, client: str) -> None:
    """The command's calls fail instead of waiting, and it is said; its status is heaptop's all the same."""
    with started(runner, "--", client, "loop") as process:
        (pid,) = line(process)
        supervisor = child_of(process.pid)
        assert child_of(supervisor) == pid
        os.kill(supervisor, signal.SIGKILL)
        assert line(process) == [errno.ENOSYS]
        _, said = process.communicate(timeout=TIMEOUT_S)
        assert process.returncode == 9
        assert "the supervisor has ended (killed by SIGKILL)" in said
        assert "ENOSYS" in said


def test_the_supervisor_dies_while_a_call_waits(runner: Runner, client: str) -> None:
    with started(runner, "--latency", "1h", "--", client, "loop") as process:
        line(process)
        supervisor = child_of(process.pid)
        wait_until_it_waits(child_of(supervisor))
        os.kill(supervisor, signal.SIGKILL)
        assert line(process) == [errno.ENOSYS]


def wait_until_it_waits(pid: int) -> None:
    """Until a process is in ioctl(2), which never returns by itself."""
    wait_for(lambda: syscall(pid), lambda number: number == "16" if os.uname().machine == "x86_64" else number == "29")


def syscall(pid: int) -> str:
    with open(f"/proc/{pid}/syscall") as file:
        return file.read().split()[0]


def test_the_command_is_killed_in_its_call(runner: Runner, client: str) -> None:
    """Nothing of it is left: no buffer, no supervisor."""
    with started(runner, "-q", "--latency", "1h", "--", client, "loop") as process:
        (pid,) = line(process)
        supervisor = child_of(process.pid)
        wait_until_it_waits(pid)
        os.kill(pid, signal.SIGKILL)
        process.wait(TIMEOUT_S)
        assert process.returncode == -signal.SIGKILL
        wait_for(lambda: gone(supervisor), bool)
    with shared.connect_or_start(path=runner.emulator)[0] as emulator:
        wait_for(emulator.state, lambda state: state.buffers == ())


def test_heaptop_is_killed(runner: Runner, client: str) -> None:
    """The command goes on, and is still answered."""
    with started(runner, "-q", "--", client, "hold") as process:
        line(process)
        process.kill()
        process.wait(TIMEOUT_S)
        assert process.stdin is not None
        process.stdin.close()
        assert line(process) == [1]
        process.stdin = None


def test_the_emulator_is_killed(runner: Runner, client: str) -> None:
    """The next ALLOC is answered by a new one."""
    with started(runner, "-q", "--", client, "hold") as process:
        line(process)
        with shared.connect(runner.emulator) as emulator:
            os.kill(emulator.about().pid, signal.SIGKILL)
        assert process.communicate("", timeout=TIMEOUT_S) == ("1\n", "")
        assert process.returncode == 0


def test_an_orphan_outlives_the_command(runner: Runner, client: str) -> None:
    """heaptop ends with the command; who is left is answered until it ends."""
    with started(runner, "-q", "--", client, "orphan") as process:
        assert process.wait(TIMEOUT_S) == 0
        assert process.stdin is not None
        process.stdin.close()
        assert line(process) == [1]
        process.stdin = None


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGUSR1])
def test_signals_are_passed_on(runner: Runner, number: signal.Signals) -> None:
    trap = f"trap 'echo 1; exit 3' {number.name.removeprefix('SIG')}; echo 0; while :; do read -r line; done"
    with started(runner, "-q", "--", "sh", "-c", trap) as process:
        assert line(process) == [0]
        process.send_signal(number)
        assert line(process) == [1]
        assert process.wait(TIMEOUT_S) == 3


BROKEN = """
import sys
from heaptop.trace.supervise.front import Front
from heaptop.trace.supervise.launch import Plan
from heaptop.trace.supervise.libc import machine
from heaptop.trace.supervise.seccomp import Stopped
from heaptop.trace.supervise.supervisor import Job

class Broken:
    def handle(self, call):
        raise KeyError(call.command)
    def tend(self):
        return None
    def close(self):
        pass

plan = Plan((sys.executable, "-c", sys.argv[1]), machine(), Stopped(all_of_a_heap=False), heaps=None)
said = []
status = Front(Job(plan, lambda *_: Broken()), said.append, lambda _: None).run()
print(status, ["KeyError" in line for line in said])
"""
ASKS_TWICE = """
import fcntl
for _ in range(2):
    try:
        fcntl.ioctl(0, 0xC0184800, bytearray(24))
    except OSError as error:
        print(error.errno, flush=True)
"""


def test_a_bug_costs_one_call() -> None:
    """It is told, and the caller and all others are answered."""
    command = [sys.executable, "-c", BROKEN, ASKS_TWICE]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=TIMEOUT_S)
    assert done.stdout.splitlines() == [str(errno.ENOMEM)] * 2 + ["0 [True, True]"], done.stderr


class Terminal:
    """heaptop in the foreground of a terminal, whose output is read until it says something."""

    def __init__(self, runner: Runner, *words: str, shell: str | None = None) -> None:
        """`shell` is a script that gets heaptop's command line as its words."""
        arguments = runner.arguments(*words)
        command = [*(() if shell is None else ("bash", "-c", shell, "bash")), *arguments["args"]]
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.execvpe(command[0], command, arguments["env"])

    def read_until(self, wanted: bytes) -> bytes:
        seen = b""
        while wanted not in seen:
            readable, _, _ = select.select([self.fd], [], [], TIMEOUT_S)
            assert readable, seen
            seen += os.read(self.fd, 4096)
        return seen

    def type(self, keys: bytes) -> None:
        os.write(self.fd, keys)

    def waited(self) -> int:
        return os.waitpid(self.pid, 0)[1]


CAT = ("-q", "--", "sh", "-c", "echo begun; exec cat")


@pytest.fixture
def opened() -> Iterator[list[Terminal]]:
    """Terminals, which are closed."""
    terminals: list[Terminal] = []
    yield terminals
    for terminal in terminals:
        os.close(terminal.fd)  # the terminal hangs up: SIGHUP to all in it


def test_the_terminal_is_the_commands(runner: Runner, opened: list[Terminal]) -> None:
    terminal = Terminal(runner, *CAT)
    opened.append(terminal)
    terminal.read_until(b"begun")
    terminal.type(b"abc\n")
    terminal.read_until(b"abc\r\nabc")
    terminal.type(b"\x04")
    assert terminal.waited() == 0


def test_ctrl_c_ends_the_command(runner: Runner, opened: list[Terminal]) -> None:
    terminal = Terminal(runner, *CAT)
    opened.append(terminal)
    terminal.read_until(b"begun")
    terminal.type(b"\x03")
    status = terminal.waited()
    assert os.WIFSIGNALED(status)
    assert os.WTERMSIG(status) == signal.SIGINT


def test_ctrl_c_comes_once(runner: Runner, opened: list[Terminal]) -> None:
    """The command gets it from the terminal, and not again from heaptop."""
    script = "trap 'echo caught; read -r line; exit 5' INT; echo begun; read -r line"
    terminal = Terminal(runner, "-q", "--", "bash", "-c", script)
    opened.append(terminal)
    terminal.read_until(b"begun")
    terminal.type(b"\x03")
    assert terminal.read_until(b"caught").count(b"caught") == 1
    terminal.type(b"x\n")
    assert os.waitstatus_to_exitcode(terminal.waited()) == 5


def test_ctrl_z_stops_both(runner: Runner, opened: list[Terminal]) -> None:
    """A shell with job control sees heaptop stopped, and brings it back."""
    terminal = Terminal(runner, *CAT, shell='set -m; "$@"; echo stopped $?; fg >/dev/null; echo ended $?')
    opened.append(terminal)
    terminal.read_until(b"begun")
    terminal.type(b"\x1a")
    terminal.read_until(b"stopped 148")
    terminal.type(b"on\n")
    terminal.read_until(b"on\r\non")
    terminal.type(b"\x04")
    terminal.read_until(b"ended 0")
