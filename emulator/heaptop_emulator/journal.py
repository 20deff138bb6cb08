"""What a restart needs to know: the machine, and for each buffer its name, its pages and who asked for it.

A file of lines of JSON in the runtime folder, of one boot of the host: what kills the emulator does not touch it. The
first line is the header; then `["+", inode, heap, …]` for a buffer, `["-", inode]` where one is gone, `["n", inode,
name]` where one is named, `["d", inode, inode]` where a dma-buf stands for one. A last line without its end was cut
short. The file is written anew when most of it is about buffers that are gone, or when it could not be written (a full
disk): until then a restart knows less.
"""

import json
import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from typing import Final

from heaptop_emulator.folder import RuntimeFolder, tell
from heaptop_emulator.framework import Buffer, Record
from heaptop_emulator.heap import Run

FILE: Final = "journal"
VERSION: Final = 1
REWRITE_BYTES_MIN: Final = 1 << 20
"""A journal that is smaller is not written anew."""
BYTES_MAX: Final = 1 << 30
_NEW: Final = "journal.new"
_RETRY_AFTER_LINES: Final = 1000


@dataclass(frozen=True, slots=True)
class Header:
    """What does not change: the host's boot and the emulated one, what was asked for, and the scenario's processes."""

    host_boot_id: str
    boot_id: str
    setup: str
    is_lasting: bool
    started_at: float
    actors: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Memory:
    """All that a journal told; `serial` is that of the newest buffer there ever was."""

    header: Header
    records: Mapping[int, Record]
    serial: int


class Journal:
    """Writes it, line by line. No failure to write harms the emulator."""

    def __init__(self, folder: RuntimeFolder, header: Header) -> None:
        """Nothing is written before `begin`."""
        self._folder = folder
        self._header = header
        self._fd = -1
        self._lines: dict[int, bytes] = {}
        self._size_bytes = 0
        self._live_bytes = 0
        self._missed = 0
        self._serial = 0

    def begin(self, records: Iterable[tuple[Buffer, int]], serial: int) -> None:
        """Write the header and these buffers, with the pid that asked for each, in place of any journal there was."""
        self._serial = serial
        for buffer, pid in records:
            self._lines[buffer.inode] = _line(buffer, pid)
        self._live_bytes = sum(map(len, self._lines.values()))
        self._rewrite()

    def keep(self) -> None:
        """The emulator is a lasting one from now on."""
        self._header = replace(self._header, is_lasting=True)
        self._rewrite()

    def add(self, buffer: Buffer, pid: int) -> None:
        """A buffer is there."""
        line = _line(buffer, pid)
        self._serial = buffer.serial
        self._lines[buffer.inode] = line
        self._live_bytes += len(line)
        self._write(line)

    def name(self, buffer: Buffer, pid: int) -> None:
        """A buffer has a name."""
        self._relined(buffer, pid)
        self._write(b'["n",%d,%s]\n' % (buffer.inode, _text(buffer.name)))

    def replace(self, buffer: Buffer, pid: int) -> None:
        """A dma-buf stands for a buffer."""
        self._relined(buffer, pid)
        self._write(b'["d",%d,%d]\n' % (buffer.inode, buffer.shown_inode))

    def remove(self, inode: int) -> None:
        """A buffer is gone."""
        self._live_bytes -= len(self._lines.pop(inode))
        self._write(b'["-",%d]\n' % inode)

    def close(self) -> None:
        """Write no more."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _relined(self, buffer: Buffer, pid: int) -> None:
        line = _line(buffer, pid)
        self._live_bytes += len(line) - len(self._lines[buffer.inode])
        self._lines[buffer.inode] = line

    def _write(self, line: bytes) -> None:
        if self._fd < 0:
            self._missed += 1
            if self._missed % _RETRY_AFTER_LINES == 0:
                self._rewrite()
        elif self._size_bytes > max(REWRITE_BYTES_MIN, 4 * self._live_bytes):
            self._rewrite()
        else:
            try:
                if os.write(self._fd, line) != len(line):
                    self._fail("no room")
            except OSError as error:
                self._fail(error.strerror or "")
            self._size_bytes += len(line)

    def _rewrite(self) -> None:
        self.close()
        raw = b"".join((_header_line(self._header, self._serial), *self._lines.values()))
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            fd = os.open(_NEW, flags, 0o600, dir_fd=self._folder.fd)
            with open(fd, "wb", closefd=False) as file:
                file.write(raw)
            os.rename(_NEW, FILE, src_dir_fd=self._folder.fd, dst_dir_fd=self._folder.fd)
        except OSError as error:
            self._folder.remove(_NEW)
            self._fail(error.strerror or "")
            return
        self._fd = fd
        self._size_bytes = len(raw)
        self._missed = 0

    def _fail(self, why: str) -> None:
        self.close()
        if not self._missed:
            tell(f"{self._folder.path}/{FILE}: {why}: buffers would not survive a restart")
            self._missed = 1


def read(folder: RuntimeFolder) -> Memory | None:
    """What was written down in this boot of the host; None where there is nothing of use."""
    with suppress(OSError, ValueError, LookupError, TypeError):
        fd = os.open(FILE, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder.fd)
        with open(fd, "rb") as file:
            lines = file.read(BYTES_MAX).split(b"\n")[:-1]
        fields = json.loads(lines[0])
        if fields.pop("version") == VERSION and fields["host_boot_id"] == host_boot_id():
            serial = fields.pop("serial")
            header = Header(**{**fields, "actors": tuple(fields["actors"])})
            return _memory(header, lines[1:], serial)
    return None


def host_boot_id() -> str:
    """Of the machine that the emulator runs on; empty where it has none."""
    with suppress(OSError), open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        return file.read().strip()
    return ""


def _memory(header: Header, lines: Iterable[bytes], serial: int) -> Memory:
    records: dict[int, Record] = {}
    for line in lines:
        kind, inode, *more = json.loads(line)
        match kind:
            case "+":
                heap, size_bytes, access, number, name, pid, runs, dmabuf = more
                pages = tuple(Run(pfn, count) for pfn, count in runs)
                records[inode] = Record(inode, heap, size_bytes, access, number, _bytes(name), pid, pages, dmabuf)
                serial = max(serial, number)
            case "-":
                del records[inode]
            case "n":
                records[inode] = replace(records[inode], name=_bytes(more[0]))
            case "d":
                records[inode] = replace(records[inode], dmabuf=more[0])
    return Memory(header, records, serial)


def _header_line(header: Header, serial: int) -> bytes:
    return json.dumps({"version": VERSION, "serial": serial, **asdict(header)}).encode() + b"\n"


def _line(buffer: Buffer, pid: int) -> bytes:
    runs = b",".join([b"[%d,%d]" % (run.pfn, run.count_pages) for run in buffer.pages.runs()])
    return b'["+",%d,"%s",%d,%d,%d,%s,%d,[%s],%s]\n' % (
        buffer.inode,
        buffer.heap.encode(),
        buffer.size_bytes,
        buffer.access,
        buffer.serial,
        _text(buffer.name),
        pid,
        runs,
        b"null" if buffer.dmabuf is None else b"%d" % buffer.dmabuf,
    )


def _text(name: bytes | None) -> bytes:
    return b"null" if name is None else json.dumps(name.decode("latin-1")).encode()


def _bytes(name: str | None) -> bytes | None:
    return None if name is None else name.encode("latin-1")
