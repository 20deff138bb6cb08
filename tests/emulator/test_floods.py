"""Clients of the shared emulator that do wrong are bounded, and hurt no other."""

import errno
import os
import random
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from heaptop_emulator import shared, wire
from heaptop_emulator.clients import CONNECTIONS_PER_PROCESS_MAX
from heaptop_emulator.errors import EmulatorError
from heaptop_emulator.wire import Client
from tests.emulator.serving import wait_for

NEVER_READ = """
import os, sys
from heaptop_emulator import shared, wire
request = {"op": "alloc", "heap": "system", "len": 1 << 16, "fd_flags": os.O_RDWR, "heap_flags": 0, "name": None}
print(flush=True)
while True:
    client = shared.connect(sys.argv[1])
    try:
        while True:
            client.socket.send(wire.encode(request))
    except OSError:
        client.close()
"""
MANY_STATES = """
import sys
from heaptop_emulator import shared
client = shared.connect(sys.argv[1])
print(flush=True)
while True:
    client.state()
"""
MANY_DESCRIPTORS = """
import os, socket, sys
from heaptop_emulator import shared, wire
null = [os.open("/dev/null", os.O_RDONLY)] * 250
print(flush=True)
while True:
    client = shared.connect(sys.argv[1])
    try:
        while True:
            socket.send_fds(client.socket, [wire.encode({"op": "about"})], null)
    except OSError:
        client.close()
"""


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[str]:
    path = str(tmp_path / "heaptop")
    yield path
    shared.stop(path)


@pytest.fixture
def client(folder: str) -> Iterator[Client]:
    with shared.connect_or_start(path=folder, lasting=True)[0] as connected:
        yield connected


@contextmanager
def flooding(program: str, folder: str) -> Iterator[None]:
    command = [sys.executable, "-c", program, folder]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as flood:
        assert flood.stdout is not None
        flood.stdout.readline()
        yield
        assert flood.poll() is None
        flood.kill()


def descriptors(client: Client) -> int:
    return len(os.listdir(f"/proc/{client.about().pid}/fd"))


@pytest.mark.parametrize("program", [NEVER_READ, MANY_STATES, MANY_DESCRIPTORS], ids=["unread", "states", "fds"])
def test_a_flood_is_survived_and_leaves_nothing(program: str, folder: str, client: Client) -> None:
    before = descriptors(client)
    with flooding(program, folder), flooding(program, folder):
        for _ in range(200):
            given = client.allocate("system", 4096)
            assert len(client.state().buffers) < 5000
            os.close(given.fd)
    wait_for(client.about, lambda about: (about.clients, about.buffers) == (1, 0))
    assert descriptors(client) <= before + 1  # an answer may be on its way


def test_connections_of_a_process_are_bounded_and_it_is_told(folder: str, client: Client) -> None:
    with ExitStack() as stack:
        for _ in range(CONNECTIONS_PER_PROCESS_MAX - 1):
            stack.enter_context(shared.connect(folder))
        with pytest.raises(EmulatorError, match="Too many users"):
            shared.connect(folder)
        with pytest.raises(EmulatorError, match="Too many users"):
            shared.connect_or_start(path=folder)
        assert client.about().clients == CONNECTIONS_PER_PROCESS_MAX
    wait_for(client.about, lambda about: about.clients == 1)
    shared.connect(folder).close()


def test_noise_and_halves_of_messages_end_only_who_sent_them(folder: str, client: Client) -> None:
    before = descriptors(client)
    whole = wire.encode({"op": "alloc", "heap": "system", "len": 4096, "fd_flags": 2, "heap_flags": 0, "name": None})
    chance = random.Random(1)
    for number in range(300):
        noise = whole[: number % len(whole)] if number % 2 else chance.randbytes(chance.randrange(1, 9000))
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as connection:
            connection.connect(f"{folder}/emulator")
            connection.send(noise)
    wait_for(client.about, lambda about: (about.clients, about.buffers) == (1, 0))
    assert descriptors(client) <= before + 1  # an answer may be on its way


def test_many_requests_cost_no_memory(client: Client) -> None:
    def pages() -> int:
        return int(Path(f"/proc/{client.about().pid}/statm").read_text().split()[1])

    def refuse(count: int) -> None:
        for _ in range(count):
            with pytest.raises(OSError, match=os.strerror(errno.ENOTTY)):
                client.set_name(1, b"x")

    refuse(500)
    before = pages()
    refuse(5000)
    assert pages() - before < 256
