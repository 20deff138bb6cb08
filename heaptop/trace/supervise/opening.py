"""Heaps for a command that can have no /dev of its own: opening their nodes is answered, too.

Where neither root nor a user namespace may mount (Ubuntu's AppArmor rule, some containers), every open in the command
stops, and those of /dev/dma_heap and what is in it get files of a folder that heaptop made. What this cannot do:
stat(2) and access(2) find no node, nor do paths that lead there by another way. Every other open takes some 20 us
longer.
"""

import errno
import os
import shutil
from collections.abc import Sequence
from typing import Final

from heaptop.trace.supervise import memory
from heaptop.trace.supervise.base import Allocation, Outcome, Responder
from heaptop.trace.supervise.libc import Machine
from heaptop.trace.supervise.seccomp import Call, Listener
from heaptop.trace.supervise.stops import Stopped

HEAPS: Final = b"/dev/dma_heap"
_OPENAT2: Final = 437
_PATH_BYTES_MAX: Final = 128
_KEPT_FLAGS: Final = os.O_ACCMODE | os.O_CLOEXEC | os.O_DIRECTORY | os.O_NONBLOCK | os.O_PATH
_FOLDER_PREFIX: Final = "nodes."
_PASS: Final = Outcome(passes=True)


class NodeFolder:
    """A folder with a file for each heap, in the folder `parent`, which is the user's alone."""

    def __init__(self, parent: str, heaps: Sequence[str]) -> None:
        """Make it. What others left that were killed is taken away."""
        os.makedirs(parent, 0o700, exist_ok=True)
        for name in os.listdir(parent):
            pid = name.removeprefix(_FOLDER_PREFIX)
            if pid != name and pid.isdecimal() and not os.path.exists(f"/proc/{pid}"):
                shutil.rmtree(f"{parent}/{name}", ignore_errors=True)
        self.path = f"{parent}/{_FOLDER_PREFIX}{os.getpid()}"
        os.mkdir(self.path, 0o755)
        self.identities: dict[tuple[int, int], str] = {}
        for heap in heaps:
            fd = os.open(f"{self.path}/{heap}", os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o666)
            node = os.fstat(fd)
            self.identities[node.st_dev, node.st_ino] = heap
            os.close(fd)

    def close(self) -> None:
        """Take it away. May be called twice."""
        shutil.rmtree(self.path, ignore_errors=True)


class Opening:
    """Answers opens of the heaps' nodes, and leaves the rest to another responder."""

    def __init__(self, listener: Listener, machine: Machine, folder: NodeFolder, inner: Responder) -> None:
        self._listener = listener
        self._path_at = {number: int(number not in (2, 5)) for number in (*machine.native_opens, *machine.compat_opens)}
        self._ioctls = frozenset({machine.native[1], machine.compat[1]})
        self._folder = folder
        self._inner = inner

    def handle(self, call: Call) -> Outcome:
        """As Responder."""
        return self._inner.handle(call) if call.number in self._ioctls else self._open(call)

    def tend(self) -> float | None:
        """As Responder."""
        return self._inner.tend()

    def returned(self, call: Call, allocation: Allocation, stopped: Stopped) -> bool:
        """As Responder."""
        return self._inner.returned(call, allocation, stopped)

    def close(self) -> None:
        """Take the folder away."""
        self._folder.close()

    def _open(self, call: Call) -> Outcome:
        at = self._path_at.get(call.number)
        try:
            if at is None or not (path := memory.read_string(call.tid, call.others[at], _PATH_BYTES_MAX)).startswith(
                HEAPS
            ):
                return _PASS
            name = os.path.normpath(path)[len(HEAPS) :]
            if name and not name.startswith(b"/"):
                return _PASS
            flags = call.others[at + 1]
            if call.number == _OPENAT2:
                flags = int.from_bytes(memory.read(call.tid, flags, 8), "little")
            return self._give(call, name.lstrip(b"/"), flags & 0xFFFFFFFF)
        except OSError as error:
            return _PASS if error.errno == errno.EFAULT else Outcome(error.errno or errno.EIO)

    def _give(self, call: Call, name: bytes, flags: int) -> Outcome:
        fd = os.open(os.fsencode(self._folder.path) + b"/" + name, flags & _KEPT_FLAGS | os.O_CLOEXEC)
        try:
            number = self._listener.add_fd(call, fd, flags & os.O_CLOEXEC)
        finally:
            os.close(fd)
        return Outcome(errno.EINTR) if number is None else Outcome(value=number)
