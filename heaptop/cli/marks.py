"""Marks set from outside: by a signal, by hand, or by lines on a pipe, a FIFO or a socket, as a test can write them."""

import os
import selectors
import signal
import socket
import stat
import sys
from collections.abc import Callable
from types import FrameType
from typing import Final, NamedTuple, Self

from heaptop.errors import UsageError, errno_text
from heaptop.units import printable, text_of

VARIABLE: Final = "HEAPTOP_MARKS"
"""In the command's environment: the path of the FIFO or socket."""
LINE_BYTES_MAX: Final = 4096
LABEL_MAX: Final = 64
HOW: Final = "signal, stdin, fifo:PATH or socket:PATH"


class Asked(NamedTuple):
    """What was asked for: a mark with a label (may be empty), or the end. `answer` tells how it went."""

    label: str = ""
    is_end: bool = False
    answer: Callable[[str], None] = lambda _: None


class Marks:
    """Waits for marks from one place, and for SIGUSR1 always. A context manager: what it made is taken away again."""

    def __init__(self, how: str) -> None:
        """`how` is one of HOW.

        Raises:
            UsageError: it is none of these, or there is something else at PATH.
        """
        kind, _, self.path = how.partition(":")
        if kind not in {"signal", "stdin", "fifo", "socket"} or (kind in {"fifo", "socket"}) != bool(self.path):
            raise UsageError(f"--marks {printable(how)}", "", f"take one of: {HOW}")
        self._kind = kind
        self._selector = selectors.DefaultSelector()
        self._asked: list[Asked] = []
        self._open: list[int] = []
        self._texts: dict[int, bytes] = {}
        self._clients: dict[int, socket.socket] = {}
        self._listener: socket.socket | None = None
        self._made = False
        self._before: signal._HANDLER = None

    def __enter__(self) -> Self:
        wake, self._waker = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._open = [wake, self._waker]
        self._selector.register(wake, selectors.EVENT_READ, lambda: self._signalled(wake))
        self._before = signal.signal(signal.SIGUSR1, self._receive)
        try:
            getattr(self, f"_open_{self._kind}")()
        except OSError as error:
            self.__exit__()
            raise UsageError(f"--marks {self._kind}:{printable(self.path)}", errno_text(error.errno or 0)) from error
        return self

    def __exit__(self, *_: object) -> None:
        signal.signal(signal.SIGUSR1, self._before or signal.SIG_DFL)
        for client in self._clients.values():
            client.close()
        if self._listener is not None:
            self._listener.close()
        self._selector.close()
        for fd in self._open:
            os.close(fd)
        self._open.clear()
        if self._made:
            os.unlink(self.path)
            self._made = False

    def wait(self, seconds: float) -> Asked | None:
        """The next one; None where none came in this time."""
        if not self._asked:
            for key, _ in self._selector.select(max(0.0, seconds)):
                key.data()
        return self._asked.pop(0) if self._asked else None

    def watch(self, fd: int) -> None:
        """Let `wait` end when this can be read, too."""
        self._selector.register(fd, selectors.EVENT_READ, lambda: None)

    # ---- where they come from ----

    def _open_signal(self) -> None:
        return

    def _open_stdin(self) -> None:
        fd = sys.stdin.fileno() if sys.stdin is not None else os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        self._follow(fd, ends=True)

    def _open_fifo(self) -> None:
        try:
            os.mkfifo(self.path, 0o600)
            self._made = True
        except FileExistsError:
            if not stat.S_ISFIFO(os.stat(self.path).st_mode):
                raise
        # Opened for writing too, so that it does not end with the first writer.
        fd = os.open(self.path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        self._open.append(fd)
        self._follow(fd, ends=False)

    def _open_socket(self) -> None:
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        old = os.umask(0o177)
        try:
            self._listener.bind(self.path)
        finally:
            os.umask(old)
        self._made = True
        self._listener.listen()
        self._listener.settimeout(0)
        self._selector.register(self._listener, selectors.EVENT_READ, self._accept)

    def _follow(self, fd: int, *, ends: bool) -> None:
        self._texts[fd] = b""
        try:
            self._selector.register(fd, selectors.EVENT_READ, lambda: self._read(fd, ends=ends))
        except PermissionError:  # a file, or /dev/null: no epoll on these, and nothing will ever come
            self._read(fd, ends=ends)

    # ---- what comes ----

    def _receive(self, _number: int, _: FrameType | None) -> None:
        os.write(self._waker, b"!")

    def _signalled(self, wake: int) -> None:
        self._asked += [Asked()] * len(os.read(wake, LINE_BYTES_MAX))

    def _accept(self) -> None:
        assert self._listener is not None
        try:
            client, _ = self._listener.accept()
        except OSError:
            return
        client.settimeout(0)
        self._clients[client.fileno()] = client
        self._texts[client.fileno()] = b""
        self._selector.register(client, selectors.EVENT_READ, lambda: self._read_client(client))

    def _read_client(self, client: socket.socket) -> None:
        try:
            text = client.recv(LINE_BYTES_MAX)
        except OSError:
            text = b""
        if not text or not self._take(client.fileno(), text, lambda words: _send(client, words)):
            self._selector.unregister(client)
            del self._clients[client.fileno()], self._texts[client.fileno()]
            client.close()

    def _read(self, fd: int, *, ends: bool) -> None:
        try:
            text = os.read(fd, LINE_BYTES_MAX)
        except BlockingIOError:
            return
        if text:
            self._take(fd, text, lambda _: None)
            return
        if fd in self._selector.get_map():
            self._selector.unregister(fd)
        if ends:
            self._asked.append(Asked(is_end=True))

    def _take(self, fd: int, text: bytes, answer: Callable[[str], None]) -> bool:
        """Whole lines; False where one is too long to be one."""
        *lines, rest = (self._texts[fd] + text).split(b"\n")
        self._texts[fd] = rest
        for line in lines:
            word, _, label = text_of(line).strip().partition(" ")
            if word in {"mark", ""}:
                self._asked.append(Asked(label.strip()[:LABEL_MAX], answer=answer))
            elif word in {"end", "quit"}:
                self._asked.append(Asked(is_end=True, answer=answer))
            else:
                answer(f"error: no {printable(word)!r}: write mark [LABEL] or end")
        return len(rest) <= LINE_BYTES_MAX


def _send(client: socket.socket, words: str) -> None:
    """To whoever asked; one that does not read, or is gone, is not waited for."""
    try:
        client.send(words.encode("utf-8", "surrogateescape") + b"\n")
    except OSError:
        return
