"""The supervisor's process: the command's parent, which answers its calls until nobody is left who could make one."""

import contextlib
import ctypes
import heapq
import json
import os
import select
import signal
import socket
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, NoReturn

from heaptop.trace.supervise import launch
from heaptop.trace.supervise.base import Allocation, Outcome, Responder
from heaptop.trace.supervise.launch import Plan
from heaptop.trace.supervise.libc import LIBC
from heaptop.trace.supervise.seccomp import Call, Listener
from heaptop.trace.supervise.signals import SignalReader

_PR_SET_NAME, _PR_SET_CHILD_SUBREAPER = 15, 36
_WALL: Final = 0x40000000
_COMM: Final = b"heaptop-run"

Respond = Callable[[Listener, Mapping[tuple[int, int], str]], Responder]
"""Makes the responder once there is a listener, and the heaps' nodes by device and inode."""


@dataclass(frozen=True, slots=True)
class Job:
    """What a supervisor does: run this, answer by that, each allocation `latency_s` late, and `tell` of each."""

    plan: Plan
    respond: Respond
    latency_s: float = 0.0
    tell: bool = False


def serve(job: Job, front: socket.socket) -> NoReturn:
    """The whole life of this fork of the front. It never returns."""
    status = 1
    try:
        Supervisor(job, front).run()
        status = 0
    except BaseException:  # noqa: BLE001  told to the front, which tells the user
        _send(front, {"kind": "crashed", "traceback": traceback.format_exc()})
    finally:
        os._exit(status)


class Supervisor:
    """Answers one command and all that it starts."""

    def __init__(self, job: Job, front: socket.socket) -> None:
        self._job = job
        self._front = front
        self._children = SignalReader([signal.SIGCHLD])
        LIBC.prctl(_PR_SET_NAME, ctypes.c_char_p(_COMM), 0, 0, 0)
        # Orphans of the command stay descendants, so that their memory may be read (Yama, scope 1).
        LIBC.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        self._late: list[tuple[float, int, Outcome]] = []
        self._calls: dict[int, Call] = {}
        self._pid = 0
        self._counts = {"allocations": 0, "refused": 0, "size_bytes": 0}

    def run(self) -> None:
        """Start the command and answer until the last task with the filter is gone."""
        link = self._start()
        _detach()
        started = self._hello(link)
        if started is None:
            self._wait_for_end()
            return
        listener, responder = started
        link.send(b"!")
        self._watch_exec(link)
        self._loop(listener, responder)

    def _start(self) -> socket.socket:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._pid = os.fork()
        if self._pid == 0:
            ours.close()
            self._front.close()
            launch.become(self._job.plan, theirs)
        theirs.close()
        return ours

    def _hello(self, link: socket.socket) -> tuple[Listener, Responder] | None:
        """The listener and its responder; None where the command's process says that it cannot be, or dies."""
        raw, fds, _, _ = socket.recv_fds(link, launch.MESSAGE_BYTES_MAX, 1)
        if not fds:
            self._tell("failed", **(json.loads(raw) if raw else {"failed": "the command's process", "errno": 0}))
            return None
        os.set_inheritable(fds[0], False)  # noqa: FBT003
        listener = Listener(fds[0])
        heaps = {tuple(node): name for name, node in json.loads(raw)["nodes"].items()}
        responder = self._job.respond(listener, heaps)
        self._tell("started", pid=self._pid)
        self._front.recv(1)  # it has said what it has to say, or is gone
        return listener, responder

    def _watch_exec(self, link: socket.socket) -> None:
        """Wait until the command has begun, or could not be."""
        with link:
            raw = link.recv(launch.MESSAGE_BYTES_MAX)
        if raw:
            self._tell("failed", **json.loads(raw))

    def _wait_for_end(self) -> None:
        _, status = os.waitpid(self._pid, 0)
        self._tell("ended", status=status, **self._counts)

    def _loop(self, listener: Listener, responder: Responder) -> None:
        poll = select.poll()
        hung_up_fd = listener.fileno()
        children = self._children.fileno()
        poll.register(hung_up_fd, select.POLLIN)
        poll.register(children, select.POLLIN)
        is_used = True
        while is_used or self._pid:
            for fd, event in poll.poll(self._until_next_ms()):
                if fd == children:
                    self._children.read()
                    self._reap()
                elif event & select.POLLIN:
                    call = listener.receive()
                    if call is not None:
                        self._respond(listener, responder, call)
                elif event & select.POLLHUP:
                    is_used = False
                    poll.unregister(fd)
            self._end_late(listener)

    def _respond(self, listener: Listener, responder: Responder, call: Call) -> None:
        outcome = responder.handle(call)
        if outcome.allocation is None:
            _end(listener, call, outcome)
        elif self._job.latency_s:
            heapq.heappush(self._late, (time.monotonic() + self._job.latency_s, call.id, outcome))
            self._calls[call.id] = call
        else:
            _end(listener, call, outcome)
            self._count(outcome.allocation)

    def _until_next_ms(self) -> float | None:
        return max(0.0, self._late[0][0] - time.monotonic()) * 1e3 if self._late else None

    def _end_late(self, listener: Listener) -> None:
        while self._late and self._late[0][0] <= time.monotonic():
            _, id_, outcome = heapq.heappop(self._late)
            _end(listener, self._calls.pop(id_), outcome)
            if outcome.allocation is not None:
                self._count(outcome.allocation)

    def _count(self, allocation: Allocation) -> None:
        self._counts["allocations"] += 1
        if allocation.number:
            self._counts["refused"] += 1
        elif allocation.size_bytes is not None:
            self._counts["size_bytes"] += allocation.size_bytes
        if self._job.tell:
            self._tell(
                "alloc",
                time=allocation.began,
                tid=allocation.tid,
                heap=allocation.heap,
                size_bytes=allocation.size_bytes,
                errno=allocation.number,
                fd=allocation.fd,
                inode=allocation.inode,
            )

    def _reap(self) -> None:
        """Take note of those that ended: the command, and orphans of it."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG | _WALL)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid == self._pid and not os.WIFSTOPPED(status):
                self._pid = 0
                self._tell("ended", status=status, **self._counts)

    def _tell(self, kind: str, **fields: object) -> None:
        _send(self._front, {"kind": kind, **fields})


def _end(listener: Listener, call: Call, outcome: Outcome) -> None:
    if outcome.passes:
        listener.let_pass(call)
    else:
        listener.answer(call, outcome.number)


def _send(front: socket.socket, message: Mapping[str, object]) -> None:
    """Tell the front, which may be gone."""
    with contextlib.suppress(OSError):
        front.send(json.dumps(message).encode())


def _detach() -> None:
    """Leave the terminal and whatever reads the command's output: orphans may outlive it by long."""
    os.setsid()
    os.chdir("/")
    null = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    os.close(null)
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGQUIT):
        signal.signal(number, signal.SIG_DFL)
