"""The emulator's process: one thread that answers requests and gives pages back the moment a buffer's last holder goes.

One that was started for one heaptop ends when that first client, `control`, does. The shared one (daemon.py) listens,
and ends when it is told to. Either takes the scenario's processes with it.

In each round every client that has asked something gets one answer, so nobody waits for more than one of anybody's.
"""

import errno
import os
import selectors
import signal
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final
from uuid import uuid4

from heaptop_emulator import linux, packed, wire
from heaptop_emulator.actor import ActorProcess
from heaptop_emulator.clients import Clients, Connection
from heaptop_emulator.door import Door
from heaptop_emulator.events import Events
from heaptop_emulator.framework import Buffer, Framework, check_name
from heaptop_emulator.heap import CmaHeap, CmaPages, NoPagesError
from heaptop_emulator.journal import Journal
from heaptop_emulator.machine import Machine
from heaptop_emulator.view import View
from heaptop_emulator.wire import About, Message, ProtocolError

_FIRST_CLIENT_TIMEOUT_S: Final = 10.0
"""For how long one that is not lasting waits for who started it."""


@dataclass(frozen=True, slots=True)
class World:
    """What is served: a machine, its heaps, and what was asked for when it was made (`layout` as TOML). `journal` is
    told of every buffer for a restart; `recovered` are those from before one, each with the pid that asked for it.
    """

    machine: Machine
    framework: Framework
    scenario: str
    seed: int = 1
    layout: str = ""
    boot_id: str = field(default_factory=lambda: str(uuid4()))
    journal: Journal | None = None
    recovered: tuple[tuple[Buffer, int], ...] = ()


class Server:
    """Serves one world to its clients and the scenario's actors."""

    def __init__(self, world: World, actors: list[ActorProcess], on_ready: Callable[[], None]) -> None:
        """`on_ready` is called once, when every actor has made its first allocations."""
        self._world = world
        self._framework = world.framework
        self._started_at = time.time()
        self._on_ready = on_ready
        self._actors = {actor.pid: actor for actor in actors}
        self._starting = list(actors)
        self._clients = Clients()
        for buffer, pid in world.recovered:
            self._clients.charge(buffer.inode, pid)
        self._view = View(world.machine, tuple(world.framework.heaps), world.scenario, world.boot_id)
        self._told: bytes | None = None
        self._selector = selectors.DefaultSelector()
        self._events = Events()
        self._is_shared = False
        self._is_lasting = True
        self._cast = frozenset(self._actors)
        self._was_used = False
        self._stopping = False
        self._left: list[socket.socket] = []

    def serve(self, control: socket.socket) -> None:
        """Serve until this first client is gone; then nothing of it is left."""
        try:
            first = self._admit(control)
            self._begin()
            while first is not None and first in self._clients:
                self._round()
        finally:
            self._close()

    def listen(self, door: Door, stop: socket.socket, *, is_lasting: bool) -> None:
        """Serve whoever comes in until a client says so or `stop` is readable; then nothing of it is left.

        One that is not lasting also ends when nobody uses it any more: no client, and no buffer but the actors'.
        """
        self._is_shared = True
        self._is_lasting = is_lasting
        first_by = time.monotonic() + _FIRST_CLIENT_TIMEOUT_S
        try:
            self._selector.register(door.listener, selectors.EVENT_READ, lambda: self._accept(door))
            self._selector.register(stop, selectors.EVENT_READ, self._stop)
            self._begin()
            while not (self._stopping or (self._is_unused() and (self._was_used or time.monotonic() > first_by))):
                self._round(None if self._is_lasting or self._was_used else _FIRST_CLIENT_TIMEOUT_S)
        finally:
            door.close()
            self._close()

    def _begin(self) -> None:
        self._selector.register(self._framework.releases, selectors.EVENT_READ, self._collect)
        for actor in self._actors.values():
            self._admit(actor.connection, actor.pid)
            self._selector.register(actor.pidfd, selectors.EVENT_READ, self._reaper(actor))
        self._start_next()

    def _round(self, timeout_s: float | None = None) -> None:
        for key, _ in self._selector.select(timeout_s):
            act: Callable[[], None] = key.data
            act()

    def _is_unused(self) -> bool:
        return (
            not self._is_lasting
            and len(self._clients) <= len(self._actors)
            and not self._clients.have_buffers(self._cast)
        )

    def _stop(self) -> None:
        self._stopping = True

    def _close(self) -> None:
        for actor in self._actors.values():
            signal.pidfd_send_signal(actor.pidfd, signal.SIGKILL)
            os.waitpid(actor.pid, 0)
            os.close(actor.pidfd)
        for client in self._clients:
            self._drop(client)
        self._selector.close()
        self._events.close()
        self._framework.close()

    def _accept(self, door: Door) -> None:
        entered = door.accept()
        if entered is not None:
            self._was_used = True
            self._admit(*entered)

    def _admit(self, connection: socket.socket, pid: int | None = None) -> Connection | None:
        client = self._clients.admit(connection, linux.peer_credentials(connection)[0] if pid is None else pid)
        if client is not None:
            self._selector.register(client.socket, selectors.EVENT_READ, lambda: self._serve(client))
        return client

    def _drop(self, client: Connection) -> None:
        """Part with a client."""
        if client in self._clients:
            self._selector.unregister(client.socket)
            self._clients.part(client)
            client.socket.close()

    def _reaper(self, actor: ActorProcess) -> Callable[[], None]:
        def reap() -> None:
            self._selector.unregister(actor.pidfd)
            os.close(actor.pidfd)
            os.waitpid(actor.pid, 0)
            del self._actors[actor.pid]
            self._told = None
            if actor in self._starting:
                raise RuntimeError(f"{actor.comm} ended before it was ready")

        return reap

    def _start_next(self) -> None:
        """Let the next actor make its first allocations: one after the other, so that each run lays out alike."""
        if self._starting:
            wire.send(self._starting[0].connection, wire.encode({}))
        else:
            self._on_ready()

    def _collect(self) -> None:
        for buffer in self._framework.collect():
            self._told = None
            self._clients.discharge(buffer.inode)
            if self._world.journal is not None:
                self._world.journal.remove(buffer.inode)
            self._events.tell("free", None, **_about(buffer))

    def _serve(self, client: Connection) -> None:
        """Answer one request. Who breaks the protocol, or does not take the answer, is dropped."""
        if client not in self._clients:
            return
        try:
            raw = client.socket.recv(wire.MESSAGE_BYTES_MAX + 1)
        except BlockingIOError:
            return
        except ConnectionError:
            raw = b""
        if not raw:
            self._drop(client)
            return
        self._collect()
        fd: int | None = None
        try:
            request = Message(raw)
            if request.text("op") == "leave":
                self._leave(client)
                return
            answer, fd = self._answer(client, request)
        except ProtocolError:
            self._drop(client)
            return
        except OSError as error:
            answer = {"errno": error.errno or errno.EIO}
        self._reply(client, packed.answer(answer) if raw.startswith(packed.REQUEST) else wire.encode(answer), fd)

    def _leave(self, client: Connection) -> None:
        """Part with a client. The last one for whom this goes on sees its connection end when this has."""
        self._selector.unregister(client.socket)
        self._clients.part(client)
        if self._is_shared and self._is_unused():
            self._left.append(client.socket)
        else:
            client.socket.close()

    def _reply(self, client: Connection, answer: bytes, fd: int | None) -> None:
        """Send, and keep nothing: a client that leaves its answers lying would hold buffers nobody sees."""
        try:
            wire.send(client.socket, answer, fd)
        except OSError:
            self._drop(client)
        finally:
            if fd is not None:
                os.close(fd)

    def _answer(self, client: Connection, request: Message) -> tuple[dict[str, object], int | None]:
        """The answer and the descriptor that goes with it. OSError where the request is refused."""
        match request.text("op"):
            case "alloc":
                return self._allocate(client, request)
            case "state":
                return {"errno": 0}, _file_with(self._state())
            case "about":
                return {"errno": 0}, _file_with(self._about().to_json())
            case "events":
                return {"errno": 0}, self._events.subscribe()
            case "name":
                self._name(request.number("inode"), request.name() or b"")
            case "dmabuf":
                self._replace(request.number("inode"), request.number("dmabuf"))
            case "ready":
                self._ready(client)
            case "stop" if self._is_shared:
                self._stop()
            case "keep":
                self._keep()
            case operation:
                raise ProtocolError(f"unknown operation {operation!r}")
        return {"errno": 0}, None

    def _allocate(self, client: Connection, request: Message) -> tuple[dict[str, object], int]:
        name = request.name()
        if name is not None:
            name = check_name(name)
        self._clients.check_room(client.account)
        buffer, fd = self._ask_heap(request, request.optional_number("pid") or client.account.pid)
        buffer.name = name
        self._clients.charge(buffer.inode, client.account.pid)
        if self._world.journal is not None:
            self._world.journal.add(buffer, client.account.pid)
        return {"errno": 0, "inode": buffer.inode, "size_bytes": buffer.size_bytes}, fd

    def _name(self, inode: int, name: bytes) -> None:
        buffer = self._framework.set_name(inode, name)
        self._told = None
        if self._world.journal is not None:
            self._world.journal.name(buffer, self._clients.who_asked(buffer.inode))

    def _replace(self, inode: int, dmabuf: int) -> None:
        buffer = self._framework.replace(inode, dmabuf)
        if self._world.journal is not None:
            self._world.journal.replace(buffer, self._clients.who_asked(inode))

    def _ask_heap(self, request: Message, pid: int) -> tuple[Buffer, int]:
        """Allocate, and tell how that went."""
        name, length = request.text("heap"), request.number("len")
        flags = {flag: request.number(flag) for flag in ("fd_flags", "heap_flags")}
        self._told = None  # a refusal counts too
        began = time.perf_counter()
        try:
            buffer, fd = self._framework.allocate(name, length, **flags)
        except OSError as error:
            took = time.perf_counter() - began
            heap = self._framework.heaps.get(name)
            if isinstance(heap, CmaHeap) and isinstance(error, NoPagesError) and error.reason is not None:
                self._events.tell("cma_fail", pid, size_bytes=length, area=heap.area.name, reason=error.reason)
            self._events.tell("alloc_fail", pid, size_bytes=length, errno=error.errno, latency_s=took)
            raise
        took = time.perf_counter() - began
        pfn = buffer.pages.runs()[0].pfn if isinstance(buffer.pages, CmaPages) else None
        self._events.tell("alloc", pid, **_about(buffer), latency_s=took, pfn=pfn)
        return buffer, fd

    def _keep(self) -> None:
        self._is_lasting = True
        if self._world.journal is not None:
            self._world.journal.keep()

    def _ready(self, client: Connection) -> None:
        if self._starting and self._starting[0].connection is client.socket:
            del self._starting[0]
            self._start_next()

    def _state(self) -> bytes:
        """As it was told last where nothing has happened since."""
        if self._told is None:
            self._told = self._view.state(self._framework.buffers, self._living()).to_json()
        return self._told

    def _living(self) -> dict[int, str]:
        return {pid: actor.comm for pid, actor in self._actors.items()}

    def _about(self) -> About:
        buffers = self._framework.buffers.values()
        return About(
            protocol=wire.PROTOCOL,
            pid=os.getpid(),
            boot_id=self._world.boot_id,
            scenario=self._world.scenario,
            seed=self._world.seed,
            layout=self._world.layout,
            started_at=self._started_at,
            is_lasting=self._is_lasting,
            recovered=len(self._world.recovered),
            heaps=tuple(self._framework.heaps),
            actors=self._living(),
            clients=len(self._clients) - len(self._actors),
            buffers=len(buffers),
            size_bytes=sum(buffer.size_bytes for buffer in buffers),
        )


def _about(buffer: Buffer) -> dict[str, object]:
    return {"inode": buffer.shown_inode, "size_bytes": buffer.size_bytes, "exporter": buffer.exporter}


def _file_with(raw: bytes) -> int:
    """A file without a name, read from its beginning."""
    fd = linux.nameless_file("heaptop-emulator-answer")
    with open(fd, "wb", closefd=False) as file:
        file.write(raw)
    os.lseek(fd, 0, os.SEEK_SET)
    return fd
