"""A device's shell as a source: the script in the shells that are here, on a real kernel's files; and bad devices."""

import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heaptop.assemble import assemble
from heaptop.backend import select
from heaptop.backend.base import Backend
from heaptop.backend.remote import RemoteBackend, adb, ssh
from heaptop.backend.remote_text import told
from heaptop.backend.replay import ReplayBackend
from heaptop.capture import ReadError
from heaptop.errors import SourceError
from heaptop.model import Snapshot

ARCHIVE = Path(__file__).parent.parent / "captures" / "6.12.117-x86_64.tar.gz"
SHELLS = [["sh"], ["bash", "--posix"], ["busybox", "sh"], ["mksh"], ["dash"]]


@pytest.fixture(scope="module")
def device(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with proc and sys of a real kernel."""
    folder = tmp_path_factory.mktemp("device")
    with tarfile.open(ARCHIVE) as packed:
        packed.extractall(folder, filter="data")
    return next(path.parent for path in (*folder.glob("proc"), *folder.glob("*/proc")))


def look(backend: RemoteBackend) -> Snapshot:
    try:
        return assemble(backend.capture())
    finally:
        backend.close()


@pytest.mark.parametrize("shell", SHELLS, ids=lambda shell: shell[0])
def test_it_tells_what_the_kernel_told(device: Path, shell: list[str]) -> None:
    if shutil.which(shell[0]) is None:
        pytest.skip(f"needs {shell[0]}")
    found = look(RemoteBackend("ssh:test", ["env", f"ROOT={device}", *shell]))
    whole = assemble(ReplayBackend(str(ARCHIVE)).capture())
    assert {b.inode for b in found.buffers} == {b.inode for b in whole.buffers}
    for buffer, other in zip(found.buffers, whole.buffers, strict=True):
        assert (buffer.size_bytes, buffer.name, buffer.exporter) == (other.size_bytes, other.name, other.exporter)
        own = [holder for holder in other.holders if holder.maps or any(ref.tid is None for ref in holder.fds)]
        assert [holder.comm for holder in buffer.holders] == [holder.comm for holder in own]
        for holder, mine in zip(buffer.holders, own, strict=True):
            assert [ref.fd for ref in holder.fds] == [ref.fd for ref in mine.fds if ref.tid is None]
            assert [ref.start for ref in holder.maps] == [ref.start for ref in mine.maps]
    assert [(area.name, area.used_pages) for area in found.cma] == [(area.name, area.used_pages) for area in whole.cma]
    assert {p.id.pid: (p.comm, p.cmdline, p.uid) for p in found.processes} == {
        p.id.pid: (p.comm, p.cmdline, p.uid) for p in whole.processes
    }
    assert any("thread" in gap.what for gap in found.gaps)


def test_one_shell_serves_all_looks(device: Path) -> None:
    backend = RemoteBackend("ssh:test", ["env", f"ROOT={device}", "sh"])
    try:
        first, second = (assemble(backend.capture()) for _ in range(2))
        assert first.buffers == second.buffers
        assert isinstance(backend, Backend)
    finally:
        backend.close()
        backend.close()


def test_the_script_is_clean() -> None:
    script = Path(__file__).parent.parent.parent / "heaptop" / "backend" / "look.sh"
    for shell in SHELLS:
        if shutil.which(shell[0]):
            assert subprocess.run([*shell, "-n", str(script)], capture_output=True, check=True).stderr == b""


@pytest.mark.parametrize(
    ("command", "why"),
    [
        (["/nonexistent/adb"], "cannot run /nonexistent/adb"),
        (["sh", "-c", "echo 'no devices found' >&2; exit 1"], "no devices found"),
        (["sh", "-c", "printf 'x\\033[2J' >&2; exit 255"], "x\\\\x1b"),
        (["true"], "its shell has ended"),
    ],
)
def test_a_device_that_is_gone(command: list[str], why: str) -> None:
    with pytest.raises(SourceError, match=why):
        look(RemoteBackend("adb", command))


def test_a_device_without_the_tools_is_told(tmp_path: Path) -> None:
    for tool in ("sh", "grep", "sed", "ls", "tr"):
        (tmp_path / tool).symlink_to(shutil.which(tool) or "")
    with pytest.raises(SourceError, match="it has no xargs, sort"):
        look(RemoteBackend("adb", ["env", f"PATH={tmp_path}", "sh"]))


def test_a_device_that_hangs_is_left() -> None:
    with pytest.raises(SourceError, match="did not answer"):
        look(RemoteBackend("adb", ["sh", "-c", "cat >/dev/null; :"], timeout_s=0.05))


def test_the_shell_ends_with_heaptop() -> None:
    """Killed, heaptop leaves nothing on the device: the shell's input ends."""
    program = (
        "import os, signal; from heaptop.backend.remote import RemoteBackend;"
        "b = RemoteBackend('ssh:x', ['sh']); print(b._process.pid, flush=True); os.kill(os.getpid(), signal.SIGKILL)"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    pidfd = None
    try:
        pidfd = os.pidfd_open(int(ran.stdout))
    except ProcessLookupError:
        return  # it has ended already
    import select as waiting

    ended, _, _ = waiting.select([pidfd], [], [], 10)
    os.close(pidfd)
    assert ended


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, device: Path) -> Path:
    """adb and ssh that note how they were called and give a shell of the device."""
    for name in ("adb", "ssh"):
        program = tmp_path / name
        program.write_text(f'#!/bin/sh\necho "$0 $*" >>{tmp_path}/calls\nROOT={device} exec sh\n')
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    return tmp_path / "calls"


@pytest.mark.parametrize(
    ("source", "call"),
    [
        ("adb", "adb shell -T sh"),
        ("adb:emulator-5554", "adb -s emulator-5554 shell -T sh"),
        ("ssh:root@board", "ssh -T -o BatchMode=yes -- root@board sh"),
        ("ssh:-oProxyCommand=evil", "ssh -T -o BatchMode=yes -- -oProxyCommand=evil sh"),
    ],
)
def test_sources(programs: Path, source: str, call: str) -> None:
    backend = select.open_backend(source).backend
    try:
        assert backend.source == source
        assert len(assemble(backend.capture()).buffers) == 56
    finally:
        backend.close()
    assert programs.read_text().rstrip().rpartition("/")[2] == call


def test_commands() -> None:
    assert adb("")[0] == "adb"
    assert ssh("x")[-2:] == ("x", "sh")


MARK = b"heaptop-0"


def test_no_line_passes_for_another_files() -> None:
    """A name with a newline: grep -H says the path again, so its tail stays in its own file."""
    lines = [
        b"proc/8/fdinfo/3:size:\t4096",
        b"proc/8/fdinfo/3:name:\tevil",
        b"proc/8/fdinfo/3:proc/9/fdinfo/3:size:\t1",
        b"proc/8/comm:x",
        b"heaptop-1 denied proc/1/fd",
        b"etc/passwd:root",
        MARK + b" seen 7",
    ]
    found = told(lines, MARK)
    assert found.members["proc/8/fdinfo/3"] == b"size:\t4096\nname:\tevil\nproc/9/fdinfo/3:size:\t1\n"
    assert found.members["proc/8/maps"] == b""
    assert (found.processes_seen, found.unread) == (7, 2)
    assert "proc/9/fdinfo/3" not in found.members


def test_what_may_not_be_read() -> None:
    found = told([MARK + b" denied proc/1/fd", MARK + b" denied sys/kernel/debug"], MARK)
    assert isinstance(found.members["proc/1/fd"], ReadError)
    assert isinstance(found.members["proc/1/maps"], ReadError)
    assert isinstance(found.members["sys/kernel/debug"], ReadError)


def test_stat_for_old_kernels() -> None:
    row = MARK + b" stat proc/8/fd/3 18 4096 1 8 180 0 0 11"
    text = [b"proc/8/fdinfo/3:exp_name:\tsystem", b"proc/8/fdinfo/3:size:\t4096", b"proc/8/comm:x", row]
    members = told(text, MARK).members
    assert b'"st_ino": 18' in (members["proc/8/fd.json"] if isinstance(members["proc/8/fd.json"], bytes) else b"")


def test_arguments_of_a_command_line() -> None:
    lines = [MARK + b" cmdline proc/8", b"a", b"heaptop-0 seen 9", b"", MARK + b" end", MARK + b" seen 1"]
    found = told(lines, MARK)
    assert found.members["proc/8/cmdline"] == b"a\0heaptop-0 seen 9\0"
    assert found.processes_seen == 1


@given(st.lists(st.binary(max_size=80)), st.lists(st.sampled_from([MARK + b" end", MARK + b" cmdline proc/8", b"x"])))
def test_total(noise: list[bytes], own: list[bytes]) -> None:
    told([line for pair in zip(noise, own, strict=False) for line in pair], MARK)
