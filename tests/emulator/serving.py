"""A server in a thread of the test, with one more process as an actor, and waiting for what it says."""

import os
import select
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

from heaptop_emulator import wire
from heaptop_emulator.actor import ActorProcess
from heaptop_emulator.framework import Framework
from heaptop_emulator.machine import Machine
from heaptop_emulator.others import heaps_of
from heaptop_emulator.server import Server, World
from heaptop_emulator.wire import Client

DEADLINE_S = 30.0
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Served:
    """A machine behind its server: `control` is its first client, `other` stands for an actor's connection."""

    machine: Machine
    control: Client
    other: Client
    actor: "subprocess.Popen[bytes]"
    thread: threading.Thread


@contextmanager
def serving() -> Iterator[Served]:
    """Serve until the block ends. The server's own thread must have ended by then."""
    machine = Machine()
    framework = Framework(heaps_of(machine))
    control, control_end = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    other, other_end = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    for end in (control, other):
        end.settimeout(DEADLINE_S)
    actor = subprocess.Popen(["sleep", "infinity"])
    process = ActorProcess("sleep", actor.pid, os.pidfd_open(actor.pid), other_end)
    world = World(machine, framework, "test")
    server = Server(world, [process], lambda: wire.send(control_end, wire.encode({})))
    thread = threading.Thread(target=server.serve, args=(control_end,))
    thread.start()
    try:
        client = Client(other)
        client.wait()
        client.ready()
        first = Client(control)
        first.wait()
        yield Served(machine, first, client, actor, thread)
    finally:
        control.close()
        other.close()
        thread.join(DEADLINE_S)
        actor.wait(DEADLINE_S)
    assert not thread.is_alive()


def wait_for(ask: Callable[[], _T], until: Callable[[_T], bool]) -> _T:
    """Ask again and again until the answer is as wanted."""
    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline:
        state = ask()
        if until(state):
            return state
    raise AssertionError("the awaited state never came")


def wait_until_gone(pids: list[int]) -> None:
    """Wait until none of these processes runs, without asking again and again."""
    for pid in pids:
        try:
            pidfd = os.pidfd_open(pid)
        except ProcessLookupError:
            continue
        readable, _, _ = select.select([pidfd], [], [], DEADLINE_S)
        os.close(pidfd)
        assert readable, f"process {pid} still runs"
