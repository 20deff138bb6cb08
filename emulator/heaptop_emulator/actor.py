"""What a process of a scenario can do, and how it is started.

An actor is a fork of the emulator with a name of its own and no descriptor but its own: a connection to the emulator,
an inbox, and the other actors' inboxes to send buffers to. It ends when the emulator does.
"""

import os
import select
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from random import Random
from typing import Final, Self

from heaptop_emulator import linux, wire
from heaptop_emulator.role import NO_ROOM, Holding, Role, seeded
from heaptop_emulator.wire import Client

_LABEL_BYTES_MAX: Final = 64


class Held:
    """A buffer this process holds; see role.Holding."""

    def __init__(self, fd: int, size_bytes: int) -> None:
        self.size_bytes = size_bytes
        self._fd: int | None = fd
        self._mapping: linux.Mapping | None = None

    def map(self, *, writable: bool = True, touch_bytes: int = 0) -> Self:
        """Map it whole."""
        self._mapping = linux.Mapping(self.fd, self.size_bytes, writable=writable)
        self._mapping.fill(0x5A, touch_bytes)
        return self

    @property
    def fd(self) -> int:
        """Its descriptor, which must still be open."""
        if self._fd is None:
            raise ValueError("the descriptor is closed")
        return self._fd

    def close_fd(self) -> Self:
        """Hold it by the mapping alone."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None
        return self

    def drop(self) -> None:
        """Hold it no more."""
        self.close_fd()
        if self._mapping is not None:
            self._mapping.close()
            self._mapping = None


class Actor:
    """One scenario process's means; see role.Means."""

    def __init__(
        self, client: Client, inbox: socket.socket, outboxes: Mapping[str, socket.socket], random: Random
    ) -> None:
        self.client = client
        self.inbox = inbox
        self.outboxes = outboxes
        for outbox in outboxes.values():
            outbox.settimeout(0)
        self.random = random
        self._unread: list[tuple[socket.socket, socket.socket]] = []

    def allocate(self, heap: str, size_bytes: int, name: str | None = None) -> Held:
        """Allocate a buffer, named where a name is given."""
        given = self.client.allocate(heap, size_bytes, None if name is None else os.fsencode(name))
        return Held(given.fd, given.size_bytes)

    def share(self, held: Holding, to: str, label: str) -> None:
        """Pass a reference to another actor's inbox. One that does not read, or is gone, gets none."""
        try:
            wire.send(self.outboxes[to], label.encode(), held.fd)
        except (BlockingIOError, ConnectionError):
            return

    def receive(self) -> tuple[str, Held] | None:
        """The next buffer from the inbox, with its label; None where none came along."""
        raw, fd = wire.receive(self.inbox, _LABEL_BYTES_MAX)
        return None if fd is None else (raw.decode(), Held(fd, os.fstat(fd).st_size))

    def send_unread(self, held: Holding) -> None:
        """Put a reference in flight for good: into a socket whose other end is never read; a new one where it is full.

        OSError (ETOOMANYREFS, EMFILE) where this process may have no more in flight, or open.
        """
        if self._unread:
            with suppress(BlockingIOError):
                wire.send(self._unread[-1][0], b"x", held.fd)
                return
        self._unread.append(socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM))
        self._unread[-1][0].settimeout(0)
        wire.send(self._unread[-1][0], b"x", held.fd)

    def fork(self, comm: str, held: Holding) -> None:
        """A child that has a buffer by its descriptor, and nothing else, until this process ends."""
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # if somebody kills it, nothing is left of it
        parent = os.getpid()
        if os.fork() == 0:
            try:
                linux.end_with_parent(parent)
                linux.name_process(comm)
                linux.close_all_but({0, 1, 2, held.fd})
                while True:
                    signal.pause()
            finally:
                os._exit(1)


@dataclass(frozen=True, slots=True)
class ActorProcess:
    """An actor as the emulator sees it. `pidfd` is readable when it has ended."""

    comm: str
    pid: int
    pidfd: int
    connection: socket.socket


def launch(roles: tuple[type[Role], ...], seed: int) -> list[ActorProcess]:
    """Fork one process for each role. Each waits for the emulator's go-ahead before its first allocation."""
    inboxes = {role.comm: socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET) for role in roles}
    outboxes = {comm: pair[1] for comm, pair in inboxes.items()}
    processes = []
    for role in roles:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        actor = Actor(Client(theirs), inboxes[role.comm][0], outboxes, seeded(seed, role.comm))
        parent = os.getpid()
        pid = os.fork()
        if pid == 0:
            _live(role, actor, parent)
        theirs.close()
        processes.append(ActorProcess(role.comm, pid, os.pidfd_open(pid), ours))
    for pair in inboxes.values():
        for inbox in pair:
            inbox.close()
    return processes


def _live(role: type[Role], actor: Actor, parent: int) -> None:
    """The forked child's whole life: it never returns, so that nothing of the emulator is run or closed twice."""
    status = 1
    try:
        linux.end_with_parent(parent)
        linux.name_process(role.comm)
        own = [actor.client.socket, actor.inbox, *actor.outboxes.values()]
        linux.close_all_but({0, 1, 2, *(connection.fileno() for connection in own)})
        act(role(actor), actor, time.monotonic)
        status = 0
    finally:
        if status and (error := sys.exception()) is not None:
            traceback.print_exception(error)
        os._exit(status)


def act(role: Role, actor: Actor, clock: Callable[[], float]) -> None:
    """Play a role with these means until the emulator is gone."""
    try:
        actor.client.wait()
        role.start()
        actor.client.ready()
        next_turn = clock() + role.period_s
        while True:
            readable, _, _ = select.select([actor.client.socket, actor.inbox], [], [], max(0.0, next_turn - clock()))
            if actor.client.socket in readable:
                return
            if actor.inbox in readable and (received := actor.receive()):
                role.receive(*received)
            if clock() >= next_turn:
                next_turn = max(next_turn + role.period_s, clock())
                _turn(role)
    except ConnectionError:
        return


def _turn(role: Role) -> None:
    """One turn. Where a heap or the table of descriptors is full, the actor goes on with what it has."""
    try:
        role.turn()
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise
