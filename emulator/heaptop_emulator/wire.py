"""The emulator's protocol: one JSON object a message on a SOCK_SEQPACKET socket, request and answer in turn.

    alloc  heap len fd_flags heap_flags name pid  ->  errno inode size_bytes, and the buffer's fd by SCM_RIGHTS
                                                  (pid: on whose behalf, where that is not the client itself)
    name   inode name                         ->  errno
    dmabuf inode dmabuf                       ->  errno          (a real dma-buf of that inode stands for this buffer)
    about                                     ->  errno, and a file with the About by SCM_RIGHTS
    state                                     ->  errno, and a file with the State by SCM_RIGHTS (it has no size limit)
    events                                    ->  errno, and the read end of a pipe by SCM_RIGHTS: see events.py
    ready                                     ->  errno          (a scenario's process has made its first allocations)
    keep                                      ->  errno          (go on without clients, until `stop`)
    leave                                     ->  the end of the connection; where this was all that the emulator still
                                                  lived for, once that has ended
    stop                                      ->  errno, and the end of the connection once the emulator has ended

`alloc` without a name may also be packed (packed.py), and is then answered alike. Byte strings are written as latin-1.
A message that is none of these ends the connection.
"""

import contextlib
import errno
import json
import os
import socket
import struct
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from operator import attrgetter
from typing import Any, Final, Self

from heaptop_emulator import packed

PROTOCOL: Final = 1
"""Rises when an older client could not understand the answers."""
MESSAGE_BYTES_MAX: Final = 4096
U64_MAX: Final = (1 << 64) - 1


class ProtocolError(Exception):
    """The other side does not speak the protocol."""


@dataclass(frozen=True, slots=True)
class BufferState:
    """A live buffer, as `framework.Buffer`."""

    inode: int
    heap: str
    exporter: str
    size_bytes: int
    access: int
    serial: int
    name: bytes | None
    is_dmabuf: bool = False
    """Whether its inode is a real dma-buf's, not a memfd's."""


_FIELDS: Final = attrgetter(*BufferState.__slots__)
_NAME: Final = BufferState.__slots__.index("name")


@dataclass(frozen=True, slots=True)
class State:
    """The emulator at one moment. `actors` are the scenario's processes (pid to comm) that live; `files` and `links`
    are what the machine's kernel shows, by path without the leading slash.
    """

    scenario: str
    heaps: tuple[str, ...]
    actors: Mapping[int, str]
    files: Mapping[str, bytes]
    links: Mapping[str, bytes]
    buffers: tuple[BufferState, ...]

    def to_json(self) -> bytes:
        """For the wire."""
        fields = {
            "scenario": self.scenario,
            "heaps": self.heaps,
            "actors": self.actors,
            "files": self.files,
            "links": self.links,
            "buffers": [_FIELDS(buffer) for buffer in self.buffers],
        }
        return json.dumps(fields, default=_latin1, separators=(",", ":")).encode()

    @classmethod
    def from_json(cls, raw: bytes) -> "State":
        """From the emulator that this process started: it is not checked again."""
        fields: dict[str, Any] = json.loads(raw)
        return cls(
            scenario=fields["scenario"],
            heaps=tuple(fields["heaps"]),
            actors={int(pid): comm for pid, comm in fields["actors"].items()},
            files={path: text.encode("latin-1") for path, text in fields["files"].items()},
            links={path: text.encode("latin-1") for path, text in fields["links"].items()},
            buffers=tuple(_buffer(row) for row in fields["buffers"]),
        )


def _buffer(row: list[Any]) -> BufferState:
    if row[_NAME] is not None:
        row[_NAME] = row[_NAME].encode("latin-1")
    return BufferState(*row)


@dataclass(frozen=True, slots=True)
class About:
    """The emulator in figures. `recovered` counts the buffers that it found again when it started; `is_lasting` says
    that it goes on when nobody uses it any more.
    """

    protocol: int
    pid: int
    boot_id: str
    scenario: str
    seed: int
    layout: str
    started_at: float
    is_lasting: bool
    recovered: int
    heaps: tuple[str, ...]
    actors: Mapping[int, str]
    clients: int
    buffers: int
    size_bytes: int

    def to_json(self) -> bytes:
        """For the wire."""
        return json.dumps(asdict(self)).encode()

    @classmethod
    def from_json(cls, raw: bytes) -> "About":
        """ProtocolError where it is of another protocol."""
        fields: dict[str, Any] = json.loads(raw)
        if fields.get("protocol") != PROTOCOL:
            raise ProtocolError(f"protocol {fields.get('protocol')!r}, not {PROTOCOL}")
        actors = {int(pid): comm for pid, comm in fields["actors"].items()}
        return cls(**{**fields, "heaps": tuple(fields["heaps"]), "actors": actors})


def _latin1(value: object) -> str:
    if isinstance(value, bytes):
        return value.decode("latin-1")
    raise TypeError(f"{type(value).__name__} has no place in the protocol")


def encode(message: Mapping[str, object]) -> bytes:
    """One message as bytes."""
    return json.dumps(message, default=_latin1).encode()


def send(connection: socket.socket, raw: bytes, fd: int | None = None) -> None:
    """Send one message, with a reference to an open file where fd is given."""
    rights = [] if fd is None else [(socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack("i", fd))]
    connection.sendmsg([raw], rights)


def receive(connection: socket.socket, count_bytes: int) -> tuple[bytes, int | None]:
    """The next message and the descriptor that came with it, closed on exec; no bytes where the other side is gone.

    socket.recv_fds would pass no flags on (3.11), and so leave the descriptor to every program started here.
    """
    room = socket.CMSG_LEN(struct.calcsize("i"))
    raw, rights, _, _ = connection.recvmsg(count_bytes, room, socket.MSG_CMSG_CLOEXEC)
    return raw, struct.unpack("i", rights[0][2])[0] if rights else None


class Message:
    """A received message, whose fields are checked as they are read."""

    def __init__(self, raw: bytes) -> None:
        """ProtocolError where it is neither one JSON object nor packed, or has more than MESSAGE_BYTES_MAX bytes."""
        if len(raw) > MESSAGE_BYTES_MAX:
            raise ProtocolError("message too long")
        try:
            fields = packed.fields(raw) or json.loads(raw)
        except (ValueError, RecursionError) as error:
            raise ProtocolError("not JSON") from error
        if not isinstance(fields, dict):
            raise ProtocolError("not an object")
        self._fields: dict[str, object] = fields

    def text(self, key: str) -> str:
        """A string."""
        value = self._fields.get(key)
        if not isinstance(value, str):
            raise ProtocolError(f"{key} is not a string")
        return value

    def number(self, key: str) -> int:
        """An unsigned 64-bit number."""
        value = self._fields.get(key)
        if type(value) is not int or not 0 <= value <= U64_MAX:
            raise ProtocolError(f"{key} is not an unsigned 64-bit number")
        return value

    def optional_number(self, key: str) -> int | None:
        """An unsigned 64-bit number, null or absent."""
        return None if self._fields.get(key) is None else self.number(key)

    def name(self) -> bytes | None:
        """The field `name`: a byte string or null."""
        if self._fields.get("name") is None:
            return None
        try:
            return self.text("name").encode("latin-1")
        except UnicodeEncodeError as error:
            raise ProtocolError("name is not bytes") from error


@dataclass(frozen=True, slots=True)
class Given:
    """A buffer the emulator handed out: the caller owns `fd`."""

    fd: int
    inode: int
    size_bytes: int


class Client:
    """One connection to the emulator. Not for use by two threads at once.

    Every method raises ConnectionError where the emulator is gone, TimeoutError where it does not answer within the
    socket's time-out, and another OSError, with the errno of the ioctl, where it refuses.
    """

    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Part with the emulator. May be called twice."""
        self.socket.close()

    def allocate(
        self,
        heap: str,
        length: int,
        name: bytes | None = None,
        *,
        fd_flags: int = os.O_RDWR | os.O_CLOEXEC,
        heap_flags: int = 0,
        on_behalf_of: int | None = None,
    ) -> Given:
        """ALLOC, and DMA_BUF_SET_NAME where a name is given: then a name that is too long allocates nothing.

        `on_behalf_of` is the thread that the emulator's events then name.
        """
        if name is None:
            answer, fd = self._exchange(packed.request(heap, length, fd_flags, heap_flags, on_behalf_of or 0))
        else:
            request = {"op": "alloc", "heap": heap, "len": length, "fd_flags": fd_flags, "heap_flags": heap_flags}
            answer, fd = self._ask({**request, "name": name, "pid": on_behalf_of})
        if fd is None:
            raise OSError(errno.EMFILE, "the descriptor was lost: too many open files here")
        if not fd_flags & os.O_CLOEXEC:
            os.set_inheritable(fd, True)  # noqa: FBT003
        return Given(fd, answer.number("inode"), answer.number("size_bytes"))

    def set_name(self, inode: int, name: bytes) -> None:
        """DMA_BUF_SET_NAME."""
        self._ask({"op": "name", "inode": inode, "name": name})

    def replace(self, inode: int, dmabuf: int) -> None:
        """Let a real dma-buf over a buffer's memfd, by its inode, stand for it. EEXIST: that number is taken."""
        self._ask({"op": "dmabuf", "inode": inode, "dmabuf": dmabuf})

    def state(self) -> State:
        """All that the emulator knows at this moment."""
        return State.from_json(self._ask_for_file("state"))

    def about(self) -> About:
        """The emulator in figures: quicker than its whole state. ProtocolError where it is of another protocol."""
        return About.from_json(self._ask_for_file("about"))

    def stop(self) -> None:
        """End the emulator, and wait until it has."""
        self._ask({"op": "stop"})
        self._await_end()
        self.close()

    def keep(self) -> None:
        """Let the emulator go on when nobody uses it any more."""
        self._ask({"op": "keep"})

    def leave(self) -> None:
        """Part with the shared emulator, and see it end where it was there for this client alone."""
        send(self.socket, encode({"op": "leave"}))
        self._await_end()
        self.close()

    def _await_end(self) -> None:
        while receive(self.socket, MESSAGE_BYTES_MAX)[0]:
            continue

    def events(self) -> int:
        """The end of a pipe on which each event is a line of JSON; the caller closes it."""
        _, fd = self._ask({"op": "events"})
        if fd is None:
            raise OSError(errno.EMFILE, "the pipe was lost: too many open files here")
        return fd

    def ready(self) -> None:
        """Tell that the first allocations are made."""
        self._ask({"op": "ready"})

    def wait(self) -> None:
        """Wait for the emulator's go-ahead, an empty object that answers nothing."""
        self._receive()

    def _ask_for_file(self, operation: str) -> bytes:
        _, fd = self._ask({"op": operation})
        if fd is None:
            raise OSError(errno.EMFILE, "the answer was lost: too many open files here")
        with open(fd, "rb") as file:
            return file.read()

    def _ask(self, request: Mapping[str, object]) -> tuple[Message, int | None]:
        return self._exchange(encode(request))

    def _exchange(self, raw: bytes) -> tuple[Message, int | None]:
        if len(raw) > MESSAGE_BYTES_MAX:
            raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG))
        with contextlib.suppress(BrokenPipeError):  # its last words may lie here still
            send(self.socket, raw)
        answer, fd = self._receive()
        number = answer.number("errno")
        if number:
            raise OSError(number, os.strerror(number))
        return answer, fd

    def _receive(self) -> tuple[Message, int | None]:
        try:
            raw, fd = receive(self.socket, MESSAGE_BYTES_MAX)
        except ConnectionResetError:  # told once, before what was sent last
            raw, fd = receive(self.socket, MESSAGE_BYTES_MAX)
        if not raw:
            raise ConnectionResetError("the emulator is gone")
        return Message(raw), fd
