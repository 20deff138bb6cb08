"""A process that does as it is told over a socket: `python actor.py FD`. One command a datagram, answered by one.

Buffers are memfds whose names begin as those of dma-bufs would. Its pid is in the answer to `hello`.
"""

import contextlib
import ctypes
import os
import signal
import socket
import sys
import threading
from mmap import MAP_PRIVATE, MAP_SHARED, PROT_READ
from random import Random

PREFIX = "dmabuf-"
CLONE_FILES = 0x400
SIGCHLD = 17
SYS_CLONE = {"x86_64": 56, "aarch64": 220}.get(os.uname().machine)
PAGE = os.sysconf("SC_PAGE_SIZE")

libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long)
libc.munmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t)


class Actor:
    def __init__(self, control: int) -> None:
        self.control = socket.socket(fileno=control)
        self.fds: list[int] = []
        self.maps: list[int] = []
        self.random = Random(0)

    def run(self) -> None:
        while message := socket.recv_fds(self.control, 256, 1):
            data, fds, *_ = message
            if not data:
                os._exit(0)
            verb, _, rest = data.decode().partition(" ")
            answer = None
            with contextlib.suppress(OSError):  # somebody with whom the table is shared closed it
                answer = getattr(self, f"do_{verb}")(rest, *fds)
            self.control.send((answer or "ok").encode())

    def do_hello(self, _rest: str) -> str:
        return str(os.getpid())

    def do_new(self, name: str) -> None:
        fd = os.memfd_create(PREFIX + name)
        os.ftruncate(fd, PAGE * self.random.randrange(1, 9))
        self.fds.append(fd)

    def do_take(self, _rest: str, fd: int) -> None:
        self.fds.append(fd)

    def do_give(self, rest: str, to: int) -> str:
        """Send a buffer to another actor, whose control socket's far end is `to`."""
        with socket.socket(fileno=to) as target:
            fd = self._pick(rest)
            if fd is None:
                return "ok"
            socket.send_fds(target, [b"take"], [fd])
        return "given"

    def do_dup(self, rest: str) -> None:
        fd = self._pick(rest)
        if fd is not None:
            self.fds.append(os.dup(fd))

    def do_dup_far(self, rest: str) -> None:
        fd = self._pick(rest)
        if fd is not None:
            far = os.dup2(fd, 700 + len(self.fds))
            self.fds.append(far)

    def do_inherit(self, rest: str) -> None:
        fd = self._pick(rest)
        if fd is not None:
            os.set_inheritable(fd, not os.get_inheritable(fd))

    def do_close(self, rest: str) -> None:
        fd = self._pick(rest)
        if fd is not None:
            self.fds = [each for each in self.fds if each != fd]
            os.close(fd)

    def do_map(self, rest: str) -> None:
        self._map(rest, MAP_SHARED)

    def do_map_private(self, rest: str) -> None:
        self._map(rest, MAP_PRIVATE)

    def _map(self, rest: str, flags: int) -> None:
        fd = self._pick(rest)
        if fd is not None:
            self.maps.append(libc.mmap(None, PAGE, PROT_READ, flags, fd, 0))

    def do_unmap(self, rest: str) -> None:
        if self.maps:
            libc.munmap(self.maps.pop(int(rest) % len(self.maps)), PAGE)

    def do_rename(self, rest: str) -> None:
        libc.prctl(15, f"churn-{rest}".encode(), 0, 0, 0)

    def do_fork(self, _rest: str, control: int) -> None:
        if os.fork() == 0:
            self.control.close()
            self._begin(control)
        os.close(control)

    def do_share(self, _rest: str, control: int) -> None:
        """A process that shares this one's fd table."""
        if SYS_CLONE is not None and libc.syscall(SYS_CLONE, CLONE_FILES | SIGCHLD, 0, 0, 0, 0) == 0:
            self.control.detach()  # still its parent's
            self.fds = []
            self._begin(control)

    def do_thread(self, rest: str) -> None:
        """A thread with a table of its own, in which one buffer more is."""

        def hold() -> None:
            libc.unshare(CLONE_FILES)
            os.memfd_create(f"{PREFIX}thread-{rest}")
            held.set()
            threading.Event().wait()

        held = threading.Event()
        threading.Thread(target=hold, daemon=True).start()
        held.wait()

    def do_exec(self, _rest: str) -> None:
        inheritable = True
        self.control.send(b"ok")
        os.set_inheritable(self.control.fileno(), inheritable)
        os.execv(sys.executable, [sys.executable, "-I", "-S", __file__, str(self.control.fileno())])

    def do_exit(self, _rest: str) -> None:
        os._exit(0)

    def _begin(self, control: int) -> None:
        self.control = socket.socket(fileno=control)
        self.run()

    def _pick(self, rest: str) -> int | None:
        return self.fds[int(rest) % len(self.fds)] if self.fds else None


if __name__ == "__main__":
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    Actor(int(sys.argv[1])).run()
