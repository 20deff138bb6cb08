"""A device over adb or ssh as a source: its own shell reads its files (look.sh), nothing is installed there.

One shell is kept for all looks. It ends when heaptop does, however that ends: its input is closed then.
"""

import errno
import os
import secrets
import select
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from importlib import resources
from typing import Final

from heaptop.backend.chosen import without
from heaptop.backend.remote_text import told
from heaptop.capture import Capture, ReadError
from heaptop.errors import SourceError
from heaptop.recording.layout import capture_of
from heaptop.units import printable, text_of

TIMEOUT_S: Final = 60.0
"""For one look: a phone with a thousand processes takes a few seconds."""
LOOK_BYTES_MAX: Final = 256 << 20
CHUNK_BYTES: Final = 1 << 16
END_TIMEOUT_S: Final = 2.0


def adb(serial: str) -> Sequence[str]:
    """The command that gives a shell of an Android device; the only one where `serial` is empty."""
    return ("adb", *(("-s", serial) if serial else ()), "shell", "-T", "sh")


def ssh(host: str) -> Sequence[str]:
    """The command that gives a shell of a host. It never asks: keys must be there."""
    return ("ssh", "-T", "-o", "BatchMode=yes", "--", host, "sh")


class RemoteBackend:
    """A device's kernel, through a shell of its own. It cannot allocate."""

    def __init__(
        self,
        source: str,
        command: Sequence[str],
        *,
        clock: Callable[[], float] = time.time,
        timeout_s: float = TIMEOUT_S,
        off: frozenset[str] = frozenset(),
    ) -> None:
        """Start the shell by `command`, which reads a script from its stdin; `source` is how `-b` names the device.

        Raises:
            SourceError: it cannot be started.
        """
        self.source = source
        self._clock = clock
        self._timeout_s = timeout_s
        self._off = off
        self._mark = f"heaptop-{secrets.token_hex(8)}".encode()
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
                bufsize=0,
            )
        except OSError as error:
            raise SourceError(
                f"cannot run {command[0]}", os.strerror(error.errno or 0), f"install {command[0]}"
            ) from error
        script = resources.files("heaptop.backend").joinpath("look.sh").read_bytes()
        self._say(b"MARK=" + self._mark + b"\n" + script)

    def capture(self) -> Capture:
        """Let the device look once.

        Raises:
            SourceError: it is gone, did not answer in time, or has not the tools that it takes.
        """
        captured_at = self._clock()
        self._say(b"look 2>/dev/null; echo " + self._mark + b" done\n")
        said = told(self._answer(), self._mark)
        if said.lacking:
            lacking = ", ".join(said.lacking)
            raise SourceError(f"{self.source} cannot be looked at", f"it has no {lacking}", "install it, or busybox")
        whole = capture_of(said.members, self.source)
        files = dict(whole.files)
        if said.unread:
            files["recording"] = ReadError("read", errno.EBADMSG)
        return without(
            whole._replace(
                captured_at=captured_at,
                files=files,
                processes_seen=said.processes_seen,
            ),
            self._off,
        )

    def close(self) -> None:
        """End the shell. May be called twice."""
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        try:
            self._process.wait(END_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stderr is not None:
            self._process.stderr.close()

    def _say(self, text: bytes) -> None:
        assert self._process.stdin is not None
        if self._process.stdin.closed:
            raise SourceError(f"{self.source} is gone", "its shell has ended", "start heaptop again")
        try:
            self._process.stdin.write(text)
        except (OSError, ValueError) as error:
            raise self._gone() from error

    def _answer(self) -> Iterator[bytes]:
        """The lines of one look."""
        assert self._process.stdout is not None
        fd = self._process.stdout.fileno()
        end = self._mark + b" done"
        deadline = time.monotonic() + self._timeout_s
        rest, total = b"", 0
        while True:
            ready, _, _ = select.select([fd], [], [], max(0.0, deadline - time.monotonic()))
            if not ready:
                self.close()
                raise SourceError(f"{self.source} did not answer", f"in {self._timeout_s:.0f} s", "look less often")
            chunk = os.read(fd, CHUNK_BYTES)
            total += len(chunk)
            if not chunk or total > LOOK_BYTES_MAX:
                raise self._gone()
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                if line.rstrip(b"\r") == end:
                    return
                yield line.removesuffix(b"\r")

    def _last_words(self) -> bytes:
        """What it wrote to stderr until it ended; not waited for long: ssh's ControlMaster may hold that open."""
        assert self._process.stderr is not None
        if self._process.stderr.closed:
            return b""
        words, fd = b"", self._process.stderr.fileno()
        while select.select([fd], [], [], END_TIMEOUT_S)[0] and (chunk := os.read(fd, CHUNK_BYTES)):
            words = (words + chunk)[-CHUNK_BYTES:]
        return words

    def _gone(self) -> SourceError:
        """Why there is no answer: the last line that the command said."""
        words = self._last_words()
        self.close()
        last = printable(text_of(words.strip().rsplit(b"\n", 1)[-1])) if words else "its shell has ended"
        return SourceError(f"{self.source} is gone", last, "see that its shell works, then start heaptop again")
