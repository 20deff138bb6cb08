"""The shared emulator of this user, from outside: reach it, start it, end it.

    with shared.connect() as client: ...         NotRunningError where none runs
    with shared.connect_or_start() as client: ...

A client whose emulator ended gets ConnectionError and may connect again: after a restart its buffers are known again.
"""

import errno
import json
import os
import select
import signal
import socket
import struct
import sys
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Final

from heaptop_emulator import linux
from heaptop_emulator.errors import EmulatorError, NotRunningError
from heaptop_emulator.folder import RuntimeFolder
from heaptop_emulator.wire import About, Client, ProtocolError

ANSWER_TIMEOUT_S: Final = 10.0
START_TIMEOUT_S: Final = 20.0
_STOP_TIMEOUT_S: Final = 5.0
_RETRY_S: Final = 0.02
_RESTART_TIMEOUT_S: Final = 2.0
_RESTART: Final = "heaptop emulator stop, and start it again"


@dataclass(frozen=True, slots=True)
class Setup:
    """What kind of emulator is wanted. `layout` is its machine's, as TOML; the shared emulator's own where empty."""

    scenario: str = "idle"
    seed: int = 1
    layout: str = ""

    def to_json(self) -> str:
        """For the command line of the emulator's process, and its journal."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, raw: str) -> "Setup":
        """What `to_json` wrote."""
        return cls(**json.loads(raw))


def connect(path: str | None = None, *, timeout_s: float = ANSWER_TIMEOUT_S) -> Client:
    """A client of the shared emulator whose runtime folder is `path` (default: the user's).

    Raises:
        NotRunningError: none runs.
        EmulatorError: it belongs to somebody else, does not answer, or speaks another protocol.
    """
    client = _connect(path, timeout_s)
    try:
        client.about()
    except ConnectionError as error:
        client.close()
        raise NotRunningError from error
    except TimeoutError as error:
        client.close()
        raise EmulatorError("the shared emulator", "it does not answer", _RESTART) from error
    except (ProtocolError, OSError) as error:
        client.close()
        raise EmulatorError("the shared emulator", str(error), _RESTART) from error
    return client


def _connect(path: str | None, timeout_s: float) -> Client:
    """Without asking anything yet."""
    folder = RuntimeFolder.open(path)
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    # Not settimeout: then a queue of connections that is full would be a failure at once (unix_stream_connect).
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", int(timeout_s), 0))
    try:
        connection.connect(folder.entry("emulator"))
        _, uid = linux.peer_credentials(connection)
    except OSError as error:
        connection.close()
        if error.errno in (errno.ENOENT, errno.ECONNREFUSED):
            raise NotRunningError from error
        why = "it does not answer" if error.errno == errno.EAGAIN else error.strerror or ""
        raise EmulatorError(f"{folder.path}/emulator", why, _RESTART) from error
    finally:
        folder.close()
    if uid != os.geteuid():
        connection.close()
        raise EmulatorError(f"{folder.path}/emulator", f"belongs to uid {uid}", "remove it")
    connection.settimeout(timeout_s)
    return Client(connection)


def connect_or_start(
    setup: Setup | None = None, path: str | None = None, *, lasting: bool = False
) -> tuple[Client, bool]:
    """A client of the shared emulator, which is started where none runs, and whether it was.

    One that is `lasting` goes on until `stop`; any other ends when it has no client and no buffer of one any more.

    Raises:
        EmulatorError: it cannot be reached or started.
    """
    deadline = time.monotonic() + START_TIMEOUT_S
    was_started = False
    while True:
        with suppress(NotRunningError):
            client = connect(path)
            if lasting:
                client.keep()
            return client, was_started
        if time.monotonic() > deadline:
            raise EmulatorError("the shared emulator", "it is starting for too long", _RESTART)
        was_started = _launch(setup or Setup(), path, lasting=lasting)
        if not was_started:
            time.sleep(_RETRY_S)


def connect_again(known: About, path: str | None = None) -> Client:
    """A client of the shared emulator after the connection was lost: it is started as it was `known` if it was killed
    and buffers may live, and if it was ended, another one is waited for, but not long.

    Raises:
        NotRunningError: none runs, and none is about to.
        EmulatorError: it cannot be reached or started.
    """
    deadline = time.monotonic() + _RESTART_TIMEOUT_S
    while True:
        try:
            return connect(path)
        except NotRunningError:
            if _left_behind(path):
                setup = Setup(known.scenario, known.seed, known.layout)
                return connect_or_start(setup, path, lasting=known.is_lasting)[0]
            if time.monotonic() > deadline:
                raise
        time.sleep(_RETRY_S)


def _left_behind(path: str | None) -> bool:
    """Whether an emulator was killed here, and has buffers to be found again."""
    with suppress(NotRunningError):
        folder = RuntimeFolder.open(path)
        try:
            return os.path.exists(folder.entry("journal"))
        finally:
            folder.close()
    return False


def _launch(setup: Setup, path: str | None, *, lasting: bool) -> bool:
    """Start the emulator's process and wait until it is ready; False where another one is about to be.

    Raises:
        EmulatorError: it did not start.
    """
    import subprocess  # noqa: PLC0415  (who joins a running one needs none)

    folder = RuntimeFolder.make(path)
    folder.close()
    report, report_end = os.pipe()
    command = [sys.executable, "-P", "-m", "heaptop_emulator.daemon", folder.path, setup.to_json(), str(report_end)]
    command += ["--lasting"] if lasting else []
    try:
        with subprocess.Popen(
            command,
            pass_fds=[report_end],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            cwd="/",
        ) as process:
            os.close(report_end)
            report_end = -1
            said = _read_report(report)
            if not said:
                _, words = process.communicate()
                said = {"why": _last_line(words)}
    except OSError as error:
        raise EmulatorError("the emulator cannot be started", str(error), "see `ulimit -u`") from error
    finally:
        os.close(report)
        if report_end >= 0:
            os.close(report_end)
    if "why" in said:
        what = said.get("what", "the emulator did not start")
        raise EmulatorError(what, said["why"], said.get("remedy", f"see {folder.path}/log"))
    return said.get("state") == "ready"


def _read_report(report: int) -> dict[str, str]:
    """What the emulator's process says of its start: one line of JSON. Empty where it ended without a word."""
    raw = b""
    deadline = time.monotonic() + START_TIMEOUT_S
    while not raw.endswith(b"\n"):
        readable, _, _ = select.select([report], [], [], max(0.0, deadline - time.monotonic()))
        if not readable:
            return {"why": f"it was not ready within {START_TIMEOUT_S:g} s"}
        part = os.read(report, 4096)
        if not part:
            return {}
        raw += part
    said: dict[str, str] = json.loads(raw)
    return said


def _last_line(words: bytes) -> str:
    lines = words.decode(errors="replace").splitlines()
    return lines[-1] if lines else "it ended at once"


def stop(path: str | None = None) -> bool:
    """End the shared emulator and its processes; buffers stay with their holders. False where none ran.

    One that does not answer is killed. What one that was killed left for a restart is forgotten.

    Raises:
        EmulatorError: it belongs to somebody else.
    """
    try:
        client = _connect(path, _STOP_TIMEOUT_S)
    except NotRunningError:
        _forget(path)
        return False
    with client:
        pid, _ = linux.peer_credentials(client.socket)
        pidfd = os.pidfd_open(pid)
        try:
            with suppress(OSError, ProtocolError):
                client.stop()
            readable, _, _ = select.select([pidfd], [], [], _STOP_TIMEOUT_S)
            if not readable:
                signal.pidfd_send_signal(pidfd, signal.SIGKILL)
                select.select([pidfd], [], [], _STOP_TIMEOUT_S)
                _forget(path)
        finally:
            os.close(pidfd)
    return True


def _forget(path: str | None) -> None:
    """End the keeper of an emulator that was killed, and remove what it kept for a restart."""
    from heaptop_emulator import keeper  # noqa: PLC0415  (who joins a running one needs none)

    try:
        folder = RuntimeFolder.open(path)
    except NotRunningError:
        return
    try:
        lock = folder.lock()
        if lock is not None:
            watches = keeper.take_over(folder)
            if watches is not None:
                watches.close()
            folder.remove(*keeper.LEFT_BEHIND)
            os.close(lock)
    finally:
        folder.close()
