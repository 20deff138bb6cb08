"""Where commands cannot be supervised: what is said, and how it ends."""

import ctypes
import errno
import os
import struct
import subprocess
import sys
from collections.abc import Callable

import pytest

from heaptop.trace.supervise.libc import machine
from heaptop.trace.supervise.refusal import CommandError, refused
from tests.trace.supervise.conftest import TIMEOUT_S, Build, Runner
from tests.trace.supervise.test_programs import WRONG

UNSHARE = {"x86_64": 272, "aarch64": 97}[os.uname().machine]
PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 38, 22, 2
ERRNO, ALLOW = 0x00050000, 0x7FFF0000


def forbid(number: int, error: int) -> Callable[[], None]:
    """Lets the process, and what it becomes, have that system call fail."""
    code = ((0x20, 0, 0, 0), (0x15, 0, 1, number), (0x06, 0, 0, ERRNO | error), (0x06, 0, 0, ALLOW))
    raw = b"".join(struct.pack("=HBBI", *instruction) for instruction in code)
    libc = ctypes.CDLL(None, use_errno=True)

    def act() -> None:
        buffer = ctypes.create_string_buffer(raw, len(raw))
        program = ctypes.create_string_buffer(struct.pack("H6xQ", len(code), ctypes.addressof(buffer)), 16)
        assert libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
        assert libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, program, 0, 0) == 0

    return act


def run_where(runner: Runner, number: int, error: int, *command: str) -> "subprocess.CompletedProcess[str]":
    runner.run("-q", "--", "true")  # the emulator runs
    return subprocess.run(
        **runner.arguments("--", *(command or ("true",))),
        capture_output=True,
        check=False,
        timeout=TIMEOUT_S,
        preexec_fn=forbid(number, error),
    )


@pytest.mark.parametrize(
    ("error", "remedy"),
    [(errno.EPERM, "run as root, or allow user namespaces"), (errno.ENOSPC, "user.max_user_namespaces")],
)
def test_without_namespaces_opening_is_answered(runner: Runner, build: Build, error: int, remedy: str) -> None:
    """The command has the host's /dev, and still every heap, by name and by listing; and it is said."""
    client = build("client.c", "-O2", "-Wall", "-pthread")
    script = f"cd /; {sys.executable} -c 'import os; print(sorted(os.listdir(\"/dev/dma_heap\")))'; exec {client} wrong"
    done = run_where(runner, UNSHARE, error, "sh", "-c", script)
    listed, *lines = done.stdout.splitlines()
    assert listed == "['camera', 'reserved', 'system']"
    assert {name: int(number) for name, number in map(str.split, lines)} == WRONG
    assert "a /dev of its own: E" in done.stderr
    assert remedy in done.stderr
    assert [name for name in os.listdir(runner.emulator) if name.startswith("nodes.")] == []


def test_without_namespaces_there_is_no_other_heap(runner: Runner) -> None:
    script = """
import os
for path in ("/dev/dma_heap/nowhere", "/dev/dma_heaps", "/dev/dma_heap/../null", "/dev//dma_heap/system"):
    try:
        os.close(os.open(path, os.O_RDONLY))
        print(0)
    except OSError as error:
        print(error.errno)
"""
    done = run_where(runner, UNSHARE, errno.EPERM, sys.executable, "-c", script)
    assert done.stdout.split() == [str(number) for number in (errno.ENOENT, errno.ENOENT, 0, errno.ENOENT)]


@pytest.mark.parametrize("error", [errno.EPERM, errno.ENOSYS, errno.EBUSY])
def test_no_listener(runner: Runner, error: int) -> None:
    done = run_where(runner, machine().seccomp, error)
    assert done.returncode == 3
    assert f"the filter: {errno.errorcode[error]}" in done.stderr
    assert "start heaptop outside" in done.stderr


def test_an_unknown_reason() -> None:
    assert "see heaptop run --help" in str(refused("the filter", errno.EIO, None))


@pytest.mark.parametrize(("number", "code"), [(errno.ENOENT, 127), (errno.EACCES, 126), (errno.ENOEXEC, 126)])
def test_no_command(number: int, code: int) -> None:
    assert CommandError("x", number).exit_code == code


def test_a_run_in_a_run(runner: Runner, build: Build) -> None:
    """The outer one answers for the inner one's command."""
    client = build("client.c", "-O2", "-Wall", "-pthread")
    inner = (sys.executable, "-m", "heaptop", "run")
    done = runner.run("--", *inner, "--", client, "forks")
    assert done.returncode == 0
    assert "this is inside another heaptop run" in done.stderr
    assert "given 201 buffers of system" in done.stderr
    done = runner.run("-q", "--", *inner, "--fail-nth", "1", "--", client)
    assert (done.returncode, done.stderr.count("\n")) == (3, 1)
    assert "give these options to the outer one" in done.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--emulate", "--observe", "--", "true"), "either the emulator answers or the kernel does"),
        (("--observe", "--profile", "v4", "--", "true"), "the kernel has an ABI of its own"),
        (("--fail-heap", "sistem", "--", "true"), "did you mean system?"),
        (("--fail-nth", "0", "--", "true"), "not a whole number"),
        (("--latency", "2h", "--", "true"), "more than an hour"),
        (("--profile", "v5", "--", "true"), "no p 'v5'"),
        ((), "no command to run"),
    ],
)
def test_words_that_cannot_be_taken(runner: Runner, words: tuple[str, ...], said: str) -> None:
    done = runner.run(*words)
    assert done.returncode == 2
    assert said in done.stderr


def test_nothing_to_observe(runner: Runner) -> None:
    if os.path.isdir("/dev/dma_heap"):
        pytest.skip("this kernel has heaps")
    done = runner.run("--observe", "--", "true")
    assert (done.returncode, "no dma-heap to observe" in done.stderr) == (3, True)
