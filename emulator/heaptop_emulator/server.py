"""The emulator's process: one thread that answers requests and gives pages back the moment a buffer's last holder goes.

It ends when its first client, who started it, does, and takes the scenario's processes with it.
"""

import errno
import os
import selectors
import signal
import socket
import time
from collections.abc import Callable
from typing import Final
from uuid import uuid4

from heaptop_emulator import linux, text, wire
from heaptop_emulator.actor import ActorProcess
from heaptop_emulator.events import Events
from heaptop_emulator.framework import Buffer, Framework, check_name
from heaptop_emulator.heap import CmaHeap, CmaPages
from heaptop_emulator.machine import Machine
from heaptop_emulator.wire import BufferState, Message, ProtocolError, State

BUFFERS_PER_CLIENT_MAX: Final = 1 << 15
"""Live buffers one client may have asked for; further requests get ENFILE."""


class _Connection:
    """A client's end here, the process at the other, and the buffers alive that it asked for."""

    def __init__(self, connection: socket.socket, pid: int) -> None:
        connection.settimeout(0)
        self.socket = connection
        self.pid = pid
        self.inodes: set[int] = set()


class Server:
    """Serves one machine to `control` and the actors until `control` is gone."""

    def __init__(
        self, machine: Machine, framework: Framework, scenario: str, control: socket.socket, actors: list[ActorProcess]
    ) -> None:
        self._machine = machine
        self._framework = framework
        self._scenario = scenario
        self._boot_id = str(uuid4())
        self._control = _Connection(control, linux.peer_pid(control))
        self._actors = {actor.pid: actor for actor in actors}
        self._starting = list(actors)
        self._clients: dict[int, _Connection] = {}
        self._asked_by: dict[int, _Connection] = {}
        self._lines: dict[int, bytes] = {}
        self._selector = selectors.DefaultSelector()
        self._events = Events()

    def run(self) -> None:
        """Serve until the first client is gone; then nothing of it is left."""
        try:
            self._selector.register(self._framework.releases, selectors.EVENT_READ, self._collect)
            self._admit(self._control)
            for actor in self._actors.values():
                self._admit(_Connection(actor.connection, actor.pid))
                self._selector.register(actor.pidfd, selectors.EVENT_READ, self._reaper(actor))
            self._start_next()
            while self._control.socket.fileno() in self._clients:
                for key, _ in self._selector.select():
                    act: Callable[[], None] = key.data
                    act()
        finally:
            self._close()

    def _close(self) -> None:
        for actor in self._actors.values():
            signal.pidfd_send_signal(actor.pidfd, signal.SIGKILL)
            os.waitpid(actor.pid, 0)
            os.close(actor.pidfd)
        for client in list(self._clients.values()):
            self._drop(client)
        self._selector.close()
        self._events.close()
        self._framework.close()

    def _admit(self, client: _Connection) -> None:
        self._clients[client.socket.fileno()] = client
        self._selector.register(client.socket, selectors.EVENT_READ, lambda: self._serve(client))

    def _drop(self, client: _Connection) -> None:
        """Part with a client. Its buffers live on as long as somebody holds them."""
        if self._clients.pop(client.socket.fileno(), None) is not None:
            self._selector.unregister(client.socket)
            client.socket.close()

    def _reaper(self, actor: ActorProcess) -> Callable[[], None]:
        def reap() -> None:
            self._selector.unregister(actor.pidfd)
            os.close(actor.pidfd)
            os.waitpid(actor.pid, 0)
            del self._actors[actor.pid]
            if actor in self._starting:
                raise RuntimeError(f"{actor.comm} ended before it was ready")

        return reap

    def _start_next(self) -> None:
        """Let the next actor make its first allocations: one after the other, so that each run lays out alike."""
        recipient = self._starting[0].connection if self._starting else self._control.socket
        wire.send(recipient, wire.encode({}))

    def _collect(self) -> None:
        for buffer in self._framework.collect():
            self._asked_by.pop(buffer.inode).inodes.discard(buffer.inode)
            self._events.tell("free", None, **_about(buffer))

    def _serve(self, client: _Connection) -> None:
        """Answer one request. Who breaks the protocol, or does not take the answer, is dropped."""
        if client.socket.fileno() not in self._clients:
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
            answer, fd = self._answer(client, Message(raw))
        except ProtocolError:
            self._drop(client)
            return
        except OSError as error:
            answer = {"errno": error.errno or errno.EIO}
        self._reply(client, answer, fd)

    def _reply(self, client: _Connection, answer: dict[str, object], fd: int | None) -> None:
        """Send, and keep nothing: a client that leaves its answers lying would hold buffers nobody sees."""
        try:
            wire.send(client.socket, wire.encode(answer), fd)
        except OSError:
            self._drop(client)
        finally:
            if fd is not None:
                os.close(fd)

    def _answer(self, client: _Connection, request: Message) -> tuple[dict[str, object], int | None]:
        """The answer and the descriptor that goes with it. OSError where the request is refused."""
        operation = request.text("op")
        if operation == "alloc":
            return self._allocate(client, request)
        if operation == "state":
            return {"errno": 0}, self._state_file()
        if operation == "events":
            return {"errno": 0}, self._events.subscribe()
        if operation == "name":
            self._framework.set_name(request.number("inode"), request.name() or b"")
        elif operation == "ready":
            self._ready(client)
        else:
            raise ProtocolError(f"unknown operation {operation!r}")
        return {"errno": 0}, None

    def _allocate(self, client: _Connection, request: Message) -> tuple[dict[str, object], int]:
        name = request.name()
        if name is not None:
            name = check_name(name)
        if len(client.inodes) >= BUFFERS_PER_CLIENT_MAX:
            raise OSError(errno.ENFILE, os.strerror(errno.ENFILE))
        buffer, fd = self._ask_heap(client, request)
        buffer.name = name
        client.inodes.add(buffer.inode)
        self._asked_by[buffer.inode] = client
        return {"errno": 0, "inode": buffer.inode, "size_bytes": buffer.size_bytes}, fd

    def _ask_heap(self, client: _Connection, request: Message) -> tuple[Buffer, int]:
        """Allocate, and tell how that went."""
        name, length = request.text("heap"), request.number("len")
        flags = {flag: request.number(flag) for flag in ("fd_flags", "heap_flags")}
        began = time.perf_counter()
        try:
            buffer, fd = self._framework.allocate(name, length, **flags)
        except OSError as error:
            took = time.perf_counter() - began
            heap = self._framework.heaps.get(name)
            if isinstance(heap, CmaHeap) and error.errno == errno.ENOMEM:
                reason = "no run large enough"
                self._events.tell("cma_fail", client.pid, size_bytes=length, area=heap.area.name, reason=reason)
            self._events.tell("alloc_fail", client.pid, size_bytes=length, errno=error.errno, latency_s=took)
            raise
        took = time.perf_counter() - began
        pfn = buffer.pages.runs()[0].pfn if isinstance(buffer.pages, CmaPages) else None
        self._events.tell("alloc", client.pid, **_about(buffer), latency_s=took, pfn=pfn)
        return buffer, fd

    def _ready(self, client: _Connection) -> None:
        if self._starting and self._starting[0].connection is client.socket:
            del self._starting[0]
            self._start_next()

    def _state_file(self) -> int:
        """The state in a file without a name, read from its beginning."""
        fd = linux.nameless_file("heaptop-emulator-state")
        with open(fd, "wb", closefd=False) as file:
            file.write(self._state().to_json())
        os.lseek(fd, 0, os.SEEK_SET)
        return fd

    def _state(self) -> State:
        heaps = tuple(self._framework.heaps)
        return State(
            scenario=self._scenario,
            heaps=heaps,
            actors={pid: actor.comm for pid, actor in self._actors.items()},
            files={**text.machine_files(self._machine, heaps, self._boot_id), text.PLACES: self._places()},
            links=text.machine_links(heaps),
            buffers=tuple(
                BufferState(item.inode, item.heap, item.size_bytes, item.access, item.serial, item.name)
                for item in self._framework.buffers.values()
            ),
        )

    def _places(self) -> bytes:
        """Where each buffer lies. That does not change while it lives."""
        before, self._lines = self._lines, {}
        for inode, buffer in sorted(self._framework.buffers.items()):
            self._lines[inode] = before.get(inode) or text.place(inode, buffer.pages.runs())
        return b"".join(self._lines.values())


def _about(buffer: Buffer) -> dict[str, object]:
    return {"inode": buffer.inode, "size_bytes": buffer.size_bytes, "exporter": buffer.heap}
