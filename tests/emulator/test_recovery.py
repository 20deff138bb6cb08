"""An emulator that is killed and started again knows the buffers that live, and their pages."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from heaptop_emulator import shared, text, wire
from heaptop_emulator.linux import Mapping
from heaptop_emulator.shared import Setup
from heaptop_emulator.wire import Client, State
from tests.emulator.serving import wait_for, wait_until_gone

BOOT_ID = "proc/sys/kernel/random/boot_id"


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[str]:
    path = str(tmp_path / "heaptop")
    yield path
    shared.stop(path)
    assert set(os.listdir(path)) <= {"lock", "log", "log.old"}


@pytest.fixture
def client(folder: str) -> Iterator[Client]:
    with shared.connect_or_start(path=folder)[0] as connected:
        yield connected


def keeper_of(emulator: int) -> int:
    """Its parent."""
    return int(Path(f"/proc/{emulator}/stat").read_text().rpartition(")")[2].split()[1])


def restarted(client: Client, folder: str, *also: int) -> Client:
    """Kill the emulator, and others with it, and start it again."""
    pid = client.about().pid
    for each in (*also, pid):
        os.kill(each, signal.SIGKILL)
    wait_until_gone([*also, pid])
    again, was_started = shared.connect_or_start(path=folder)
    assert was_started
    return again


def places(state: State) -> dict[int, bytes]:
    rows = (line.split(b"\t") for line in state.files[text.PLACES].splitlines())
    return {int(inode): runs for inode, runs in rows}


def test_what_lives_is_known_again_with_its_pages(client: Client, folder: str) -> None:
    kept = [client.allocate("system", 5 << 20, b"first"), client.allocate("reserved", 1 << 20)]
    lost = client.allocate("system", 4096)
    last = client.allocate("camera", 4096, b"to be renamed", fd_flags=os.O_RDONLY)
    client.set_name(last.inode, b"\xffnew\n")
    os.close(lost.fd)
    before = client.state()
    with restarted(client, folder) as again:
        after = again.state()
        assert after.buffers == before.buffers
        assert places(after) == places(before)
        assert after.files["proc/meminfo"] == before.files["proc/meminfo"]
        assert after.files[BOOT_ID] == before.files[BOOT_ID]
        assert again.about().recovered == 3
        os.close(kept[0].fd)
        os.close(again.allocate("system", 4096).fd)
        for given in (*kept[1:], last):
            os.close(given.fd)
        free = wait_for(again.state, lambda state: state.buffers == ())
        assert free.files["proc/meminfo"] != before.files["proc/meminfo"]


def test_what_goes_meanwhile_is_gone(client: Client, folder: str) -> None:
    gone, kept = client.allocate("system", 4096), client.allocate("system", 8192)
    os.kill(client.about().pid, signal.SIGKILL)
    os.close(gone.fd)
    with shared.connect_or_start(path=folder)[0] as again:
        assert [buffer.inode for buffer in again.state().buffers] == [kept.inode]
        serial = again.state().buffers[0].serial
        new = again.allocate("system", 4096)
        assert [buffer.serial for buffer in again.state().buffers] == [serial, 3]
        os.close(kept.fd)
        os.close(new.fd)


def test_what_no_descriptor_shows_lives_too(client: Client, folder: str) -> None:
    mapped, sent = client.allocate("system", 4096), client.allocate("system", 4096)
    mapping = Mapping(mapped.fd, 4096, writable=True)
    ours, theirs = socket.socketpair()
    wire.send(ours, b"x", sent.fd)
    os.close(mapped.fd)
    os.close(sent.fd)
    with ours, theirs, restarted(client, folder) as again:
        assert {buffer.inode for buffer in again.state().buffers} == {mapped.inode, sent.inode}
        mapping.close()
        wait_for(again.state, lambda state: [buffer.inode for buffer in state.buffers] == [sent.inode])
        theirs.close()
        wait_for(again.state, lambda state: state.buffers == ())


def test_without_a_keeper_what_a_descriptor_shows_is_found(client: Client, folder: str) -> None:
    kept = client.allocate("system", 4096, b"kept")
    mapped = client.allocate("system", 8192)
    mapping = Mapping(mapped.fd, 8192, writable=False)
    os.close(mapped.fd)
    before = places(client.state())
    with restarted(client, folder, keeper_of(client.about().pid)) as again:
        state = again.state()
        assert {buffer.name for buffer in state.buffers} >= {b"kept"}
        assert {inode: before[inode] for inode in places(state)} == places(state)
        if os.geteuid() == 0:  # who may follow map_files
            assert places(state) == before
        mapping.close()
        os.close(kept.fd)
        wait_for(again.state, lambda now: now.buffers == ())


def test_the_scenario_is_played_anew(folder: str) -> None:
    client, _ = shared.connect_or_start(Setup("steady"), folder, lasting=True)
    with client:
        held = client.allocate("system", 4096, b"mine")
        first = client.about()
        with restarted(client, folder) as again:
            about = again.about()
            assert (about.scenario, about.is_lasting, about.recovered) == ("steady", True, 1)
            assert not first.actors.keys() & about.actors.keys()
            assert len(again.state().buffers) == 31
            os.close(held.fd)


def test_it_can_be_killed_again_and_again(client: Client, folder: str) -> None:
    held = [client.allocate("system", 4096)]
    for number in range(2, 6):
        again = restarted(client, folder)
        client.close()
        client = again
        held.append(client.allocate("system", 4096))
        assert [buffer.serial for buffer in client.state().buffers] == list(range(1, number + 1))
    for given in held:
        os.close(given.fd)
    client.leave()


def test_after_the_last_buffer_nothing_is_left(client: Client, folder: str) -> None:
    held = client.allocate("system", 4096)
    pid = client.about().pid
    keeper = keeper_of(pid)
    os.kill(pid, signal.SIGKILL)
    wait_until_gone([pid])
    assert Path(f"/proc/{keeper}/comm").read_text() == "heaptop-keep\n"
    os.close(held.fd)
    wait_until_gone([keeper])
    assert set(os.listdir(folder)) == {"lock", "log"}
    with shared.connect_or_start(path=folder)[0] as again:
        assert again.about().recovered == 0


def test_stopping_ends_the_keeper(client: Client, folder: str) -> None:
    held = client.allocate("system", 4096)
    pid = client.about().pid
    keeper = keeper_of(pid)
    assert shared.stop(folder)
    wait_until_gone([pid, keeper])
    os.close(held.fd)


def test_a_stop_after_a_kill_forgets_the_buffers(client: Client, folder: str) -> None:
    held = client.allocate("system", 4096)
    pid = client.about().pid
    keeper = keeper_of(pid)
    os.kill(pid, signal.SIGKILL)
    wait_until_gone([pid])
    assert not shared.stop(folder)
    wait_until_gone([keeper])
    with shared.connect_or_start(path=folder)[0] as again:
        assert again.about().recovered == 0
    os.close(held.fd)


DIE_WITH_BUFFER = """
import os, signal, sys
from heaptop_emulator import shared
client, _ = shared.connect_or_start(path=sys.argv[1])
client.allocate("system", 4096)
print(client.about().pid, flush=True)
os.kill(client.about().pid, signal.SIGKILL)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_all_killed_at_once_leave_nothing(folder: str) -> None:
    command = [sys.executable, "-c", DIE_WITH_BUFFER, folder]
    ran = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    wait_until_gone([int(ran.stdout)])
    with shared.connect_or_start(path=folder)[0] as again:
        wait_for(again.state, lambda state: state.buffers == ())
