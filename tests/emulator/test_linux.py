"""The Linux calls, each in a process of its own."""

import errno
import os
import subprocess
import sys

import pytest

from heaptop_emulator import linux
from heaptop_emulator.inotify import ReleaseWatcher
from tests.emulator.serving import DEADLINE_S


def told_by(code: str) -> bytes:
    """What a Python program prints."""
    program = [sys.executable, "-c", f"import os; from heaptop_emulator import linux; {code}"]
    return subprocess.run(program, capture_output=True, check=True, timeout=DEADLINE_S).stdout


def test_a_process_is_shown_under_its_name() -> None:
    shown = told_by(
        "linux.name_process('surfaceflinger');"
        "os.write(1, open('/proc/self/comm', 'rb').read() + open('/proc/self/cmdline', 'rb').read())"
    )
    assert shown == b"surfaceflinger\nsurfaceflinger\0"


def test_a_name_too_long_for_the_command_line_is_the_comm_alone() -> None:
    shown = told_by(
        "before = open('/proc/self/cmdline', 'rb').read();"
        "linux.name_process('n' * len(before));"
        "os.write(1, open('/proc/self/comm', 'rb').read());"
        "assert before == open('/proc/self/cmdline', 'rb').read()"
    )
    assert shown == b"n" * 15 + b"\n"


def test_an_older_kernel_that_knows_no_noexec_seal(monkeypatch: pytest.MonkeyPatch) -> None:
    create = os.memfd_create

    def older(label: str, flags: int) -> int:
        if flags & ~(os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING):
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        return create(label, flags)

    def exhausted(_label: str, _flags: int) -> int:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(os, "memfd_create", older)
    fd = linux.nameless_file("label")
    assert os.readlink(f"/proc/self/fd/{fd}") == "/memfd:label (deleted)"
    os.close(fd)
    monkeypatch.setattr(os, "memfd_create", exhausted)
    with pytest.raises(OSError, match="Too many open files"):
        linux.nameless_file("label")


FAILING = """
import os
from heaptop_emulator import wire
from heaptop_emulator.actor import Role, launch
class Failing(Role):
    comm = "failing"
    def start(self):
        raise RuntimeError("cannot start")
(actor,) = launch((Failing,), 1)
wire.send(actor.connection, b"{}")
print(os.waitstatus_to_exitcode(os.waitpid(actor.pid, 0)[1]))
"""


def test_an_actor_that_fails_says_so_and_runs_nothing_of_its_parent() -> None:
    done = subprocess.run([sys.executable, "-c", FAILING], capture_output=True, check=True, timeout=DEADLINE_S)
    assert done.stdout == b"1\n"
    assert b"RuntimeError: cannot start" in done.stderr


def test_a_process_whose_parent_has_ended_ends() -> None:
    assert told_by("linux.end_with_parent(os.getppid()); print('parent lives')") == b"parent lives\n"
    assert told_by("linux.end_with_parent(1 << 22); print('parent has ended')") == b""


def test_all_but_the_kept_descriptors_are_closed() -> None:
    shown = told_by(
        "kept, closed = os.pipe();"
        "linux.close_all_but({0, 1, 2, kept});"
        "print(os.fstat(kept).st_ino > 0, len(os.listdir('/proc/self/fd')))"
    )
    assert shown == b"True 5\n"  # and the listing's own


def test_a_descriptor_that_is_not_open_cannot_be_watched() -> None:
    watcher = ReleaseWatcher()
    with pytest.raises(OSError, match="inotify_add_watch: No such file"):
        watcher.watch(os.sysconf("SC_OPEN_MAX"))
    watcher.close()
