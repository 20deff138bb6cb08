"""The folder of a recording that is being made: whose it is, what is in it, and what has to go."""

import contextlib
import errno
import fcntl
import os
import stat
from typing import Final, NamedTuple

from heaptop.errors import RecordingError
from heaptop.pattern import pattern
from heaptop.recording.segment import TABLE

README: Final = "README.txt"
LOCK: Final = "recorder.lock"
INCIDENT: Final = pattern(r"incident-[0-9]{8}T[0-9]{6}-[a-z]+(?:-[0-9]+)?\.tar\.gz")
_SEGMENT: Final = pattern(r"([0-9]{6,9})(?:\.tar\.gz|\.moments)")
NAMES: Final = """\
IT HOLDS THE NAMES of processes, their command lines, and of buffers.
Look before you share it."""
STAND_INS: Final = "The names of processes, buffers and files were replaced by stand-ins."
_TEXT: Final = """\
A recording of DMA-BUF heaps over time, made by `heaptop record`.

{names}

To look at it:  heaptop -b replay:{path}
Without heaptop:  tar xzf 000000.tar.gz
  000000/ then is the first capture of that segment, plain files at their real paths (000000/proc/1234/comm);
  000001/ and on hold what changed since the one before, and gone.txt names what was not there any more.
  000000.moments is a table of all moments: number, time, time since boot, buffers, bytes, changes, mark.
A segment without its end ("unexpected end of file") is one whose recorder was killed; all that is in it is good.
"""


class Item(NamedTuple):
    """A segment or an incident: what its files are called and take, and when they were last written to."""

    names: tuple[str, ...]
    size_bytes: int
    written_at: float


class RecordingFolder:
    """An open folder, locked against every other recorder until `close`. Only what a recorder made is ever touched."""

    def __init__(self, path: str, *, has_names: bool = True) -> None:
        """Make it, or take one that a recorder made, or an empty one. `has_names`: they were not replaced.

        Raises:
            RecordingError: it is somebody else's, holds something else, is being recorded to, or cannot be made.
        """
        self.path = path.rstrip("/") or path
        self.fd = _opened(self.path)
        try:
            self._refuse_others()
            self._lock = self._locked()
            self._write_readme(NAMES if has_names else STAND_INS)
        except OSError as error:
            os.close(self.fd)
            raise RecordingError(f"cannot record to {self.path}", os.strerror(error.errno or 0)) from error
        except RecordingError:
            os.close(self.fd)
            raise

    def close(self) -> None:
        """Let others record here. May be called twice."""
        if self.fd >= 0:
            os.close(self._lock)
            os.close(self.fd)
            self.fd = -1

    def segments(self) -> list[Item]:
        """By rising number."""
        found: dict[int, list[str]] = {}
        for name in os.listdir(self.fd):
            match = _SEGMENT.fullmatch(name)
            if match:
                found.setdefault(int(match[1]), []).append(name)
        return [self._item(tuple(names)) for _, names in sorted(found.items())]

    def incidents(self) -> list[Item]:
        """Oldest first."""
        return [self._item((name,)) for name in sorted(os.listdir(self.fd)) if INCIDENT.fullmatch(name)]

    def own_bytes(self) -> int:
        """What the files take that are neither segment nor incident."""
        return self._item((README, LOCK)).size_bytes

    def next_number(self) -> int:
        """That of the next segment."""
        numbers = [int(match[1]) for match in map(_SEGMENT.fullmatch, os.listdir(self.fd)) if match]
        return max(numbers, default=-1) + 1

    def remove(self, item: Item) -> None:
        """Remove a segment or incident: its data first, so that a table never speaks of what is not there for long."""
        for name in sorted(item.names, key=lambda name: name.endswith(TABLE)):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name, dir_fd=self.fd)

    def free_bytes(self) -> int:
        """What this user may still write on this file system."""
        found = os.fstatvfs(self.fd)
        return found.f_bavail * found.f_frsize

    def is_gone(self) -> bool:
        """Whether the folder itself has been removed."""
        return os.fstat(self.fd).st_nlink == 0

    def write_whole(self, name: str, data: bytes) -> None:
        """Write a file that appears whole or not at all, and is on the disk then.

        Raises:
            OSError: it cannot be; nothing is left.
        """
        made = f".{name}.unfinished"
        with contextlib.suppress(FileNotFoundError):  # of a recorder that was killed
            os.unlink(made, dir_fd=self.fd)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            with open(os.open(made, flags, 0o600, dir_fd=self.fd), "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.rename(made, name, src_dir_fd=self.fd, dst_dir_fd=self.fd)
        except OSError:
            with contextlib.suppress(OSError):
                os.unlink(made, dir_fd=self.fd)
            raise

    def _item(self, names: tuple[str, ...]) -> Item:
        size_bytes, written_at = 0, 0.0
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                found = os.stat(name, dir_fd=self.fd, follow_symlinks=False)
                size_bytes += found.st_size
                written_at = max(written_at, found.st_mtime)
        return Item(names, size_bytes, written_at)

    def _refuse_others(self) -> None:
        found = os.fstat(self.fd)
        if found.st_uid != os.geteuid() or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise RecordingError(
                f"cannot record to {self.path}",
                "others may write to this folder",
                "name a new folder, or one of your own",
            )
        names = os.listdir(self.fd)
        if names and README not in names and LOCK not in names:
            raise RecordingError(
                f"cannot record to {self.path}",
                "it holds something else",
                "name a new folder, or a recording to go on with",
            )

    def _locked(self) -> int:
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
        lock = os.open(LOCK, flags, 0o600, dir_fd=self.fd)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno == errno.EWOULDBLOCK:
                pid = os.read(lock, 16).decode("ascii", "replace").strip()
                os.close(lock)
                by = f"by process {pid}" if pid.isdecimal() else "by another process"
                raise RecordingError(
                    f"{self.path} is being recorded to", by, "name another folder, or end that one first"
                ) from error
            # a file system without locks: nobody can be kept away
        os.ftruncate(lock, 0)
        os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
        return lock

    def _write_readme(self, names: str) -> None:
        if README not in os.listdir(self.fd):
            text = _TEXT.format(path=os.path.basename(self.path), names=names)
            self.write_whole(README, text.encode("utf-8", "surrogateescape"))


def _opened(path: str) -> int:
    try:
        with contextlib.suppress(FileExistsError):
            os.mkdir(path, 0o700)
        return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except (OSError, ValueError) as error:
        number = error.errno if isinstance(error, OSError) else None
        if os.path.islink(path):
            raise RecordingError(
                f"cannot record to {path}", "it is a link", "name the folder that it leads to"
            ) from error
        if number == errno.ENOTDIR and os.path.lexists(path):
            raise RecordingError(f"cannot record to {path}", "it exists and is no folder", "name a new path") from error
        remedies = {errno.ENOENT: "make the folder that it is to be in first", errno.ENOSPC: "free some space"}
        why = error.strerror if isinstance(error, OSError) else None
        remedy = remedies.get(number or 0, "name a folder of your own")
        raise RecordingError(f"cannot record to {path}", why or str(error), remedy) from error
