"""Tells subscribers of every allocation, refusal and release, a line of JSON each. Nobody is ever waited for."""

import errno
import fcntl
import json
import os
import time
from contextlib import suppress
from typing import Final

SUBSCRIBERS_MAX: Final = 8
PIPE_BYTES: Final = 1 << 20
"""Asked for; a user may have less (fs.pipe-max-size, fs.pipe-user-pages-soft). A line is less than PIPE_BUF: whole or
not written.
"""


class Events:
    """The write ends of the subscribers' pipes, and how many lines found no room in each."""

    def __init__(self) -> None:
        self._lost: dict[int, int] = {}

    def subscribe(self) -> int:
        """A new pipe's read end, which the caller closes. OSError where there are too many."""
        if len(self._lost) >= SUBSCRIBERS_MAX:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        read_end, write_end = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        with suppress(OSError):
            fcntl.fcntl(write_end, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        self._lost[write_end] = 0
        return read_end

    def tell(self, kind: str, pid: int | None, **fields: object) -> None:
        """One event, by the process `pid` where that is known. `lost` says how many found no room before it."""
        if not self._lost:
            return
        event = {"kind": kind, "time": time.time(), "pid": pid, "tid": pid, "comm": _comm(pid), **fields}
        for write_end, lost in tuple(self._lost.items()):
            try:
                os.write(write_end, json.dumps({**event, "lost": lost}).encode() + b"\n")
            except BlockingIOError:
                self._lost[write_end] += 1
            except BrokenPipeError:
                del self._lost[write_end]
                os.close(write_end)

    def close(self) -> None:
        """Close all pipes."""
        for write_end in self._lost:
            os.close(write_end)
        self._lost.clear()


def _comm(pid: int | None) -> str | None:
    with suppress(OSError), open(f"/proc/{pid}/comm", "rb") as comm:
        return comm.read().removesuffix(b"\n").decode("utf-8", "surrogateescape")
    return None
