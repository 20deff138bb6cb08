"""The shared emulator: one of a user, found by a folder that is its owner's alone."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from heaptop_emulator import shared
from heaptop_emulator.errors import EmulatorError, NotRunningError
from heaptop_emulator.folder import locate
from heaptop_emulator.shared import Setup
from heaptop_emulator.wire import Client
from tests.emulator.serving import wait_for, wait_until_gone

START = "from heaptop_emulator import shared; print(shared.connect_or_start(path=%r, lasting=True)[0].about().pid)"


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[str]:
    """A runtime folder; no emulator in it outlives the test."""
    path = str(tmp_path / "heaptop")
    yield path
    shared.stop(path)


@pytest.fixture
def client(folder: str) -> Iterator[Client]:
    """A client of an idle emulator in `folder`."""
    connected, was_started = shared.connect_or_start(path=folder)
    assert was_started
    with connected:
        yield connected


def test_it_is_one_for_all_clients(folder: str, client: Client) -> None:
    given = client.allocate("system", 5000, b"mine")
    other, was_started = shared.connect_or_start(path=folder)
    with other:
        assert not was_started
        assert other.about().pid == client.about().pid
        assert [buffer.name for buffer in other.state().buffers] == [b"mine"]
        assert other.about().clients == 2
        os.close(given.fd)
        wait_for(other.state, lambda state: state.buffers == ())
    wait_for_clients(client, 1)


def wait_for_clients(client: Client, count: int) -> None:
    while client.about().clients != count:
        continue


def test_it_is_a_process_of_its_own_and_ends_when_told(folder: str) -> None:
    client, _ = shared.connect_or_start(Setup("steady"), folder)
    with client:
        about = client.about()
        assert os.getsid(about.pid) == about.pid
        assert Path(f"/proc/{about.pid}/comm").read_text() == "heaptop-emu\n"
        assert set(about.actors.values()) == {"surfaceflinger", "mediaserver", "app-gallery", "cameraserver"}
        kept = client.allocate("system", 4096)
        assert shared.stop(folder)
        wait_until_gone([about.pid, *about.actors])
        with pytest.raises(ConnectionError):
            client.about()
    assert os.fstat(kept.fd).st_size == 4096
    os.close(kept.fd)
    assert not os.path.exists(f"{folder}/emulator")
    assert not shared.stop(folder)
    with pytest.raises(NotRunningError):
        shared.connect(folder)


def test_of_two_starts_at_once_one_does(folder: str) -> None:
    starts = [
        subprocess.Popen([sys.executable, "-c", START % folder], stdout=subprocess.PIPE, text=True) for _ in range(4)
    ]
    assert len({start.communicate(timeout=60)[0] for start in starts}) == 1
    assert [start.returncode for start in starts] == [0] * 4


def test_a_stale_socket_is_replaced(folder: str) -> None:
    os.mkdir(folder, 0o700)
    stale = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    stale.bind(f"{folder}/emulator")
    stale.close()
    with pytest.raises(NotRunningError):
        shared.connect(folder)
    shared.connect_or_start(path=folder)[0].close()


def test_only_its_owner_may_enter(folder: str, client: Client) -> None:
    assert os.stat(folder).st_mode & 0o777 == 0o700
    assert os.stat(f"{folder}/emulator").st_mode & 0o777 == 0o600
    assert client.about().buffers == 0


def test_a_folder_that_was_open_to_others_is_closed(folder: str) -> None:
    os.mkdir(folder, 0o755)
    with pytest.raises(NotRunningError):
        shared.connect(folder)
    assert os.stat(folder).st_mode & 0o777 == 0o700


def test_a_folder_that_is_none_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path)
    for path in (tmp_path / "file", tmp_path / "link"):
        with pytest.raises(EmulatorError, match="set XDG_RUNTIME_DIR to a folder of your own"):
            shared.connect(str(path))
    with pytest.raises(NotRunningError):
        shared.connect(str(tmp_path / "missing" / "heaptop"))
    with pytest.raises(EmulatorError, match="set XDG_RUNTIME_DIR to a folder of your own"):
        shared.connect_or_start(path=str(tmp_path / "missing" / "heaptop"))


def test_looking_for_it_makes_nothing(folder: str) -> None:
    with pytest.raises(NotRunningError):
        shared.connect(folder)
    assert not os.path.exists(folder)


def test_it_ends_with_its_last_client(folder: str, client: Client) -> None:
    about = client.about()
    assert not about.is_lasting
    other = shared.connect(folder)
    other.leave()
    assert client.about().pid == about.pid
    client.leave()
    wait_until_gone([about.pid])
    assert not os.path.exists(f"{folder}/emulator")


def test_a_buffer_that_is_held_keeps_it_going(folder: str, client: Client) -> None:
    pid = client.about().pid
    given = client.allocate("system", 4096)
    client.leave()
    with shared.connect(folder) as other:
        assert (other.about().pid, other.about().buffers) == (pid, 1)
    os.close(given.fd)
    wait_until_gone([pid])


START_AND_DIE = """
import os, signal, sys
from heaptop_emulator import shared
client, _ = shared.connect_or_start(path=sys.argv[1])
print(client.about().pid, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_client_is_one_that_left(folder: str) -> None:
    started = subprocess.run(
        [sys.executable, "-c", START_AND_DIE, folder], stdout=subprocess.PIPE, text=True, check=False
    )
    wait_until_gone([int(started.stdout)])


def test_it_can_be_made_to_last(folder: str, client: Client) -> None:
    pid = client.about().pid
    lasting, was_started = shared.connect_or_start(path=folder, lasting=True)
    assert not was_started
    lasting.leave()
    client.leave()
    with shared.connect(folder) as again:
        assert (again.about().pid, again.about().is_lasting) == (pid, True)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_a_folder_of_somebody_else_is_not_used(folder: str, tmp_path: Path) -> None:
    os.mkdir(folder, 0o700)
    os.chown(folder, 65534, 65534)
    with pytest.raises(EmulatorError, match="belongs to uid 65534"):
        shared.connect(folder)
    os.chown(tmp_path, 65534, 65534)
    assert not locate({"XDG_RUNTIME_DIR": str(tmp_path)}).startswith(str(tmp_path))
    os.rmdir(folder)


def test_the_folder_is_below_the_users_own(tmp_path: Path) -> None:
    assert locate({"XDG_RUNTIME_DIR": str(tmp_path)}) == f"{tmp_path}/heaptop"
    for other in ({}, {"XDG_RUNTIME_DIR": ""}, {"XDG_RUNTIME_DIR": "relative"}, {"XDG_RUNTIME_DIR": "/nowhere"}):
        assert locate(other, 12345) == "/tmp/heaptop-12345"
