"""The process that the user started: it says what is to be said, passes signals on, and ends as the command does."""

import contextlib
import json
import os
import resource
import select
import signal
import socket
from collections.abc import Callable
from typing import Any, Final

from heaptop.errors import HeaptopError, SourceError
from heaptop.trace.supervise import supervisor
from heaptop.trace.supervise.libc import LIBC
from heaptop.trace.supervise.refusal import CommandError, refused
from heaptop.trace.supervise.signals import SignalReader
from heaptop.trace.supervise.supervisor import Job

MESSAGE_BYTES_MAX: Final = 1 << 16
PASSED_ON: Final = (
    *(signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGHUP),
    *(signal.SIGUSR1, signal.SIGUSR2, signal.SIGALRM, signal.SIGWINCH, signal.SIGCONT),
)
"""Where a process sends one of these to this one, the command gets it. What the terminal sends, it has got itself."""
_PR_SET_CHILD_SUBREAPER: Final = 36

Event = dict[str, Any]
Tell = Callable[[Event], None]
"""Is given each message of the supervisor: `started`, `alloc`, `note`, `ended`."""


class Front:
    """Starts a supervisor and stands for the command until it ends."""

    def __init__(self, job: Job, narrate: Callable[[str], None], tell: Tell) -> None:
        self._job = job
        self._narrate = narrate
        self._tell = tell
        self._pid: int | None = None
        self._failure: Event | None = None
        self._status: int | None = None

    def run(self) -> int:
        """The command's exit status, as a shell has it. A command that a signal ended ends this process alike.

        Raises:
            SourceError: it cannot be supervised here: why, and what to do.
        """
        # Should the supervisor die, the command becomes this process's child.
        LIBC.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        signals = SignalReader([*PASSED_ON, signal.SIGCHLD])
        blocked = signals.blocked_before
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        child = os.fork()
        if child == 0:
            ours.close()
            signals.close()
            supervisor.serve(_with_signals(self._job, blocked), theirs)
        theirs.close()
        try:
            self._listen(ours, signals)
            if self._status is None and self._failure is None:
                self._go_on_alone(child, signals)
        finally:
            ours.close()
            signals.close()
            signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        return self._end()

    def _listen(self, supervisor_: socket.socket, signals: SignalReader) -> None:
        """Until the supervisor has told of the end, or is gone."""
        poll = select.poll()
        poll.register(supervisor_, select.POLLIN)
        poll.register(signals, select.POLLIN)
        while self._status is None:
            for fd, _ in poll.poll():
                if fd == signals.fileno():
                    self._pass_on(signals)
                elif not self._hear(supervisor_):
                    return

    def _hear(self, supervisor_: socket.socket) -> bool:
        """One message; whether there was one."""
        try:
            raw = supervisor_.recv(MESSAGE_BYTES_MAX)
        except ConnectionError:
            raw = b""
        if not raw:
            return False
        event: Event = json.loads(raw)
        match event["kind"]:
            case "failed":
                self._failure = event
            case "crashed":
                self._narrate(event["traceback"].rstrip())
            case "ended":
                self._status = event["status"]
        if event["kind"] == "started":
            self._pid = event["pid"]
        if self._failure is None:
            self._tell(event)
        if event["kind"] == "started":
            supervisor_.send(b"!")
        return True

    def _pass_on(self, signals: SignalReader) -> None:
        for received in signals.read():
            if received.number in PASSED_ON and received.is_sent and self._pid is not None:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(self._pid, received.number)

    def _go_on_alone(self, child: int, signals: SignalReader) -> None:
        """The supervisor has died: say so, and wait for the command, whose heap calls fail from now on."""
        _, status = os.waitpid(child, 0)
        how = f"killed by {_signal_name(os.WTERMSIG(status))}" if os.WIFSIGNALED(status) else "it failed: see above"
        if self._pid is None:
            raise SourceError("the supervisor has ended before the command began", how, "try again")
        self._narrate(
            f"heaptop: the supervisor has ended ({how}): the command goes on, but its heap calls fail with ENOSYS from "
            "now on; run it again"
        )
        poll = select.poll()
        poll.register(signals, select.POLLIN)
        while self._status is None:
            try:
                found, status = os.waitpid(self._pid, os.WNOHANG)
            except ChildProcessError:  # it had ended before, and nobody is left who knows how
                found, status = self._pid, 1 << 8
            if found:
                self._status = status
            else:
                poll.poll()
                self._pass_on(signals)

    def _end(self) -> int:
        if self._failure is not None:
            raise _failure_of(self._failure, self._job.plan.command[0])
        status = self._status or 0
        if os.WIFSIGNALED(status):
            return die_alike(os.WTERMSIG(status))
        return os.WEXITSTATUS(status)


def reserve_standard_fds() -> None:
    """Let nothing of heaptop's own be 0, 1 or 2 where they are closed: the supervisor puts /dev/null there later.

    They are closed on exec: the command finds them as they were.
    """
    while (fd := os.open(os.devnull, os.O_RDWR)) <= 2:
        continue
    os.close(fd)


def _with_signals(job: Job, blocked: frozenset[int]) -> Job:
    """The command begins with the signals blocked that were before."""
    fallback = None if job.fallback is None else job.fallback._replace(signals=blocked)
    return job._replace(plan=job.plan._replace(signals=blocked), fallback=fallback)


def _failure_of(event: Event, command: str) -> HeaptopError:
    if "exec" in event:
        return CommandError(command, event["exec"])
    return refused(event["failed"], event["errno"], event.get("call"))


def die_alike(number: int) -> int:
    """End this process by the same signal; where it does not die of it, the status that a shell has for that."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with contextlib.suppress(OSError, ValueError):  # SIGKILL can have no handler, and needs none
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {number})
    os.kill(os.getpid(), number)
    return 128 + number


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
