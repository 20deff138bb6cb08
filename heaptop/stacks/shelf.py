"""Where the call stacks of this user's running programs are found: a file for each heaptop that watches allocations.

They lie in a folder that only its owner may enter, `stacks` in the runtime folder, in one folder for each source whose
buffers they are about. The writer holds a lock on its file, so one whose writer was killed is known for what it is: the
next reader removes it.
"""

import contextlib
import errno
import fcntl
import os
import stat
from collections.abc import Mapping
from typing import Final

from heaptop.capture import Raw
from heaptop.errors import SourceError
from heaptop.scan.files import read_file

KERNEL, EMULATOR = "kernel", "emulator"
CAPTURED: Final = "heaptop/stacks"
"""Where a capture has them."""
_FILES_MAX: Final = 1000


def locate(environ: Mapping[str, str] = os.environ, uid: int | None = None) -> str:
    """The runtime folder: below $XDG_RUNTIME_DIR, else /run/user/UID, where that is the user's own; else in /tmp."""
    uid = os.geteuid() if uid is None else uid
    for base in (environ.get("XDG_RUNTIME_DIR", ""), f"/run/user/{uid}"):
        with contextlib.suppress(OSError):
            found = os.stat(base)
            if base.startswith("/") and found.st_uid == uid and not found.st_mode & 0o022:
                return f"{base}/heaptop"
    return f"/tmp/heaptop-{uid}"  # noqa: S108  (made for its owner alone, and looked at before it is used)


class Shelf:
    """A file of this process's own. Written whole lines at a time; gone when it is closed."""

    def __init__(self, kind: str, path: str | None = None) -> None:
        """`kind` says whose buffers: those of the kernel, or of the shared emulator.

        Raises:
            SourceError: the runtime folder cannot be used.
        """
        folder = path or locate()
        try:
            for part in (folder, f"{folder}/stacks", f"{folder}/stacks/{kind}"):
                _make_own(part)
        except OSError as error:
            raise SourceError(
                f"call stacks cannot be kept in {folder}",
                error.strerror or "",
                "set XDG_RUNTIME_DIR to your own folder",
            ) from error
        self._path = f"{folder}/stacks/{kind}/{os.getpid()}"
        self._fd = -1

    def write(self, text: bytes) -> None:
        """Add lines. Where the disk is full, those that come are lost, and no half of one stays.

        The file is written in one call, so a reader sees whole lines but for its end.
        """
        if self._fd < 0:
            return
        with contextlib.suppress(OSError):
            size = os.lseek(self._fd, 0, os.SEEK_END)
            if os.write(self._fd, text) < len(text):
                os.ftruncate(self._fd, size)

    def rewrite(self, text: bytes) -> None:
        """Begin anew. A reader sees the old text or the new one."""
        new = f"{self._path}.new"
        flags = os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        with contextlib.suppress(OSError):
            fd = os.open(new, flags, 0o600)
            fcntl.flock(fd, fcntl.LOCK_EX)
            os.write(fd, text)
            os.rename(new, self._path)
            self._fd, old = fd, self._fd
            if old >= 0:
                os.close(old)

    def close(self) -> None:
        """Take it away. May be called twice."""
        if self._fd >= 0:
            with contextlib.suppress(OSError):
                os.unlink(self._path)
            os.close(self._fd)
            self._fd = -1


def _make_own(path: str) -> None:
    with contextlib.suppress(FileExistsError):
        os.mkdir(path, 0o700)
    found = os.lstat(path)
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        raise OSError(errno.EPERM, f"{path} belongs to somebody else")
    if found.st_mode & 0o077:
        os.chmod(path, 0o700)


def read_all(kind: str, path: str | None = None) -> dict[str, Raw]:
    """The texts of all that watch now, as files of a capture. What a killed one left is removed."""
    folder = f"{path or locate()}/stacks/{kind}"
    files: dict[str, Raw] = {}
    with contextlib.suppress(OSError):
        for name in sorted(os.listdir(folder))[:_FILES_MAX]:
            number, dot, _ = name.partition(".new")
            if not number.isdecimal() or _is_left_over(f"{folder}/{name}") or dot:
                continue
            raw = read_file(f"{folder}/{name}")
            if raw is not None:
                files[f"{CAPTURED}/{name}"] = raw
    return files


def _is_left_over(path: str) -> bool:
    """Whether nobody holds its lock; then it is removed."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return True
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        # Nobody holds it. Its writer may have replaced it just now, and then this name is another file's.
        if os.fstat(fd).st_ino == os.stat(path, follow_symlinks=False).st_ino:
            os.unlink(path)
    except BlockingIOError:
        return False
    except OSError:
        pass
    finally:
        os.close(fd)
    return True
