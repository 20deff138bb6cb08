"""A segment of a recording: one capture whole, then what changed, as a tar that may break off anywhere.

It is one gzip stream, flushed after each moment: whatever kills the writer, all that was flushed is read. Each moment
is a folder `NNNNNN` of the tar and ends with its heaptop.json; one without that was not finished and is not counted.
docs/recording.md is the format.
"""

import contextlib
import os
import tarfile
import zlib
from collections.abc import Iterable, Mapping
from typing import Final

from heaptop.recording.layout import ABOUT
from heaptop.recording.moments import END, HEADER, Moment, boot_line, line_of

SUFFIX: Final = ".tar.gz"
TABLE: Final = ".moments"
DIGITS: Final = 6
LEVEL: Final = 6
_GZIP: Final = 31
"""zlib's window bits for a stream of 32 KiB window with gzip's header and checksum."""
_BLOCK_BYTES: Final = 512
_NEW: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def name_of(number: int) -> str:
    """What a segment or moment is called."""
    return f"{number:0{DIGITS}d}"


def tar_bytes(members: Iterable[tuple[str, bytes]], mtime: float) -> bytes:
    """These files as a part of a tar, without its end."""
    parts = []
    for name, content in members:
        info = tarfile.TarInfo(name)
        info.size, info.mode, info.mtime = len(content), 0o600, max(0, int(mtime))
        padding = bytes(-len(content) % _BLOCK_BYTES)
        parts += [info.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape"), content, padding]
    return b"".join(parts)


TAR_END: Final = bytes(2 * _BLOCK_BYTES)


class SegmentWriter:
    """Writes one segment and its table of moments into an open folder. Its files are its owner's alone."""

    def __init__(self, folder: int, number: int, boot_id: str) -> None:
        """Raises OSError: they cannot be made; nothing is left."""
        self.name = name_of(number)
        self.boot_id = boot_id
        self._folder = folder
        self._packer = zlib.compressobj(LEVEL, zlib.DEFLATED, _GZIP)
        self._data = os.open(self.name + SUFFIX, _NEW, 0o600, dir_fd=folder)
        try:
            self._table = os.open(self.name + TABLE, _NEW, 0o600, dir_fd=folder)
        except OSError:
            os.close(self._data)
            os.unlink(self.name + SUFFIX, dir_fd=folder)
            raise
        self._data_bytes = self._table_bytes = 0
        self._heading = HEADER + (boot_line(boot_id) if boot_id else b"")
        self.moments = 0
        self.first_bytes = 0
        self.is_open = True
        self._is_in_folder = False

    @property
    def size_bytes(self) -> int:
        """What its files take."""
        return self._data_bytes + self._table_bytes

    @property
    def is_deleted(self) -> bool:
        """Whether somebody has removed it while it is written."""
        return os.fstat(self._data).st_nlink == 0

    def pack(self, members: Mapping[str, bytes], about: bytes, mtime: float) -> bytes:
        """A moment as it is to be written. After this it must be, or the segment be ended."""
        top = name_of(self.moments)
        named = [(f"{top}/{path}", content) for path, content in members.items()]
        data = tar_bytes([*named, (f"{top}/{ABOUT}", about)], mtime)
        return self._packer.compress(data) + self._packer.flush(zlib.Z_SYNC_FLUSH)

    def write(self, packed: bytes, moment: Moment) -> None:
        """Add a moment. It is safe from whatever ends this process, and after `sync` from what ends the kernel.

        Raises:
            OSError: it cannot be written; the segment ends with the moment before.
        """
        line = self._heading + line_of(moment)
        try:
            _write_all(self._data, packed)
            _write_all(self._table, line)
        except OSError:
            self.abandon()
            raise
        self._heading = b""
        self._data_bytes += len(packed)
        self._table_bytes += len(line)
        self.first_bytes = self.first_bytes or self._data_bytes
        self.moments += 1

    def sync(self) -> None:
        """Have all that is written on the disk.

        Raises:
            OSError: it cannot be.
        """
        os.fdatasync(self._data)
        os.fdatasync(self._table)
        if not self._is_in_folder:  # the files' names are the folder's to keep
            os.fsync(self._folder)
            self._is_in_folder = True

    def abandon(self) -> None:
        """End it as it stood after the last whole moment; one without any is removed."""
        if not self.is_open:
            return
        with contextlib.suppress(OSError):
            os.ftruncate(self._data, self._data_bytes)
            os.ftruncate(self._table, self._table_bytes)
        self._close()
        if self.moments == 0:
            for suffix in (SUFFIX, TABLE):
                with contextlib.suppress(OSError):
                    os.unlink(self.name + suffix, dir_fd=self._folder)

    def finish(self) -> None:
        """End it well: with the ends of tar and gzip, on the disk. Where there is no room it stays without."""
        if not self.is_open:
            return
        if self.moments == 0:
            self.abandon()
            return
        try:
            packed = self._packer.compress(TAR_END) + self._packer.flush()
            _write_all(self._data, packed)
            _write_all(self._table, END)
            self._data_bytes += len(packed)
            self._table_bytes += len(END)
            self.sync()
        except OSError:
            self.abandon()
        self._close()

    def _close(self) -> None:
        if self.is_open:
            self.is_open = False
            for fd in (self._data, self._table):
                with contextlib.suppress(OSError):  # NFS tells of a full disk here, when it is too late
                    os.close(fd)


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
