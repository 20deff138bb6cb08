"""An actor waits, plays its role, and ends with the emulator."""

import errno
import os
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

import pytest

from heaptop_emulator import linux, wire
from heaptop_emulator.actor import Actor, Held, act
from heaptop_emulator.role import Holding, Means, Role
from tests.emulator.serving import DEADLINE_S


class Probe(Role):
    """Counts what it is asked to do; its turns fail with `failure`."""

    comm = "probe"
    period_s = 0.001

    def __init__(self, actor: Means) -> None:
        super().__init__(actor)
        self.turned = threading.Event()
        self.received: list[str] = []
        self.failure: int | None = None

    def turn(self) -> None:
        self.turned.set()
        if self.failure is not None:
            raise OSError(self.failure, os.strerror(self.failure))

    def receive(self, label: str, held: Holding) -> None:
        self.received.append(f"{label} {os.fstat(held.fd).st_size}")
        super().receive(label, held)
        self.turned.clear()


@dataclass(frozen=True, slots=True)
class Cast:
    """A role whose emulator is the test."""

    role: Probe
    actor: Actor
    emulator: socket.socket
    outbox: socket.socket


@pytest.fixture
def cast() -> Iterator[Cast]:
    emulator, connection = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    inbox, outbox = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with emulator, connection, inbox, outbox:
        emulator.settimeout(DEADLINE_S)
        actor = Actor(wire.Client(connection), inbox, {"probe": outbox}, Random(1))
        yield Cast(Probe(actor), actor, emulator, outbox)


def play(cast: Cast) -> threading.Thread:
    """Let it live, up to its first turns."""
    thread = threading.Thread(target=act, args=(cast.role, cast.actor, time.monotonic))
    thread.start()
    cast.emulator.send(wire.encode({}))
    assert wire.Message(cast.emulator.recv(4096)).text("op") == "ready"
    cast.emulator.send(wire.encode({"errno": 0}))
    assert cast.role.turned.wait(DEADLINE_S)
    return thread


def test_it_plays_until_the_emulator_is_gone(cast: Cast) -> None:
    thread = play(cast)
    fd = os.memfd_create("frame")
    os.ftruncate(fd, 8192)
    cast.actor.share(Held(fd, 8192), "probe", "frame")
    os.close(fd)
    while not cast.role.received:
        assert cast.role.turned.wait(DEADLINE_S)
    assert cast.role.received == ["frame 8192"]
    cast.emulator.close()
    thread.join(DEADLINE_S)
    assert not thread.is_alive()


def test_a_message_without_a_buffer_is_passed_over(cast: Cast) -> None:
    cast.outbox.send(b"nothing in it")
    assert cast.actor.receive() is None


def test_a_full_heap_does_not_end_it(cast: Cast) -> None:
    cast.role.failure = errno.ENOMEM
    thread = play(cast)
    cast.role.turned.clear()
    assert cast.role.turned.wait(DEADLINE_S)
    cast.emulator.close()
    thread.join(DEADLINE_S)


def test_any_other_failure_does(cast: Cast) -> None:
    cast.role.failure = errno.EIO
    cast.emulator.send(wire.encode({}))
    cast.emulator.send(wire.encode({"errno": 0}))
    ticks = iter(range(1000))
    with pytest.raises(OSError, match="Input/output"):
        act(cast.role, cast.actor, lambda: float(next(ticks)))


def test_an_emulator_that_is_gone_at_once_ends_it_quietly(cast: Cast) -> None:
    cast.emulator.close()
    act(cast.role, cast.actor, lambda: 0.0)
    assert not cast.role.turned.is_set()


def test_a_peer_that_is_full_or_gone_gets_nothing(cast: Cast) -> None:
    fd = os.memfd_create("frame")
    held = Held(fd, 4096)
    for _ in range(10_000):
        cast.actor.share(held, "probe", "x" * 60)
    cast.actor.inbox.close()
    cast.actor.share(held, "probe", "frame")
    held.drop()
    with pytest.raises(ValueError, match="closed"):
        cast.actor.share(held, "probe", "frame")


def test_a_mapping_needs_no_descriptor() -> None:
    fd = os.memfd_create("mapped")
    os.ftruncate(fd, 8192)
    held = Held(os.dup(fd), 8192).map(touch_bytes=4096).close_fd()
    assert os.pread(fd, 8192, 0) == b"\x5a" * 4096 + bytes(4096)
    held.drop()
    held.drop()
    os.close(fd)


def test_what_cannot_be_mapped_says_why() -> None:
    reader, writer = os.pipe()
    with pytest.raises(OSError, match="No such device"):
        linux.Mapping(reader, 4096, writable=False)
    os.close(reader)
    os.close(writer)
