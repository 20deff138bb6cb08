"""The server answers, ends with its first client, and outlives any noise of the others."""

import errno
import json
import os
import socket
import subprocess

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from heaptop_emulator import clients, wire
from heaptop_emulator.actor import ActorProcess
from heaptop_emulator.framework import Framework
from heaptop_emulator.heap import SystemHeap
from heaptop_emulator.machine import Machine
from heaptop_emulator.server import Server, World
from heaptop_emulator.wire import Client, Message, ProtocolError, State
from tests.emulator.serving import DEADLINE_S, serving, wait_for

ALLOC = {"op": "alloc", "heap": "system", "len": 4096, "fd_flags": os.O_RDWR, "heap_flags": 0, "name": None}
NOISE = [
    b"\0",
    b"{",
    b"[]",
    b"null",
    b'{"op": 1}',
    b'{"op": "nonsense"}',
    b'{"op": "alloc"}',
    b"[" * 4000,
    b'{"op": "alloc", "len": ' + b"9" * 4000 + b"}",
    b"x" * (wire.MESSAGE_BYTES_MAX + 1),
    b"x" * 100_000,
    wire.encode({**ALLOC, "len": -1}),
    wire.encode({**ALLOC, "len": 1 << 64}),
    wire.encode({**ALLOC, "len": 1.5}),
    wire.encode({**ALLOC, "len": True}),
    wire.encode({**ALLOC, "heap": None}),
    wire.encode({**ALLOC, "name": "\u20ac"}),
    wire.encode({"op": "name", "inode": "1", "name": "x"}),
]


def is_dropped(client: Client) -> bool:
    """Whether the server has closed this connection, whatever it answered before."""
    try:
        while client.socket.recv(wire.MESSAGE_BYTES_MAX):
            continue
    except ConnectionError:
        pass
    return True


def flood(client: Client) -> None:
    """Ask for one buffer after the other and read no answer."""
    while True:
        client.socket.send(wire.encode(ALLOC))


def test_a_buffer_is_given_named_and_taken_back() -> None:
    with serving() as served:
        given_ = served.control.allocate("system", 5000, b"\xffraw\n")
        assert os.fstat(given_.fd).st_ino == given_.inode
        assert given_.size_bytes == os.fstat(given_.fd).st_size == 8192
        assert not os.get_inheritable(given_.fd)
        (buffer,) = served.control.state().buffers
        assert (buffer.inode, buffer.heap, buffer.size_bytes, buffer.name) == (
            given_.inode,
            "system",
            8192,
            b"\xffraw\n",
        )
        served.other.set_name(given_.inode, b"")
        assert served.control.state().buffers[0].name == b""
        os.close(given_.fd)
        assert served.control.state().buffers == ()
        inheritable = served.control.allocate("camera", 4096, fd_flags=os.O_RDONLY)
        assert os.get_inheritable(inheritable.fd)
        os.close(inheritable.fd)


def test_a_refusal_is_the_errno_of_the_ioctl() -> None:
    with serving() as served:
        for request, number in (
            (lambda: served.control.allocate("nowhere", 4096), errno.ENOENT),
            (lambda: served.control.allocate("system", 0), errno.EINVAL),
            (lambda: served.control.allocate("system", 1 << 40), errno.ENOMEM),
            (lambda: served.control.allocate("system", 4096, b"n" * 32), errno.EINVAL),
            (lambda: served.control.allocate("system", 4096, heap_flags=1), errno.EINVAL),
            (lambda: served.control.allocate("system", 4096, fd_flags=os.O_APPEND), errno.EINVAL),
            (lambda: served.control.set_name(1, b"x"), errno.ENOTTY),
        ):
            with pytest.raises(OSError, match=os.strerror(number)):
                request()
        assert served.control.state().buffers == ()


@pytest.mark.parametrize("noise", NOISE, ids=range(len(NOISE)))
def test_noise_ends_that_connection_and_no_other(noise: bytes) -> None:
    with serving() as served:
        kept = served.control.allocate("system", 4096)
        lost = served.other.allocate("system", 4096)
        served.other.socket.send(noise)
        assert is_dropped(served.other)
        assert [buffer.inode for buffer in served.control.state().buffers] == [kept.inode, lost.inode]
        os.close(kept.fd)
        os.close(lost.fd)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.binary(min_size=1, max_size=200)
    | st.recursive(st.none() | st.integers() | st.text(), st.lists).map(lambda value: json.dumps(value).encode())
)
def test_any_noise_is_survived(noise: bytes) -> None:
    with serving() as served:
        served.other.socket.send(noise)
        assert is_dropped(served.other)
        assert served.control.state().buffers == ()


def test_descriptors_sent_to_the_server_are_not_kept() -> None:
    with serving() as served:
        reader, writer = os.pipe()
        socket.send_fds(served.other.socket, [wire.encode({"op": "state"})], [writer])
        os.close(writer)
        assert os.read(reader, 1) == b""  # no writer is left
        os.close(reader)


def test_a_client_that_reads_no_answers_is_dropped_with_what_lay_unread() -> None:
    with serving() as served:
        with pytest.raises(ConnectionError):
            flood(served.other)
        served.other.socket.close()
        wait_for(served.control.state, lambda state: state.buffers == ())
        assert served.machine.buddy.free_pages == served.machine.free_pages - served.machine.cma_free_pages


def test_buffers_per_process_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clients, "BUFFERS_PER_PROCESS_MAX", 3)
    with serving() as served:
        held = [served.control.allocate("system", 4096) for _ in range(3)]
        with pytest.raises(OSError, match="Too many open files in system"):
            served.control.allocate("system", 4096)
        os.close(served.other.allocate("system", 4096).fd)
        os.close(held.pop().fd)
        held.append(served.control.allocate("system", 4096))
        for one in held:
            os.close(one.fd)


def test_the_server_ends_with_its_first_client_and_ends_its_actors() -> None:
    with serving() as served:
        fds = os.listdir("/proc/self/fd")
        served.control.socket.close()
        served.thread.join(DEADLINE_S)
        assert not served.thread.is_alive()
        assert served.actor.wait(DEADLINE_S) is not None
        assert is_dropped(served.other)
        with pytest.raises(ConnectionError):
            served.other.state()
        assert len(os.listdir("/proc/self/fd")) < len(fds)


def test_an_actor_that_ends_before_it_is_ready_ends_the_server() -> None:
    machine = Machine()
    control, control_end = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    other, other_end = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with subprocess.Popen(["true"]) as actor, control, other:
        process = ActorProcess("broken", actor.pid, os.pidfd_open(actor.pid), other_end)
        broken = Server(World(machine, Framework([SystemHeap(machine)]), "test"), [process], lambda: None)
        with pytest.raises(RuntimeError, match="broken ended before it was ready"):
            broken.serve(control_end)
        assert is_dropped(Client(control))


def test_an_actor_that_ends_is_no_longer_listed() -> None:
    with serving() as served:
        assert served.control.state().actors == {served.actor.pid: "sleep"}
        served.actor.kill()
        wait_for(served.control.state, lambda state: not state.actors)


def test_a_state_survives_its_encoding() -> None:
    with serving() as served:
        held = [served.control.allocate("system", 4096, name) for name in (None, b"", bytes(range(128, 159)))]
        state = served.control.state()
        assert State.from_json(state.to_json()) == state
        assert [buffer.name for buffer in state.buffers] == [None, b"", bytes(range(128, 159))]
        for one in held:
            os.close(one.fd)


def test_only_bytes_have_a_place_beside_json() -> None:
    with pytest.raises(TypeError):
        wire.encode({"op": object()})


def test_a_message_has_a_longest_size() -> None:
    Message(b"{}" + b" " * (wire.MESSAGE_BYTES_MAX - 2))
    with pytest.raises(ProtocolError):
        Message(b"{}" + b" " * (wire.MESSAGE_BYTES_MAX - 1))
