"""How many bytes of buffers are alive, without keeping any of them alive.

A memfd is watched by inotify, whose event says when its last reference is gone. A dma-buf has no such event on every
kernel (none from 6.14 on), but takes part in epoll, and an open file that is in an epoll instance is listed there for
as long as it lives, though who put it there has closed it (fs/eventpoll.c: the instance holds no reference).
"""

import contextlib
import ctypes
import os
import re
import select
import struct
import time
from typing import Final

from heaptop.pattern import pattern
from heaptop.trace.supervise.libc import LIBC, checked

SETTLE_S: Final = 0.1
SETTLE_STEP_S: Final = 0.005
_IN_DELETE_SELF: Final = 0x400
_IN_Q_OVERFLOW: Final = 0x4000
_EVENT: Final = struct.Struct("iIII")
_WATCH: Final = pattern(rb"^inotify wd:([0-9a-f]+) ", re.MULTILINE)
_WATCHED: Final = pattern(rb"^tfd:.* ino:([0-9a-f]+) ", re.MULTILINE)


class LiveBytes:
    """Counts the buffers it is told of until they are gone."""

    def __init__(self) -> None:
        self._inotify = checked(int(LIBC.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)), "inotify_init1")
        self._epoll = select.epoll()
        self._by_watch: dict[int, int] = {}
        self._by_inode: dict[int, int] = {}

    def add(self, fd: int) -> None:
        """Count the buffer that is open as fd, which the caller closes.

        Raises:
            OSError: it cannot be watched.
        """
        found = os.fstat(fd)
        try:
            self._epoll.register(fd, 0)
        except PermissionError:  # a memfd
            path = ctypes.c_char_p(b"/proc/self/fd/%d" % fd)
            watch = checked(int(LIBC.inotify_add_watch(self._inotify, path, _IN_DELETE_SELF)), "inotify_add_watch")
            self._by_watch[watch] = found.st_size
        else:
            self._by_inode[found.st_ino] = found.st_size

    def total(self) -> int:
        """Bytes alive at this moment."""
        if self._by_watch:
            self._read_events()
        if self._by_inode:
            listed = {int(inode, 16) for inode in _WATCHED.findall(_fdinfo(self._epoll.fileno()))}
            self._by_inode = {inode: size for inode, size in self._by_inode.items() if inode in listed}
        return sum(self._by_watch.values()) + sum(self._by_inode.values())

    def settled(self, at_most: int) -> int:
        """Bytes alive; where they are more than `at_most`, once what was freed a moment ago has gone.

        The emulator, or a look at the buffer from outside, can be the last to let go, after the program has.
        """
        deadline = time.monotonic() + SETTLE_S
        while (total := self.total()) > at_most and (left := deadline - time.monotonic()) > 0:
            select.select([self._inotify], [], [], min(left, SETTLE_STEP_S))
        return total

    def _read_events(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while events := os.read(self._inotify, 1 << 16):
                offset = 0
                while offset < len(events):
                    watch, mask, _, name_bytes = _EVENT.unpack_from(events, offset)
                    offset += _EVENT.size + name_bytes
                    if mask & _IN_Q_OVERFLOW:
                        alive = {int(number, 16) for number in _WATCH.findall(_fdinfo(self._inotify))}
                        self._by_watch = {watch: size for watch, size in self._by_watch.items() if watch in alive}
                    elif mask & _IN_DELETE_SELF:
                        self._by_watch.pop(watch, None)


def _fdinfo(fd: int) -> bytes:
    with open(f"/proc/self/fdinfo/{fd}", "rb") as file:
        return file.read()
