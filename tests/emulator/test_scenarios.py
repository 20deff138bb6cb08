"""Each scenario does what it says an observer must find, the same each time. Played here in one process."""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from random import Random

import pytest

from heaptop_emulator.actor import Actor, Held, Role
from heaptop_emulator.scenarios import SCENARIOS
from heaptop_emulator.wire import BufferState, Client
from tests.emulator.serving import serving

MIB = 1 << 20


class Remembering(Actor):
    """An actor that knows all it ever held, so that a test can let go of it."""

    held: list[Held]

    def allocate(self, heap: str, size_bytes: int, name: str | None = None) -> Held:
        held = super().allocate(heap, size_bytes, name)
        self.held.append(held)
        return held

    def receive(self) -> tuple[str, Held] | None:
        received = super().receive()
        if received is not None:
            self.held.append(received[1])
        return received


class Stage:
    """A scenario's roles, all over one client, moved by hand."""

    def __init__(self, scenario: str, client: Client, seed: int) -> None:
        self.client = client
        self.pairs = {
            role.comm: socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET) for role in SCENARIOS[scenario].roles
        }
        outboxes = {comm: pair[1] for comm, pair in self.pairs.items()}
        self.roles: list[Role] = []
        for role in SCENARIOS[scenario].roles:
            inbox = self.pairs[role.comm][0]
            inbox.settimeout(0)
            actor = Remembering(client, inbox, outboxes, Random(f"{seed}:{role.comm}"))
            actor.held = []
            self.roles.append(role(actor))
        for each in self.roles:
            each.start()
        self.deliver()

    def deliver(self) -> None:
        """Let every role take what is in its inbox."""
        for role in self.roles:
            while True:
                try:
                    received = role.actor.receive()
                except BlockingIOError:
                    break
                assert received is not None
                role.receive(*received)

    def turn(self) -> None:
        """One turn of every role."""
        for role in self.roles:
            role.turn()
        self.deliver()

    def buffers(self) -> tuple[BufferState, ...]:
        return self.client.state().buffers

    def close(self) -> None:
        for role in self.roles:
            assert isinstance(role.actor, Remembering)
            for held in role.actor.held:
                held.drop()
        for pair in self.pairs.values():
            for end in pair:
                end.close()


@contextmanager
def playing(scenario: str, seed: int = 1) -> Iterator[Stage]:
    with serving() as served:
        stage = Stage(scenario, served.control, seed)
        try:
            yield stage
        finally:
            stage.close()
        assert served.control.state().buffers == ()


def kinds(buffers: tuple[BufferState, ...]) -> list[tuple[int, str, int, bytes | None]]:
    return [(buffer.serial, buffer.heap, buffer.size_bytes, buffer.name) for buffer in buffers]


@pytest.mark.parametrize("scenario", sorted(SCENARIOS.keys() - {"idle"}))
def test_it_starts_alike_each_time(scenario: str) -> None:
    with playing(scenario) as stage:
        first = kinds(stage.buffers())
        bitmap = stage.client.state().files["sys/kernel/debug/cma/reserved/bitmap"]
    with playing(scenario) as stage:
        assert kinds(stage.buffers()) == first
        assert stage.client.state().files["sys/kernel/debug/cma/reserved/bitmap"] == bitmap
    with playing(scenario, seed=2) as stage:
        assert kinds(stage.buffers()) != first
    assert len(first) == 30
    assert 70 * MIB < sum(row[2] for row in first) < 120 * MIB
    assert {row[1] for row in first} == {"system", "reserved", "camera"}
    assert SCENARIOS[scenario].finding.endswith(".")


def test_steady_replaces_and_does_not_grow() -> None:
    with playing("steady") as stage:
        before = stage.buffers()
        for turn in range(12):
            stage.turn()
            assert len(stage.buffers()) == len(before), f"turn {turn}"
        now = {buffer.inode for buffer in stage.buffers()}
        names = [{buffer.name for buffer in before if (buffer.inode in now) is kept} for kept in (True, False)]
        assert names[0] >= {b"fb0", b"fb1", b"scanout", b"cam-raw", b"cam-meta", b"shared-frame", b"thumbnails 1"}
        assert names[1] >= {b"cam-preview", None}


def test_leak_fd_gains_one_small_buffer_in_each_turn() -> None:
    with playing("leak-fd") as stage:
        before = stage.buffers()
        for _ in range(10):
            stage.turn()
        gained = [buffer for buffer in stage.buffers() if buffer.name == b"codec-out"]
        assert len(gained) == 10
        assert {(buffer.heap, buffer.size_bytes) for buffer in gained} == {("system", 16384)}
        assert len(stage.buffers()) == len(before) + 10


def test_the_mapped_only_thumbnails_have_no_descriptor() -> None:
    with playing("steady") as stage:
        inodes = {buffer.inode for buffer in stage.buffers() if (buffer.name or b"").startswith(b"thumbnails")}
        open_inodes = {os.stat(entry.path).st_ino for entry in os.scandir("/proc/self/fd") if entry.name != "0"}
        assert inodes.isdisjoint(open_inodes)
        with open("/proc/self/maps") as maps:
            mapped = {int(line.split()[4]) for line in maps if "/memfd:dmabuf:" in line}
        assert inodes <= mapped
