"""What a process of a scenario can do, and how it is started.

An actor is a fork of the emulator with a name of its own and no descriptor but its own: a connection to the emulator,
an inbox, and the other actors' inboxes to send buffers to. It ends when the emulator does.
"""

import errno
import os
import select
import socket
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random
from typing import ClassVar, Final

from heaptop_emulator import linux, wire
from heaptop_emulator.wire import Client

_LABEL_BYTES_MAX: Final = 64
_NO_ROOM: Final = frozenset({errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.ENOSPC})


class Held:
    """A buffer this actor holds: by a descriptor, by a mapping, or by both."""

    def __init__(self, fd: int, size_bytes: int) -> None:
        self.size_bytes = size_bytes
        self._fd: int | None = fd
        self._mapping: linux.Mapping | None = None

    def map(self, *, writable: bool = True, touch_bytes: int = 0) -> "Held":
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

    def close_fd(self) -> "Held":
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
    """One scenario process's means. `random` is seeded by the scenario, so an actor allocates the same each time."""

    def __init__(
        self, client: Client, inbox: socket.socket, outboxes: Mapping[str, socket.socket], random: Random
    ) -> None:
        self.client = client
        self.inbox = inbox
        self.outboxes = outboxes
        for outbox in outboxes.values():
            outbox.settimeout(0)
        self.random = random

    def allocate(self, heap: str, size_bytes: int, name: str | None = None) -> Held:
        """Allocate a buffer, named where a name is given."""
        given = self.client.allocate(heap, size_bytes, None if name is None else name.encode())
        return Held(given.fd, given.size_bytes)

    def share(self, held: Held, to: str, label: str) -> None:
        """Pass a reference to another actor's inbox. One that does not read, or is gone, gets none."""
        try:
            wire.send(self.outboxes[to], label.encode(), held.fd)
        except (BlockingIOError, ConnectionError):
            return

    def receive(self) -> tuple[str, Held] | None:
        """The next buffer from the inbox, with its label; None where none came along."""
        raw, fd = wire.receive(self.inbox, _LABEL_BYTES_MAX)
        return None if fd is None else (raw.decode(), Held(fd, os.fstat(fd).st_size))


class Role:
    """What one process of a scenario does. `turn` comes every `period_s`, `receive` for each buffer sent to it."""

    comm: ClassVar[str]
    period_s: ClassVar[float] = 1.0

    def __init__(self, actor: Actor) -> None:
        self.actor = actor

    def start(self) -> None:
        """Make the first allocations."""

    def turn(self) -> None:
        """Do one period's work."""

    def receive(self, _label: str, held: Held) -> None:
        """Take a buffer from another actor."""
        held.drop()


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
        actor = Actor(Client(theirs), inboxes[role.comm][0], outboxes, Random(f"{seed}:{role.comm}"))
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
        act(role(actor), time.monotonic)
        status = 0
    finally:
        if status and (error := sys.exception()) is not None:
            traceback.print_exception(error)
        os._exit(status)


def act(role: Role, clock: Callable[[], float]) -> None:
    """Play a role until the emulator is gone."""
    actor = role.actor
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
        if error.errno not in _NO_ROOM:
            raise
