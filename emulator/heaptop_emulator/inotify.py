"""The exact moment when the last reference to a file without a name is gone, from inotify's IN_DELETE_SELF.

The event comes when the inode is evicted: no fd, mapping or fd in flight is left (seen on 6.12, 6.18 and 7.2). The
watch itself keeps nothing alive. IN_CLOSE will not do: it comes for each open file of the inode.
"""

import ctypes
import os
import re
import struct
from collections.abc import Iterator

_READ_BYTES = 1 << 16
_IN_NONBLOCK = os.O_NONBLOCK
_IN_CLOEXEC = os.O_CLOEXEC
_IN_DELETE_SELF = 0x400
_IN_Q_OVERFLOW = 0x4000
_EVENT = struct.Struct("iIII")
_WATCH = re.compile(rb"^inotify wd:([0-9a-f]+) ino:([0-9a-f]+) ", re.MULTILINE)
_libc = ctypes.CDLL(None, use_errno=True)


class ReleaseWatcher:
    """Watches open files, each by a number that is never used again. `fileno()` is readable when some are gone."""

    def __init__(self, fd: int | None = None) -> None:
        """With new watches, or those of the inotify instance `fd`, of which it knows none until `adopt`."""
        self._fd: int = _libc.inotify_init1(_IN_NONBLOCK | _IN_CLOEXEC) if fd is None else fd
        if self._fd < 0:
            raise _last_error("inotify_init1")
        self._watched: set[int] = set()

    def fileno(self) -> int:
        """For select."""
        return self._fd

    def watch(self, fd: int) -> int:
        """Watch the file behind fd. Its number; OSError (ENOSPC) where the user has too many watches."""
        return self.watch_path(b"/proc/self/fd/%d" % fd)

    def watch_path(self, path: bytes) -> int:
        """Watch the file behind a link of /proc."""
        number: int = _libc.inotify_add_watch(self._fd, path, _IN_DELETE_SELF)
        if number < 0:
            raise _last_error("inotify_add_watch")
        self._watched.add(number)
        return number

    def released(self) -> Iterator[int]:
        """Numbers of the files that are gone since the last call. Never waits."""
        count_bytes = _READ_BYTES
        while count_bytes > _READ_BYTES // 2:  # less than that was all: an event is far smaller
            try:
                events = os.read(self._fd, _READ_BYTES)
            except BlockingIOError:
                return
            count_bytes = len(events)
            offset = 0
            while offset < len(events):
                number, mask, _cookie, name_bytes = _EVENT.unpack_from(events, offset)
                offset += _EVENT.size + name_bytes
                if mask & _IN_Q_OVERFLOW:
                    yield from self._lost()
                elif mask & _IN_DELETE_SELF and number in self._watched:
                    self._watched.discard(number)
                    yield number

    def adopt(self, number: int) -> None:
        """Tell of the release of a file that was watched before this object was made."""
        self._watched.add(number)

    def alive(self) -> dict[int, int]:
        """Inodes of all watched files by their number, adopted or not (fs/notify/fdinfo.c; both are hex)."""
        with open(f"/proc/self/fdinfo/{self._fd}", "rb") as fdinfo:
            return {int(number, 16): int(inode, 16) for number, inode in _WATCH.findall(fdinfo.read())}

    def drain(self) -> None:
        """Pass over all that has been told so far."""
        for _ in self.released():
            continue

    def _lost(self) -> Iterator[int]:
        """After a queue overflow: those whose watch the kernel no longer has."""
        alive = self.alive().keys()
        gone = self._watched - alive
        self._watched &= alive
        yield from sorted(gone)

    def close(self) -> None:
        """Forget all watches."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def _last_error(call: str) -> OSError:
    number = ctypes.get_errno()
    return OSError(number, f"{call}: {os.strerror(number)}")
