"""The emulator as a source: real processes, real descriptors, and nothing left behind however it ends."""

import errno
import fcntl
import mmap
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from heaptop import recording
from heaptop.assemble import Assembler
from heaptop.backend.base import Allocator, Backend
from heaptop.backend.emulated import EmulatedBackend
from heaptop.backend.reach import OwnEmulator
from heaptop.capture import Capture, FdLink, ProcessCapture
from heaptop.errors import AllocationError, SourceError, UsageError
from heaptop.model import Buffer
from heaptop.parse import bufinfo, fdinfo, maps, vmstat
from heaptop_emulator.wire import Client, State
from tests.emulator.serving import DEADLINE_S, wait_for, wait_until_gone

ACTORS = {"surfaceflinger", "mediaserver", "app-gallery", "cameraserver"}
NASTY = b"a\nsize:\t1\x1b[31m\xff"


@pytest.fixture
def backend() -> Iterator[EmulatedBackend]:
    backend = EmulatedBackend(OwnEmulator("steady"), clock=lambda: 12.5)
    yield backend
    backend.close()


def process_of(capture: Capture, comm: str) -> ProcessCapture:
    (process,) = [one for one in capture.processes if one.files["comm"] == f"{comm}\n".encode()]
    return process


def links_to(capture: Capture, inode: int) -> list[tuple[int, FdLink]]:
    return [
        (process.pid, link)
        for process in capture.processes
        for link in process.table.links
        if link.stat is not None and link.stat.inode == inode
    ]


def buffers_of(capture: Capture) -> bufinfo.Bufinfo:
    raw = capture.files["sys/kernel/debug/dma_buf/bufinfo"]
    assert isinstance(raw, bytes)
    return bufinfo.parse(raw)


def mapped_inodes(process: ProcessCapture) -> list[int]:
    raw = process.files["maps"]
    assert isinstance(raw, bytes)
    return [vma.inode for vma in maps.dmabufs(raw)]


def test_it_is_a_backend_and_an_allocator(backend: EmulatedBackend) -> None:
    assert isinstance(backend, Backend)
    assert isinstance(backend, Allocator)
    assert backend.source == "emulator:steady"
    assert backend.heaps() == ("system", "reserved", "camera")


def test_a_capture_shows_the_scenarios_processes_and_buffers(backend: EmulatedBackend) -> None:
    state = backend.state()
    capture = backend.capture_whole()
    assert (capture.source, capture.captured_at) == ("emulator:steady", 12.5)
    assert {process.pid: process.files["comm"] for process in capture.processes} == {
        pid: f"{comm}\n".encode() for pid, comm in state.actors.items()
    }
    assert set(state.actors.values()) == ACTORS
    for process in capture.processes:
        cmdline = process.files["cmdline"]
        assert isinstance(cmdline, bytes)
        assert process.files["comm"] == cmdline[:-1] + b"\n"
    told = buffers_of(capture)
    assert told.consistent
    assert 27 <= len(told.rows) <= 33  # three of the actors may be replacing one
    by_inode = {row.ino: row for row in told.rows}
    for process in capture.processes:
        for link in process.table.links:
            if link.stat is None:
                assert b"memfd" not in link.target
                continue
            row = by_inode[link.stat.inode]
            record = fdinfo.parse(process.table.fdinfo[link.fd])  # type: ignore[arg-type]
            assert record is not None
            assert (record.ino, record.size, record.file_count) == (row.ino, row.size, row.file_count)
            assert (record.exp_name, record.name) == (row.exp_name, row.name)
            assert (link.target, link.stat.size_bytes) == (b"/dmabuf:" + (row.name or b""), row.size)
            assert (link.stat.mode, link.stat.dev, link.stat.blocks) == (0o600, (0, 11), row.size // 512)
            assert record.flags == os.O_RDWR | os.O_CLOEXEC
        assert set(mapped_inodes(process)) <= set(by_inode)


def test_the_count_is_that_of_all_references(backend: EmulatedBackend) -> None:
    capture = backend.capture_whole()
    for row in buffers_of(capture).rows:
        assert row.ino is not None
        seen = len(links_to(capture, row.ino))
        seen += sum(mapped_inodes(process).count(row.ino) for process in capture.processes)
        assert row.file_count == max(1, seen)
    frame = next(row for row in buffers_of(capture).rows if row.name == b"shared-frame")
    assert frame.file_count == 4  # camera, compositor, gallery, and the gallery's mapping
    gallery = process_of(capture, "app-gallery")
    assert frame.ino in mapped_inodes(gallery)


def is_gallerys(name: bytes | None) -> bool:
    return (name or b"").startswith((b"texture", b"thumbnails"))


def assert_memory_adds_up(state: State) -> None:
    """Each page that is not free is in a buffer, but for the 64 MiB that the machine itself needs."""
    held_pages = sum(buffer.size_bytes for buffer in state.buffers) >> 12
    assert vmstat.parse(state.files["proc/vmstat"])["nr_free_pages"] + held_pages == (1024 - 64) << 8


def test_ending_an_actor_frees_exactly_its_own_buffers_at_once(backend: EmulatedBackend) -> None:
    pid = next(pid for pid, comm in backend.state().actors.items() if comm == "app-gallery")
    capture = backend.capture_whole()
    rows = {row.ino: row.name for row in buffers_of(capture).rows}
    gallery = process_of(capture, "app-gallery")
    held = {link.stat.inode for link in gallery.table.links if link.stat} | set(mapped_inodes(gallery))
    assert held == {inode for inode, name in rows.items() if is_gallerys(name) or name == b"shared-frame"}
    before = backend.state()
    pidfd = os.pidfd_open(pid)
    os.kill(pid, signal.SIGKILL)
    assert select.select([pidfd], [], [], DEADLINE_S)[0]
    os.close(pidfd)
    after = backend.state()
    assert not any(is_gallerys(buffer.name) for buffer in after.buffers)
    kept = {buffer.inode for buffer in after.buffers}
    assert {buffer.inode for buffer in before.buffers if buffer.name in (b"shared-frame", b"fb0", b"cam-raw")} <= kept
    assert len(before.buffers) - len(after.buffers) <= 8 + 3
    assert_memory_adds_up(after)
    wait_for(backend.state, lambda now: pid not in now.actors)
    assert pid not in {process.pid for process in backend.capture_whole().processes}


def test_memory_adds_up(backend: EmulatedBackend) -> None:
    for _ in range(5):
        assert_memory_adds_up(backend.state())


def test_a_test_buffer_is_this_processes(backend: EmulatedBackend) -> None:
    allocation = backend.allocate("camera", 5000, NASTY)
    try:
        assert (allocation.heap, allocation.size_bytes, allocation.name) == ("camera", 8192, NASTY)
        assert 0 < allocation.latency_s < DEADLINE_S
        assert os.fstat(allocation.fd).st_ino == allocation.inode
        assert fcntl.fcntl(allocation.fd, fcntl.F_GETFD) & fcntl.FD_CLOEXEC
        with mmap.mmap(allocation.fd, 8192) as mapping:
            mapping[:4] = b"test"
            capture = backend.capture_whole()
        # The mapping holds a descriptor of its own: mmap.mmap duplicates the one that it is given.
        assert [(pid, link.target) for pid, link in links_to(capture, allocation.inode)] == [
            (os.getpid(), b"/dmabuf:" + NASTY)
        ] * 2
        own = next(process for process in capture.processes if process.pid == os.getpid())
        assert mapped_inodes(own) == [allocation.inode]
        assert b"/dmabuf:" + NASTY.replace(b"\n", b"\\012") + b"\n" in own.files["maps"]
        record = fdinfo.parse(own.table.fdinfo[allocation.fd])  # type: ignore[arg-type]
        assert record is not None
        assert (record.name, record.size, record.file_count, record.exp_name) == (NASTY, 8192, 3, b"camera")
    finally:
        os.close(allocation.fd)
    assert allocation.inode not in {buffer.inode for buffer in backend.state().buffers}


@pytest.mark.parametrize(
    ("heap", "size_bytes", "number"),
    [
        ("nowhere", 4096, errno.ENOENT),
        ("n" * 5000, 4096, errno.ENAMETOOLONG),
        ("\udcff\n", 4096, errno.ENOENT),
        ("system", 0, errno.EINVAL),
        ("system", -1, errno.EINVAL),
        ("system", 1 << 64, errno.EINVAL),
        ("system", 1 << 40, errno.ENOMEM),
        ("camera", 33 << 20, errno.ENOMEM),
    ],
)
def test_a_refused_allocation_has_the_errno(backend: EmulatedBackend, heap: str, size_bytes: int, number: int) -> None:
    with pytest.raises(AllocationError, match=errno.errorcode[number]) as caught:
        backend.allocate(heap, size_bytes)
    assert caught.value.errno == number
    assert backend.capture_whole().processes


@pytest.mark.parametrize("name", [b"n" * 32, b"with a\0NUL"])
def test_a_name_that_no_buffer_can_have_allocates_nothing(backend: EmulatedBackend, name: bytes) -> None:
    newest = max(buffer.serial for buffer in backend.state().buffers if buffer.name == b"scanout")
    with pytest.raises(UsageError, match="at most 31 bytes"):
        backend.allocate("reserved", 4096, name)
    assert max(buffer.serial for buffer in backend.state().buffers if buffer.heap == "reserved") == newest


def test_a_buffer_held_by_nobody_seen_has_one_reference(backend: EmulatedBackend) -> None:
    allocation = backend.allocate("system", 4096, b"in flight")
    ours, theirs = socket.socketpair()
    with ours, theirs:
        socket.send_fds(ours, [b"x"], [allocation.fd])
        os.close(allocation.fd)
        capture = backend.capture_whole()
        (row,) = [row for row in buffers_of(capture).rows if row.ino == allocation.inode]
        assert row.file_count == 1
        assert links_to(capture, allocation.inode) == []


def test_two_emulators_do_not_mix(backend: EmulatedBackend) -> None:
    other = EmulatedBackend(OwnEmulator("leak-fd"))
    try:
        mine, others = backend.capture_whole(), other.capture_whole()
        assert {process.pid for process in mine.processes}.isdisjoint(process.pid for process in others.processes)
        inodes = [{row.ino for row in buffers_of(capture).rows} for capture in (mine, others)]
        assert inodes[0].isdisjoint(inodes[1])
        assert mine.files["proc/sys/kernel/random/boot_id"] != others.files["proc/sys/kernel/random/boot_id"]
    finally:
        other.close()


def test_a_recording_of_it_is_the_same_capture(backend: EmulatedBackend, tmp_path: Path) -> None:
    allocation = backend.allocate("system", 4096, NASTY)
    capture = backend.capture_whole()
    os.close(allocation.fd)
    path = str(tmp_path / "emulated.tar.gz")
    recording.write(capture, path)
    again = recording.read(path)
    assert (again.captured_at, again.processes_seen) == (capture.captured_at, capture.processes_seen)
    assert dict(again.files) == dict(capture.files)
    assert dict(again.links) == dict(capture.links)
    assert [(one.pid, dict(one.files), one.table.links, dict(one.table.fdinfo)) for one in again.processes] == [
        (one.pid, dict(one.files), one.table.links, dict(one.table.fdinfo)) for one in capture.processes
    ]


def test_closing_leaves_nothing(backend: EmulatedBackend) -> None:
    pids = [backend.emulator_pid, *backend.state().actors]
    before = len(os.listdir("/proc/self/fd"))
    backend.close()
    backend.close()
    assert all(not Path(f"/proc/{pid}").exists() for pid in pids)
    assert len(os.listdir("/proc/self/fd")) < before
    with pytest.raises(SourceError, match="the emulator has ended"):
        backend.capture_whole()
    with pytest.raises(SourceError):
        backend.allocate("system", 4096)


def test_a_killed_emulator_is_told_and_takes_its_actors_with_it(backend: EmulatedBackend) -> None:
    pids = list(backend.state().actors)
    os.kill(backend.emulator_pid, signal.SIGKILL)
    with pytest.raises(SourceError, match="ended by SIGKILL"):
        backend.capture_whole()
    wait_until_gone(pids)


def test_a_ctrl_c_in_the_terminal_does_not_reach_it(backend: EmulatedBackend) -> None:
    assert os.getsid(backend.emulator_pid) == backend.emulator_pid != os.getsid(0)
    assert {os.getpgid(pid) for pid in backend.state().actors} == {backend.emulator_pid}


def test_actors_hold_no_descriptor_of_others(backend: EmulatedBackend) -> None:
    for pid in backend.state().actors:
        for entry in os.scandir(f"/proc/{pid}/fd"):
            target = os.readlink(entry.path)
            assert target.startswith(("/dev/null", "pipe:", "socket:", "/memfd:dmabuf:")), target


OPEN_AND_TELL = """
import sys
from heaptop.backend.emulated import EmulatedBackend
from heaptop.backend.reach import OwnEmulator
backend = EmulatedBackend(OwnEmulator("leak-fd"))
print(backend.emulator_pid, *backend.state().actors, flush=True)
sys.stdin.read()
"""


def test_killing_heaptop_leaves_no_process() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", OPEN_AND_TELL], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as heaptop:
        assert heaptop.stdout is not None
        pids = [int(pid) for pid in heaptop.stdout.readline().split()]
        assert len(pids) == 5
        heaptop.kill()
    wait_until_gone(pids)


def test_an_unknown_scenario_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match=r"one of: .*steady"):
        OwnEmulator("nonsense")


def test_an_emulator_that_cannot_start_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", "")
    monkeypatch.setattr(sys, "executable", "/usr/bin/false")
    with pytest.raises(SourceError, match="the emulator has ended"):
        OwnEmulator("steady")
    monkeypatch.setattr(sys, "executable", "/nonexistent")
    with pytest.raises(SourceError, match="the emulator cannot be started"):
        OwnEmulator("steady")


def test_last_words_are_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    failing = tmp_path / "failing"
    failing.write_text("#!/bin/sh\nprintf 'Traceback:\\n  in a file\\nOSError: no \\033 room\\n' >&2\n")
    failing.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(failing))
    with pytest.raises(SourceError, match=r"ended: OSError: no \\x1b room; start heaptop again"):
        OwnEmulator("steady")


def test_an_emulator_that_does_not_answer_is_ended(backend: EmulatedBackend) -> None:
    pids = [backend.emulator_pid, *backend.state().actors]
    os.kill(backend.emulator_pid, signal.SIGSTOP)
    backend._emulator.ask(lambda client: client.socket.settimeout(0.05))
    with pytest.raises(SourceError, match="it did not answer"):
        backend.state()
    wait_until_gone(pids)


def test_an_interrupt_between_question_and_answer_ends_it(
    backend: EmulatedBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(_: Client) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Client, "_receive", interrupt)
    with pytest.raises(KeyboardInterrupt):
        backend.state()
    with pytest.raises(SourceError, match="the emulator has ended"):
        backend.state()


def test_a_look_again_tells_the_same_as_a_first_one(backend: EmulatedBackend) -> None:
    """What did not change is the very same object; what did is as if it had never been seen before."""
    assembler = Assembler()
    held: list[int] = []
    for step in range(6):
        if step % 2:
            held.append(backend.allocate("system", 4096 * (step + 1), b"step %d" % step).fd)
        elif step == 4:
            os.close(held.pop())
        snapshot = assembler.assemble(backend.capture())
        whole = Assembler().assemble(backend.capture_whole())
        mine = [
            next((buffer for buffer in each.buffers if buffer.name == f"step {number}"), None)
            for each in (snapshot, whole)
            for number in range(6)
        ]
        assert [told(buffer) for buffer in mine[:6]] == [told(buffer) for buffer in mine[6:]]
        assert sum(buffer is not None for buffer in mine[:6]) == len(held)
    for fd in held:
        os.close(fd)


def told(buffer: Buffer | None) -> tuple[object, ...] | None:
    """What a hasty look and a close one both tell."""
    if buffer is None:
        return None
    holders = [(holder.process, [ref.fd for ref in holder.fds], holder.maps) for holder in buffer.holders]
    return buffer.inode, buffer.size_bytes, buffer.exporter, buffer.name, buffer.file_count, buffer.hidden_refs, holders


def test_where_nothing_changes_nothing_is_made_anew() -> None:
    """Two looks at actors that stand still: the very same processes and fdinfo."""
    backend = EmulatedBackend(OwnEmulator("idle"))
    fd = backend.allocate("system", 8192, b"standing").fd
    try:
        backend.attend()
        first, second = backend.capture(), backend.capture()
        mine = [next(one for one in each.processes if one.pid == os.getpid()) for each in (first, second)]
        assert mine[0] is mine[1]
        assert first.infos is second.infos
        assert len(first.infos) == 1
    finally:
        os.close(fd)
        backend.close()
