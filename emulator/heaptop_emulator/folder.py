"""The folder in which a user's processes find the shared emulator: only its owner may enter it.

emulator   the socket that it listens on
keeper     the socket of the keeper, which outlives it as long as buffers do (keeper.py)
lock       held by the emulator while it lives: there is one
journal    what a restart needs to find the buffers again (journal.py)
log        what it has to say, at most twice LOG_BYTES_MAX with `log.old`
"""

import fcntl
import os
import socket
import stat
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, Self

from heaptop_emulator.errors import EmulatorError, NotRunningError

LOG_BYTES_MAX: Final = 1 << 16
_REMEDY: Final = "set XDG_RUNTIME_DIR to a folder of your own"


def locate(environ: Mapping[str, str] = os.environ, uid: int | None = None) -> str:
    """Its path: below $XDG_RUNTIME_DIR, else /run/user/UID, where that is the user's own folder; else in /tmp."""
    uid = os.geteuid() if uid is None else uid
    for base in (environ.get("XDG_RUNTIME_DIR", ""), f"/run/user/{uid}"):
        if base.startswith("/") and _is_own_folder(base, uid):
            return f"{base}/heaptop"
    return f"/tmp/heaptop-{uid}"  # noqa: S108  (made for its owner alone, and looked at before it is used)


def _is_own_folder(path: str, uid: int) -> bool:
    with suppress(OSError):
        found = os.stat(path)
        return stat.S_ISDIR(found.st_mode) and found.st_uid == uid and not found.st_mode & 0o022
    return False


@dataclass(frozen=True, slots=True)
class RuntimeFolder:
    """The folder, open: whoever moves or replaces its path does not mislead those who have it. `close` it."""

    path: str
    fd: int

    @classmethod
    def make(cls, path: str | None = None) -> Self:
        """Open it, made where it is missing.

        Raises:
            EmulatorError: it cannot be made, is no folder, or belongs to somebody else.
        """
        path = path or locate()
        try:
            with suppress(FileExistsError):
                os.mkdir(path, 0o700)
        except OSError as error:
            raise EmulatorError(f"the runtime folder {path}", error.strerror or "", _REMEDY) from error
        return cls.open(path)

    @classmethod
    def open(cls, path: str | None = None) -> Self:
        """Open it.

        Raises:
            NotRunningError: it is missing.
            EmulatorError: it is no folder, or belongs to somebody else.
        """
        path = path or locate()
        try:
            fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError as error:
            raise NotRunningError from error
        except OSError as error:
            raise EmulatorError(f"the runtime folder {path}", error.strerror or "", _REMEDY) from error
        found = os.fstat(fd)
        if found.st_uid != os.geteuid():
            os.close(fd)
            raise EmulatorError(f"the runtime folder {path}", f"belongs to uid {found.st_uid}", _REMEDY)
        if found.st_mode & 0o077:
            os.fchmod(fd, 0o700)
        return cls(path, fd)

    def close(self) -> None:
        """Let go of it."""
        os.close(self.fd)

    def entry(self, name: str) -> str:
        """A path to an entry that is never too long for a socket (108 bytes)."""
        return f"/proc/self/fd/{self.fd}/{name}"

    def lock(self) -> int | None:
        """A descriptor that holds the lock until all copies of it are closed; None where another holds it.

        Raises:
            EmulatorError: it cannot be made.
        """
        fd = -1
        try:
            fd = os.open("lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=self.fd)
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            return None
        except OSError as error:
            raise EmulatorError(f"{self.path}/lock", error.strerror or "", _REMEDY) from error
        return fd

    def listen(self, name: str) -> socket.socket:
        """A socket that others can reach from this moment on. What was there before is replaced; so call it locked.

        Raises:
            EmulatorError: it cannot be made.
        """
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        unborn = f"{name}.new"
        try:
            self.remove(unborn)
            listener.bind(self.entry(unborn))
            os.chmod(unborn, 0o600, dir_fd=self.fd)
            listener.listen(socket.SOMAXCONN)
            os.rename(unborn, name, src_dir_fd=self.fd, dst_dir_fd=self.fd)
        except OSError as error:
            listener.close()
            raise EmulatorError(f"{self.path}/{name}", error.strerror or "", _REMEDY) from error
        return listener

    def remove(self, *names: str) -> None:
        """Remove entries; those that are not there, or cannot be removed, are no matter."""
        for name in names:
            with suppress(OSError):
                os.unlink(name, dir_fd=self.fd)

    def log_fd(self) -> int:
        """The log, open for appending; a long one is put aside first. OSError where there is no room."""
        with suppress(OSError):
            if os.stat("log", dir_fd=self.fd, follow_symlinks=False).st_size > LOG_BYTES_MAX:
                os.rename("log", "log.old", src_dir_fd=self.fd, dst_dir_fd=self.fd)
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        return os.open("log", flags, 0o600, dir_fd=self.fd)


def tell(text: str) -> None:
    """A line to the log, which this process has as its stderr. If there is no room for it, nobody is told."""
    with suppress(OSError):
        os.write(2, f"{text}\n".encode(errors="backslashreplace"))
