"""The supervisor's process: the command's parent, which answers its calls until nobody is left who could make one."""

import contextlib
import ctypes
import errno
import heapq
import json
import os
import select
import signal
import socket
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from typing import Final, NamedTuple, NoReturn

from heaptop.trace.supervise import launch
from heaptop.trace.supervise.allowance import Allowance
from heaptop.trace.supervise.base import Allocation, CallSites, Outcome, Responder
from heaptop.trace.supervise.launch import Plan
from heaptop.trace.supervise.libc import LIBC
from heaptop.trace.supervise.memory import process_of
from heaptop.trace.supervise.outbox import Outbox
from heaptop.trace.supervise.seccomp import Call, Listener
from heaptop.trace.supervise.signals import SignalReader
from heaptop.trace.supervise.stops import Stopped, Stops

_PR_SET_NAME, _PR_SET_CHILD_SUBREAPER = 15, 36
_WALL: Final = 0x40000000
_COMM: Final = b"heaptop-run"

Nodes = Mapping[tuple[int, int], str]
"""The names of the private /dev's heaps by device and inode."""


class Job(NamedTuple):
    """What a supervisor does: start this, answer by that, each ALLOC `latency_s` late, and tell of each where asked.

    `respond` makes the responder once there is a listener; `call_sites` what takes note of stacks. `fallback` is the
    plan where the command can have no /dev of its own.
    """

    plan: Plan
    respond: Callable[[Listener, Nodes], Responder]
    latency_s: float = 0.0
    tells_events: bool = False
    call_sites: Callable[[], CallSites] | None = None
    fallback: Plan | None = None


@dataclass(slots=True)
class Tally:
    """What was asked of one heap. `unknown` are those whose end could not be seen."""

    buffers: int = 0
    size_bytes: int = 0
    refused: int = 0
    unknown: int = 0

    def count(self, allocation: Allocation) -> None:
        """Add one."""
        if allocation.number is None:
            self.unknown += 1
        elif allocation.number:
            self.refused += 1
        else:
            self.buffers += 1
            self.size_bytes += allocation.size_bytes or 0


def serve(job: Job, front: socket.socket) -> NoReturn:
    """The whole life of this fork of the front. It never returns."""
    status = 1
    outbox = Outbox(front)
    try:
        Supervisor(job, front, outbox).run()
        status = 0
    except BaseException:  # noqa: BLE001  told to the front, which tells the user
        outbox.put({"kind": "crashed", "traceback": traceback.format_exc()})
    finally:
        os._exit(status)


class Supervisor:
    """Answers one command and all that it starts."""

    def __init__(self, job: Job, front: socket.socket, outbox: Outbox) -> None:
        self._job = job
        self._front = front
        self._outbox = outbox
        self._children = SignalReader([signal.SIGCHLD])
        LIBC.prctl(_PR_SET_NAME, ctypes.c_char_p(_COMM), 0, 0, 0)
        # Orphans of the command stay descendants, so that their memory may be read (Yama, scope 1).
        LIBC.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        self._pid = 0
        self._stops = Stops()
        self._sites = job.call_sites() if job.call_sites is not None else None
        self._late: list[tuple[float, int, Call, Outcome]] = []
        self._allowance = Allowance()
        self._tallies: dict[str, Tally] = {}

    def run(self) -> None:
        """Start the command and answer until the last task with the filter is gone."""
        self._link, raw, fds = self._start(self._job.plan)
        refused = None if fds or not raw else json.loads(raw)
        if refused is not None and refused.get("failed") == launch.PRIVATE_DEV and self._job.fallback is not None:
            self._link.close()
            os.waitpid(self._pid, 0)
            self._link, raw, fds = self._start(self._job.fallback)
        _detach()
        started = self._begin(raw, fds, refused)
        if started is None:
            self._reap(os.waitpid(self._pid, 0))
        else:
            self._link.send(b"!")
            self._loop(*started)
            started[1].close()
        if self._sites is not None:
            self._sites.close()

    def _start(self, plan: Plan) -> tuple[socket.socket, bytes, list[int]]:
        """Fork the command's process: the socket to it, its first message, and the listener that came with that."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._pid = os.fork()
        if self._pid == 0:
            ours.close()
            self._front.close()
            launch.become(plan, theirs)
        theirs.close()
        raw, fds, _, _ = socket.recv_fds(ours, launch.MESSAGE_BYTES_MAX, 1)
        for fd in fds:
            os.set_inheritable(fd, False)  # noqa: FBT003
        return ours, raw, fds

    def _begin(self, raw: bytes, fds: list[int], refused: object) -> tuple[Listener, Responder] | None:
        """The listener and its responder; None where the command's process said that it cannot be, or died."""
        if not fds:
            self._tell("failed", **(json.loads(raw) if raw else {"failed": "the command's process", "errno": 0}))
            return None
        listener = Listener(fds[0])
        responder = self._job.respond(listener, {tuple(node): name for name, node in json.loads(raw)["nodes"].items()})
        self._tell("started", pid=self._pid, refused=refused)
        self._await_front()
        return listener, responder

    def _await_front(self) -> None:
        """Until the front has said what it has to say, or is gone. What is left unread would end it by ECONNRESET."""
        select.select([self._front], [], [])
        with contextlib.suppress(OSError):
            self._front.recv(1)

    def _loop(self, listener: Listener, responder: Responder) -> None:
        poll = select.poll()
        poll.register(listener, select.POLLIN)
        poll.register(self._children, select.POLLIN)
        poll.register(self._link, select.POLLIN)
        calls, children = listener.fileno(), self._children.fileno()
        is_used = True
        while (due_s := responder.tend()) is not None or is_used or self._pid or self._outbox.wants_room:
            if self._outbox.wants_room:
                poll.register(self._front, select.POLLOUT)
            for fd, event in poll.poll(self._until_next_ms(due_s)):
                if fd == children:
                    self._children.read()
                    self._reap_all()
                elif fd != calls:
                    poll.unregister(fd)
                    self._outbox.flush()
                    self._hear_command()
                elif event & select.POLLIN:
                    call = listener.receive()
                    if call is not None:
                        self._respond(listener, responder, call)
                elif event & select.POLLHUP:
                    is_used = False
                    poll.unregister(fd)
            while self._late and self._late[0][0] <= time.monotonic():
                _, _, call, outcome = heapq.heappop(self._late)
                self._end(listener, responder, call, outcome)
            if self._sites is not None and self._sites.has_work and not poll.poll(0):
                self._sites.settle()

    def _hear_command(self) -> None:
        """What the command's process has said of exec: nothing where that went well, for the socket closes then."""
        if self._link.fileno() < 0 or not select.select([self._link], [], [], 0)[0]:
            return
        with self._link:
            raw = self._link.recv(launch.MESSAGE_BYTES_MAX)
        if raw:
            self._tell("failed", **json.loads(raw))

    def _until_next_ms(self, due_s: float | None) -> float | None:
        """How long to wait for events: until the responder or a delayed answer is due, and a little more."""
        waits = [] if due_s is None else [due_s]
        if self._late:
            waits.append(max(0.0, self._late[0][0] - time.monotonic()))
        return min(waits) * 1e3 + 0.5 if waits else None

    def _respond(self, listener: Listener, responder: Responder, call: Call) -> None:
        try:
            outcome = responder.handle(call)
        except Exception:  # noqa: BLE001  a bug must not leave the caller, or all others, without an answer
            self._tell("crashed", traceback=traceback.format_exc())
            outcome = Outcome(errno.ENOMEM)
        if outcome.allocation is not None and self._job.latency_s:
            heapq.heappush(self._late, (time.monotonic() + self._job.latency_s, call.id, call, outcome))
        else:
            self._end(listener, responder, call, outcome)

    def _end(self, listener: Listener, responder: Responder, call: Call, outcome: Outcome) -> None:
        """End a call. An ALLOC whose result is the kernel's, or whose stack is wanted, is looked at as it returns."""
        allocation = outcome.allocation
        is_told = False
        if allocation is not None and self._job.tells_events:
            _name(allocation)  # now: once it is answered, the caller may be gone
        sites = self._sites
        if allocation is None or outcome.number or (sites is not None and not self._allowance.take(time.monotonic())):
            sites = None
        if allocation is not None and (outcome.passes or sites is not None):
            is_told = self._stops.expect(call.tid, partial(self._returned, responder, call, allocation, sites))
            if not is_told and sites is not None:
                self._note(partial(sites.parked, call, allocation))
        if outcome.passes:
            listener.let_pass(call)
        else:
            listener.answer(call, outcome.number, outcome.value)
        if allocation is not None and not is_told:
            self._tell_of(allocation)

    def _returned(
        self,
        responder: Responder,
        call: Call,
        allocation: Allocation,
        sites: CallSites | None,
        stopped: Stopped | None,
    ) -> None:
        if stopped is not None:
            if not responder.returned(call, allocation, stopped):
                return
            if sites is not None and not allocation.number:
                self._note(partial(sites.stopped, stopped, allocation))
        self._tell_of(allocation)

    def _note(self, take: Callable[[], None]) -> None:
        """Take a stack. A bug there costs the stacks, and nothing else."""
        try:
            take()
        except Exception:  # noqa: BLE001
            self._tell("crashed", traceback=traceback.format_exc())
            sites, self._sites = self._sites, None
            if sites is not None:
                sites.close()

    def _tell_of(self, allocation: Allocation) -> None:
        tally = self._tallies.get(allocation.heap)
        if tally is None:
            tally = self._tallies[allocation.heap] = Tally()
        tally.count(allocation)
        if self._job.tells_events:
            self._outbox.put({"kind": "alloc", **asdict(allocation)}, is_event=True)

    def _reap_all(self) -> None:
        """Take note of who ended or stopped: the command, orphans of it, threads at the end of their call."""
        while True:
            try:
                found = os.waitpid(-1, os.WNOHANG | _WALL)
            except ChildProcessError:
                return
            if not found[0]:
                return
            self._reap(found)

    def _reap(self, found: tuple[int, int]) -> None:
        pid, status = found
        self._stops.heard(pid, status)
        if pid == self._pid and not os.WIFSTOPPED(status):
            self._pid = 0
            self._hear_command()
            tallies = {heap: asdict(tally) for heap, tally in self._tallies.items()}
            self._tell("ended", status=status, lost=self._outbox.lost, heaps=tallies, stackless=self._allowance.refused)

    def _tell(self, kind: str, **fields: object) -> None:
        self._outbox.put({"kind": kind, **fields})


def _name(allocation: Allocation) -> None:
    """Note whose it is, as far as that can be read."""
    with contextlib.suppress(OSError):
        allocation.pid = process_of(allocation.tid)
        with open(f"/proc/{allocation.tid}/comm", "rb") as file:
            allocation.comm = file.read().removesuffix(b"\n").decode("utf-8", "surrogateescape")


def _detach() -> None:
    """Leave the terminal and whatever reads the command's output: orphans may outlive it by long."""
    os.setsid()
    os.chdir("/")
    null = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    os.close(null)
    for fd in map(int, os.listdir("/proc/self/fd")):
        with contextlib.suppress(OSError):  # the listing's own
            if fd > 2 and os.get_inheritable(fd):  # passed by who started heaptop; its own are not
                os.close(fd)
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGQUIT):
        signal.signal(number, signal.SIG_DFL)
