"""The files of a recording in a folder or a tar, read into memory: bounded, nothing extracted, no link followed."""

import bz2
import errno
import gzip
import io
import lzma
import os
import stat
import tarfile
import zlib
from collections.abc import Callable, Iterator
from typing import IO, Any, Final, NamedTuple, cast

from heaptop.capture import Raw, ReadError
from heaptop.errors import RecordingError
from heaptop.recording import dump
from heaptop.recording.layout import DAMAGE, TREES, is_wanted

FILE_BYTES_MAX: Final = 64 << 20
TOTAL_BYTES_MAX: Final = 1 << 30
MEMBERS_MAX: Final = 1_000_000
DEPTH_MAX: Final = 16
CHUNK_BYTES: Final = 64 << 10
BLOCK_BYTES: Final = 512
"""A tar is made of blocks (POSIX ustar) and ends with two of zeros."""

_DECOMPRESSORS: Final[tuple[tuple[bytes, Callable[[IO[bytes]], Any]], ...]] = (
    (b"\x1f\x8b", gzip.open),
    (b"\xfd7zXZ\0", lzma.open),
    (b"BZh", bz2.open),
)
_BROKEN: Final = (tarfile.TarError, OSError, EOFError, ValueError, OverflowError, zlib.error, lzma.LZMAError)
"""What the standard library raises for a tar or a compressed stream that is cut or noise."""


class _Member(NamedTuple):
    parts: tuple[str, ...]
    raw: Raw


class Loaded(NamedTuple):
    """Members by the folder that they are in (`""` is the top) and their path in it, in the order of the folders.

    `damage` says that it breaks off or exceeds a bound.
    """

    tops: dict[str, dict[str, Raw]]
    damage: ReadError | None


def load(path: str, folder: int | None = None) -> Loaded:
    """All members of a folder or a tar; a `path` that is not absolute counts from `folder`, where that is given.

    Raises:
        RecordingError: nothing there, not readable, neither folder nor tar.
    """
    follow = 0 if folder is None else os.O_NOFOLLOW
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | follow, dir_fd=folder)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
        raise RecordingError(f"cannot read the recording {path}", why or str(error), _remedy(error)) from error
    try:
        mode = os.fstat(fd)
        if stat.S_ISDIR(mode.st_mode):
            _refuse_live(path, mode.st_dev)
            members = _folder(fd, (), mode.st_dev)
        elif stat.S_ISREG(mode.st_mode):
            other = _other(fd, os.path.basename(path))
            if other is not None:
                return Loaded({"": other}, None)
            with open(fd, "rb", closefd=False) as file:
                return _gather(_tar(file))
        else:
            raise RecordingError(f"{path} is no recording", "it is neither a folder nor a file", "name a folder or tar")
        return _gather(members)
    finally:
        os.close(fd)


def _remedy(error: Exception) -> str:
    if isinstance(error, PermissionError):
        return "recordings are readable by their owner only: ask for access or run as the owner"
    return "check the path"


def _refuse_live(path: str, device: int) -> None:
    """That this folder is no mounted proc or sysfs, whose files are not to be read one by one."""
    for mount in ("/proc", "/sys"):
        try:
            if os.stat(mount).st_dev == device and os.path.ismount(mount):
                raise RecordingError(f"{path} is no recording", f"it is a part of the live {mount}", "use `-b kernel`")
        except OSError:
            continue


def _gather(members: Iterator[_Member]) -> Loaded:
    found: dict[str, dict[str, Raw]] = {}
    budget = TOTAL_BYTES_MAX
    damage: ReadError | None = None
    for count, (parts, raw) in enumerate(members):
        top, name = _split(parts)
        budget -= len(raw) if isinstance(raw, bytes) else 0
        if budget < 0 or count >= MEMBERS_MAX:
            damage = ReadError("tar", errno.EFBIG)
            break
        if name == DAMAGE and isinstance(raw, ReadError):
            damage = raw
        else:
            found.setdefault(top, {})[name] = raw
    return Loaded(found, damage)


def _split(parts: tuple[str, ...]) -> tuple[str, str]:
    """A member's path as the folder around the recording (`""` where there is none) and the path in it."""
    if is_wanted("/".join(parts)) or len(parts) == 1:
        return "", "/".join(parts)
    return parts[0], "/".join(parts[1:])


def only(path: str, loaded: Loaded) -> dict[str, Raw]:
    """The members of the one capture that this is. `DAMAGE` among them: it breaks off or exceeds a bound.

    Raises:
        RecordingError: there is more than one.
    """
    found = loaded.tops
    kernels = {
        top: members for top, members in found.items() if any(name.startswith(("proc/", "sys/")) for name in members)
    }
    if len(kernels) > 1 and "" not in kernels:
        names = ", ".join(sorted(kernels)[:3])
        raise RecordingError(f"{path} holds {len(kernels)} recordings", f"among them {names}", "name one of them")
    members = dict(kernels.get("") or next(iter(kernels.values() or found.values()), {}))
    if loaded.damage is not None:
        members[DAMAGE] = loaded.damage
    return members


# A folder


def _folder(folder: int, parts: tuple[str, ...], device: int) -> Iterator[_Member]:
    """Files below an open folder, on its own file system only.

    That is asked of folders alone: overlayfs gives a file another st_dev than its folder (filesystems/overlayfs.rst).
    """
    for name in sorted(os.listdir(folder)):
        here = (*parts, os.fsencode(name).decode("utf-8", "surrogateescape"))
        try:
            found = os.stat(name, dir_fd=folder, follow_symlinks=False)
            is_folder = stat.S_ISDIR(found.st_mode)
            if not (_may_hold(here) if is_folder else _is_member(here)):
                continue
            if is_folder and found.st_dev == device:
                yield from _inside(name, folder, here, device)
            elif stat.S_ISREG(found.st_mode):
                yield _Member(here, _content(name, folder))
        except OSError as error:
            yield _Member(here, ReadError("open", error.errno or errno.EIO))


def _inside(name: str, folder: int, here: tuple[str, ...], device: int) -> Iterator[_Member]:
    inner = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
    try:
        yield from _folder(inner, here, device)
    finally:
        os.close(inner)


def _may_hold(parts: tuple[str, ...]) -> bool:
    """Whether members may be below this folder: in a tree of the recording, or one folder around it."""
    return len(parts) < DEPTH_MAX and (len(parts) == 1 or parts[0] in TREES or parts[1] in TREES)


def _is_member(parts: tuple[str, ...]) -> bool:
    return is_wanted("/".join(parts)) or (len(parts) > 1 and is_wanted("/".join(parts[1:])))


def _content(name: str, folder: int) -> Raw:
    """A file's bytes. Should it have become a FIFO or a link since it was looked at: neither waits nor follows."""
    with open(os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder), "rb") as file:
        return _bounded(file)


def _bounded(file: IO[bytes]) -> Raw:
    chunks, size_bytes = [], 0
    while chunk := file.read(CHUNK_BYTES):
        chunks.append(chunk)
        size_bytes += len(chunk)
        if size_bytes > FILE_BYTES_MAX:
            return ReadError("read", errno.EFBIG)
    return b"".join(chunks)


# What is no recording of heaptop's


def _other(fd: int, name: str) -> dict[str, Raw] | None:
    """What is found in a zip or a text, which may be compressed; None for a tar, and where nothing is found."""
    with open(fd, "rb", closefd=False) as file:
        is_zip = dump.is_zip(file.read(4))
        file.seek(0)
        try:
            found = dump.of_zip(file) if is_zip else _of_text(_decompressed(file), name)
        except _BROKEN:
            found = {}
        file.seek(0)
    return found if dump.is_found(found) else None


def _of_text(file: IO[bytes], name: str) -> dict[str, Raw]:
    try:
        tarfile.TarInfo.frombuf(file.read(BLOCK_BYTES), "utf-8", "surrogateescape")
    except tarfile.HeaderError:
        file.seek(0)
        return dump.of_text(file, name)
    return {}


# A tar


class _Stream(io.RawIOBase):
    """A tar's bytes, decompressed, up to a bound. `last` is the newest block read: zeros, where the tar is whole."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.last = b""

    def read(self, size: int = -1, /) -> bytes:
        if size < 0 or self.tell() + size > TOTAL_BYTES_MAX + MEMBERS_MAX * BLOCK_BYTES:
            raise OSError(errno.EFBIG, "the tar is too large")
        self.last = self._file.read(size)
        return self.last

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        if whence != io.SEEK_SET or offset > TOTAL_BYTES_MAX + MEMBERS_MAX * BLOCK_BYTES:
            raise OSError(errno.EFBIG, "the tar is too large")
        return self._file.seek(offset)

    def tell(self) -> int:
        return self._file.tell()


def load_tar(file: IO[bytes]) -> Loaded:
    """All members of a tar that is open."""
    return _gather(_tar(file))


def load_files(path: str, is_one: Callable[[str], bool]) -> dict[str, bytes]:
    """Files in a tar that have such a name, by that name, from whatever folder; nothing where it is no tar."""
    found: dict[str, bytes] = {}
    budget = TOTAL_BYTES_MAX
    if not os.path.isfile(path):
        return found
    with open(path, "rb") as file:
        for parts, raw in _tar(file, lambda parts: is_one(parts[-1])):
            budget -= len(raw) if isinstance(raw, bytes) else 0
            if budget < 0 or len(found) >= MEMBERS_MAX:
                break
            if isinstance(raw, bytes):
                found[parts[-1]] = raw
    return found


def _tar(file: IO[bytes], is_wanted: Callable[[tuple[str, ...]], bool] = _is_member) -> Iterator[_Member]:
    """Regular files of a tar up to its end or the first damage, which then is the last member."""
    try:
        with (
            _Stream(_decompressed(file)) as stream,
            tarfile.open(fileobj=stream, mode="r:", encoding="utf-8", errors="surrogateescape") as tar,
        ):
            while (info := tar.next()) is not None:
                tar.members = []  # type: ignore[attr-defined]  # else it keeps them all
                parts = tuple(part for part in info.name.split("/") if part != ".")
                if info.isreg() and parts and "" not in parts and ".." not in parts and is_wanted(parts):
                    yield _Member(parts, _tar_content(tar, info))
            has_end = stream.last == bytes(BLOCK_BYTES)
            while stream.read(CHUNK_BYTES):  # to the checksum of a compressed one
                pass
            if not has_end:
                yield _Member((DAMAGE,), ReadError("tar", errno.EIO))
    except _BROKEN as error:
        is_too_large = isinstance(error, OSError) and error.errno == errno.EFBIG
        yield _Member((DAMAGE,), ReadError("tar", errno.EFBIG if is_too_large else errno.EIO))


def _decompressed(file: IO[bytes]) -> IO[bytes]:
    magic = file.read(8)
    file.seek(0)
    for start, decompress in _DECOMPRESSORS:
        if magic.startswith(start):
            return cast("IO[bytes]", decompress(file))
    return file


def _tar_content(tar: tarfile.TarFile, info: tarfile.TarInfo) -> Raw:
    if info.size > FILE_BYTES_MAX:
        return ReadError("read", errno.EFBIG)
    file = tar.extractfile(info)
    return b"" if file is None else _bounded(file)
