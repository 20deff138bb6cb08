"""How an emulator is reached: one that was started here and ends with heaptop, or the one that all of a user's
programs share.
"""

import contextlib
import signal
import socket
import sys
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

from heaptop.errors import SourceError, UsageError
from heaptop.units import printable, text_of
from heaptop_emulator import linux, shared
from heaptop_emulator.errors import EmulatorError, NotRunningError
from heaptop_emulator.shared import Setup
from heaptop_emulator.wire import Client, ProtocolError

if TYPE_CHECKING:
    import subprocess

_START_TIMEOUT_S: Final = 20.0
_ANSWER_TIMEOUT_S: Final = 10.0
_END_TIMEOUT_S: Final = 5.0
_WAKE_AFTER_S: Final = 0.2
_REMEDY: Final = "start heaptop again"
_T = TypeVar("_T")


def scenario_names() -> tuple[str, ...]:
    """All scenarios."""
    from heaptop_emulator.scenarios import SCENARIOS  # noqa: PLC0415  (who joins an emulator needs none)

    return tuple(SCENARIOS)


class Emulator(Protocol):
    """An emulator that answers. May be asked from any thread."""

    @property
    def source(self) -> str:
        """As `-b` takes it."""

    @property
    def pid(self) -> int:
        """Its own process, which holds no buffer."""

    def ask(self, question: Callable[[Client], _T]) -> _T:
        """An answer, one question at a time; an OSError other than of the connection is the answer of a heap.

        Raises:
            SourceError: the emulator is gone, or does not answer.
        """

    def close(self) -> None:
        """Part with it, and wake who waits for an answer. May be called twice."""


class OwnEmulator:
    """One that is started here, and ends with this object or with this process."""

    def __init__(self, scenario: str, seed: int = 1, layout: str = "") -> None:
        """Start it and wait until the scenario's processes hold their buffers. `layout` is the machine's, as TOML.

        Raises:
            UsageError: no such scenario.
            SourceError: the emulator did not start.
        """
        names = scenario_names()
        if scenario not in names:
            raise UsageError(f"no scenario {printable(scenario)!r}", "", f"one of: {', '.join(names)}")
        self.source = f"emulator:{scenario}"
        self._lock = threading.RLock()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._client = Client(ours)
        with theirs:
            try:
                self._process = _start(scenario, seed, layout, theirs.fileno())
            except OSError as error:
                ours.close()
                raise SourceError("the emulator cannot be started", str(error), "see `ulimit -u`") from error
        self.pid = self._process.pid
        ours.settimeout(_START_TIMEOUT_S)
        self.ask(Client.wait)
        ours.settimeout(_ANSWER_TIMEOUT_S)

    def ask(self, question: Callable[[Client], _T]) -> _T:
        """An answer. After a failure there is no telling what comes next, so it is the end."""
        with self._lock:
            if self._client.socket.fileno() < 0:
                raise SourceError("the emulator has ended", "", _REMEDY)
            try:
                return question(self._client)
            except (ConnectionError, TimeoutError, ProtocolError) as error:
                raise SourceError("the emulator has ended", self._reason(error), _REMEDY) from error
            except OSError:
                raise  # a refusal: that was the answer
            except BaseException:
                self._end()
                raise

    def close(self) -> None:
        """End it and its processes."""
        _wake(self._client)
        with self._lock:
            self._end()

    def _reason(self, error: Exception) -> str:
        """Why it ended: its last words, the signal that ended it, or what was seen from here."""
        hangs = isinstance(error, TimeoutError)
        if hangs:
            self._process.kill()
        words = self._end()
        code = self._process.returncode
        if words:
            return printable(text_of(words.splitlines()[-1]))
        if hangs:
            return "it did not answer"
        return f"ended by {signal.Signals(-code).name}" if code < 0 else str(error)

    def _end(self) -> bytes:
        """Let go of the emulator and wait until it is gone. What it wrote to stderr, which is empty as a rule."""
        self._client.close()
        if self._process.returncode is not None:
            return b""
        from subprocess import TimeoutExpired  # noqa: PLC0415  (who joins an emulator needs none)

        try:
            _, words = self._process.communicate(timeout=_END_TIMEOUT_S)
        except TimeoutExpired:
            self._process.kill()
            _, words = self._process.communicate()
        return words


class SharedEmulator:
    """The one of this user. After it was started anew it is reached again: it knows the buffers that live."""

    source = "emulator"

    def __init__(self, scenario: str) -> None:
        """Join it; where none runs, start one with this scenario that ends with the last of its clients.

        Raises:
            SourceError: it cannot be reached or started.
        """
        self._lock = threading.RLock()
        self._closed = False
        self._client: Client | None = None
        try:
            self._client, self.was_started = shared.connect_or_start(Setup(scenario))
            self._known = self._client.about()
        except EmulatorError as error:
            raise SourceError(error.what, error.why, error.remedy) from error
        except (OSError, ProtocolError) as error:
            raise SourceError("the shared emulator", str(error), "start heaptop again") from error
        self.pid, _ = linux.peer_credentials(self._client.socket)

    def ask(self, question: Callable[[Client], _T]) -> _T:
        """An answer; where the connection is lost, by a new one."""
        with self._lock:
            if self._client is not None:
                with contextlib.suppress(ConnectionError):
                    return self._asked(self._client, question)
            try:
                return self._asked(self._connected(), question)
            except ConnectionError as error:
                raise SourceError("the shared emulator has ended", str(error), "heaptop emulator start") from error

    def close(self) -> None:
        """Part with it. Where it was there for this alone it has ended then."""
        self._closed = True
        if not self._lock.acquire(timeout=_WAKE_AFTER_S):
            client = self._client
            if client is not None:
                _wake(client)
            self._lock.acquire()
        try:
            if self._client is not None:
                with contextlib.suppress(OSError, ProtocolError):
                    self._client.socket.settimeout(_END_TIMEOUT_S)
                    self._client.leave()
            self._part()
        finally:
            self._lock.release()

    def _connected(self) -> Client:
        if self._closed:
            raise SourceError("the shared emulator", "heaptop has parted with it", _REMEDY)
        try:
            self._client = shared.connect_again(self._known)
        except NotRunningError as error:
            raise SourceError("the shared emulator has ended", "", "heaptop emulator start") from error
        except EmulatorError as error:
            raise SourceError(error.what, error.why, error.remedy) from error
        self.pid, _ = linux.peer_credentials(self._client.socket)
        return self._client

    def _asked(self, client: Client, question: Callable[[Client], _T]) -> _T:
        """An answer. After anything but an answer or a refusal this connection is of no more use."""
        try:
            return question(client)
        except (TimeoutError, ProtocolError) as error:
            self._part()
            why = "it does not answer" if isinstance(error, TimeoutError) else str(error)
            raise SourceError("the shared emulator", why, "heaptop emulator stop, and start it again") from error
        except ConnectionError:
            self._part()
            raise
        except OSError:
            raise  # a refusal: that was the answer
        except BaseException:
            self._part()
            raise

    def _part(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None


def _wake(client: Client) -> None:
    """End the wait of another thread for an answer, so that the lock comes free."""
    if client.socket.fileno() >= 0:
        with contextlib.suppress(OSError):
            client.socket.shutdown(socket.SHUT_RDWR)


def _start(scenario: str, seed: int, layout: str, control: int) -> "subprocess.Popen[bytes]":
    """The emulator's process, in a session of its own: a Ctrl-C meant for heaptop must not end it first."""
    import subprocess  # noqa: PLC0415  (who joins an emulator needs none)

    given = ["--layout", layout] if layout else []
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "heaptop_emulator", "--seed", str(seed), *given, scenario, str(control)],
        pass_fds=[control],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
