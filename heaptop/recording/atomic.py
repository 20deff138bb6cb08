"""Writing a recording so that it appears at its path whole or not at all.

It is made beside its path under a temporary name, locked for as long as its writer lives, and renamed when complete.
What a killed writer left behind is removed by the next one that writes in the same folder.
"""

import contextlib
import errno
import fcntl
import io
import os
import shutil
import tarfile
from collections.abc import Iterator, Mapping
from typing import BinaryIO, Final, Literal

from heaptop.errors import RecordingError

PREFIX: Final = ".heaptop-unfinished."
_TarMode = Literal["w:", "w:gz", "w:xz"]
_TAR_MODES: Final[Mapping[str, _TarMode]] = {".tar": "w:", ".tar.gz": "w:gz", ".tgz": "w:gz", ".tar.xz": "w:xz"}


def publish(members: Mapping[str, bytes], path: str, mtime: float) -> None:
    """Write members to a new folder, or a new tar where the name ends like one. Owner-only.

    Raises:
        RecordingError: `path` exists, or cannot be written; nothing is left behind.
    """
    path = path.rstrip("/") or path
    if os.path.lexists(path):
        raise _taken(path)
    folder = os.path.dirname(path) or "."
    temporary = os.path.join(folder, f"{PREFIX}{os.getpid()}.{os.urandom(4).hex()}")
    tar_mode = next((mode for suffix, mode in _TAR_MODES.items() if path.endswith(suffix)), None)
    _sweep(folder)
    try:
        try:
            if tar_mode is None:
                os.mkdir(temporary, 0o700)
            else:
                _create(temporary).close()
            with _locked(temporary):
                if tar_mode is None:
                    _write_folder(members, temporary)
                else:
                    _write_tar(members, temporary, tar_mode, mtime)
                _rename(temporary, path)
        finally:
            _remove(temporary)
    except (OSError, ValueError) as error:
        raise _failure(path, error) from error


def _taken(path: str) -> RecordingError:
    return RecordingError(f"cannot write the recording {path}", "it exists", "name a new path or remove it first")


def _failure(path: str, error: Exception) -> RecordingError:
    number = error.errno if isinstance(error, OSError) else None
    if number in (errno.EEXIST, errno.ENOTEMPTY):
        return _taken(path)
    remedies = {
        errno.ENOENT: "make the folder that it is to be in first",
        errno.ENOSPC: "free some space or write elsewhere",
        errno.EDQUOT: "free some space or write elsewhere",
        errno.EACCES: "write to a folder of your own",
        errno.EPERM: "write to a folder of your own",
        errno.EROFS: "write to a folder that is not mounted read-only",
    }
    why = error.strerror if isinstance(error, OSError) else None
    return RecordingError(f"cannot write the recording {path}", why or str(error), remedies.get(number or 0, ""))


def _write_folder(members: Mapping[str, bytes], temporary: str) -> None:
    for name, content in members.items():
        target = os.path.join(os.fsencode(temporary), name.encode("utf-8", "surrogateescape"))
        os.makedirs(os.path.dirname(target), 0o700, exist_ok=True)
        with _create(target) as file:
            file.write(content)


def _write_tar(members: Mapping[str, bytes], temporary: str, mode: _TarMode, mtime: float) -> None:
    with (
        open(temporary, "wb") as file,
        tarfile.open(fileobj=file, mode=mode, format=tarfile.GNU_FORMAT, errors="surrogateescape") as tar,
    ):
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size, info.mode, info.mtime = len(content), 0o600, int(mtime)
            tar.addfile(info, io.BytesIO(content))


def _create(path: str | bytes) -> BinaryIO:
    return open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb")


def _rename(temporary: str, path: str) -> None:
    """Give it its name, unless another file has it by now (an empty folder may be replaced by a folder)."""
    if not os.path.isdir(temporary):
        try:
            os.link(temporary, path)
        except OSError as error:
            if error.errno == errno.EEXIST:
                raise
        else:
            return
    os.rename(temporary, path)  # a folder, or a file system without hard links, such as vfat


def _sweep(folder: str) -> None:
    """Remove what writers that died left in this folder. What cannot be looked at or removed stays."""
    with contextlib.suppress(OSError):
        for name in os.listdir(folder):
            if name.startswith(PREFIX):
                with contextlib.suppress(OSError), _opened(os.path.join(folder, name)) as lock:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # fails while its writer lives
                    _remove(os.path.join(folder, name))


@contextlib.contextmanager
def _opened(path: str) -> Iterator[int]:
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        yield fd
    finally:
        os.close(fd)


@contextlib.contextmanager
def _locked(path: str) -> Iterator[None]:
    """Hold the lock that tells others that this temporary name is in use, where the file system has locks."""
    with _opened(path) as lock:
        with contextlib.suppress(OSError):
            fcntl.flock(lock, fcntl.LOCK_SH)
        yield


def _remove(path: str) -> None:
    try:
        if os.path.isdir(path) and not os.path.islink(path):
            shutil.rmtree(path)
        else:
            os.unlink(path)
    except FileNotFoundError:
        return
