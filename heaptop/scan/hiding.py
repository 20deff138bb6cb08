"""Where references can hide from the fd tables: sockets with descriptors in flight, and rings with registered files.

It reads every link of every process and the fdinfo of all sockets: done only where something is hidden, and seldom.
"""

import os
import time
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from heaptop.capture import Raw
from heaptop.scan.files import read_file

_SOCKET: Final = b"socket:["
_RING: Final = b"anon_inode:[io_uring]"
_NOTHING_IN_FLIGHT: Final = (b"scm_fds: 0\n", b"scm_fds:\t0\n")
FOLDER: Final = "heaptop/hiding"
"""Where these files stand in a capture: below it by pid, as below /proc."""
REST: Final = 50
"""It rests for so many times as long as it took."""
REST_IN_BETWEEN: Final = 5
"""The same where it has not yet come to all processes."""
SPAN_S_MAX: Final = 0.5
"""Then it ends, however many processes there are; the next time it goes on where it ended."""

Files = Mapping[str, Raw]


class HidingScan:
    """Looks at one proc file system, at its own pace."""

    def __init__(
        self, root: str = "/proc", needle: bytes = b"dmabuf", timer: Callable[[], float] = time.monotonic
    ) -> None:
        """`needle` stands in a ring's fdinfo where a buffer is registered with it."""
        self._root = root
        self._needle = needle
        self._timer = timer
        self._due = 0.0
        self._found: dict[int, dict[str, Raw]] = {}
        self._next = 0
        self.wanted = False

    def files(self) -> Files:
        """The fdinfo of what may hide something, by path as in a `Capture`, with comm and stat of each process. Nothing
        where nothing is wanted; what was found last, while it rests.
        """
        if not self.wanted:
            self._found.clear()
            return MappingProxyType({})
        began = self._timer()
        if began >= self._due:
            self._look(began)
            rest = REST_IN_BETWEEN if self._next else REST
            self._due = self._timer() + rest * (self._timer() - began)
        return MappingProxyType({path: raw for files in self._found.values() for path, raw in files.items()})

    def _look(self, began: float) -> None:
        try:
            pids = sorted(int(name) for name in os.listdir(self._root) if name.isdecimal())
        except OSError:
            return
        for pid in self._found.keys() - set(pids):
            del self._found[pid]
        start = next((index for index, pid in enumerate(pids) if pid >= self._next), 0)
        for pid in (*pids[start:], *pids[:start]):
            self._found.pop(pid, None)
            if files := self._process(pid):
                self._found[pid] = files
            if self._timer() - began > SPAN_S_MAX:
                self._next = pid + 1
                return
        self._next = 0

    def _process(self, pid: int) -> dict[str, Raw]:
        files: dict[str, Raw] = {}
        folder = f"{self._root}/{pid}"
        try:
            names = os.listdir(f"{folder}/fd")
        except OSError:
            return files
        for name in names:
            try:
                target = os.readlink(os.fsencode(f"{folder}/fd/{name}"))
            except OSError:
                continue
            if target.startswith(_SOCKET) or target == _RING:
                raw = read_file(f"{folder}/fdinfo/{name}")
                if isinstance(raw, bytes) and self._is_wanted(target, raw):
                    files[f"{FOLDER}/{pid}/fdinfo/{name}"] = raw
        if files:
            for name in ("comm", "stat"):
                if (text := read_file(f"{folder}/{name}")) is not None:
                    files[f"{FOLDER}/{pid}/{name}"] = text
        return files

    def _is_wanted(self, target: bytes, raw: bytes) -> bool:
        if target == _RING:
            return self._needle in raw
        return b"scm_fds:" in raw and not any(text in raw for text in _NOTHING_IN_FLIGHT)
