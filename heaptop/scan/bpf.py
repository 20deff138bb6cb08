"""All dma-bufs, asked by a BPF program of our own (6.16 on), as text: see docs/recording.md. Nothing stays behind.

A kernel without the iterator over dma-bufs may have the one over descriptors (5.8 on): it tells where those buffers lie
that a process holds by one.
"""

import errno
import os
import time
from collections.abc import Iterable
from typing import Final

from heaptop.capture import Raw, ReadError
from heaptop.scan import bpf_programs as programs
from heaptop.scan.bpf_call import Iterator, is_known_machine
from heaptop.scan.bpf_pages import PagePlaces
from heaptop.scan.bpf_programs import DMABUFS, FILES, Row
from heaptop.scan.btf import FUNC, VMLINUX, BtfError, has_function
from heaptop.scan.btf_cache import types_of

LIST: Final = "bpf/dmabuf_iter"
PAGES: Final = "bpf/dmabuf_pages"
_REST: Final = 50
"""So many times as long as it takes, the pass over all descriptors rests: 2 % of a processor at most."""
_HEADING: Final = b"ino\tsize\tcount\texp_name\tname\n"
_ESCAPES: Final = ((b"\\", rb"\134"), (b"\t", rb"\011"), (b"\n", rb"\012"))


class BpfSource:
    """Asks this kernel. The program is loaded when it is first asked, and taken away by `close`."""

    def __init__(self, vmlinux: str = f"/{VMLINUX}") -> None:
        self._vmlinux = vmlinux
        self._list: Iterator | ReadError | None = None
        self._is_tried = False
        self._is_of_descriptors = False
        self._rest_until = 0.0
        self._places: Raw | None = None
        self._pages: PagePlaces | None = None

    def read(self) -> dict[str, Raw]:
        """The list of buffers and where they lie, by path, or why not; nothing where the kernel has no iterator."""
        if not self._is_tried:
            self._is_tried = True
            self._list = self._load()
        found = self._read(self._list)
        types_of(self._vmlinux).keep()
        return found

    def _read(self, iterator: Iterator | ReadError | None) -> dict[str, Raw]:
        if iterator is None:
            return {}
        if isinstance(iterator, ReadError):
            return {} if self._is_of_descriptors else {LIST: iterator}
        if self._is_of_descriptors:
            return self._of_descriptors(iterator)
        try:
            rows = sorted(programs.rows(iterator.run()), key=lambda row: row.inode)
        except OSError as error:
            return {LIST: ReadError("read", error.errno or errno.EIO)}
        files: dict[str, Raw] = {LIST: text_of_rows(rows)}
        places = self._pages.read(rows) if self._pages is not None else None
        return files if places is None else files | {PAGES: places}

    def _of_descriptors(self, iterator: Iterator) -> dict[str, Raw]:
        """Where those lie that are held by descriptors. All open files are passed, which is done as seldom as it takes
        long.
        """
        began = time.monotonic()
        if began >= self._rest_until and self._pages is not None:
            try:
                rows = {row.inode: row for row in programs.rows(iterator.run())}
                self._places = self._pages.read(rows.values())
            except OSError as error:
                self._places = ReadError("read", error.errno or errno.EIO)
            ended = time.monotonic()
            self._rest_until = ended + _REST * (ended - began)
        return {} if self._places is None else {PAGES: self._places}

    def close(self) -> None:
        """Take the programs away. May be called twice."""
        if isinstance(self._list, Iterator):
            self._list.close()
        self._list = None

    def _load(self) -> Iterator | ReadError | None:
        types = types_of(self._vmlinux)
        function = next((name for name in (DMABUFS, FILES) if has_function(types, name)), None)
        if not is_known_machine() or function is None:
            return None
        self._is_of_descriptors = function == FILES
        try:
            program = programs.held_program(types) if self._is_of_descriptors else programs.list_program(types)
            iterator = Iterator(program, types.id_of(function, FUNC))
        except BtfError:
            return ReadError("btf", errno.ENOTSUP)
        except OSError as error:
            return ReadError("bpf", error.errno or errno.EIO)
        self._pages = PagePlaces(types, os.path.dirname(self._vmlinux), of_descriptors=self._is_of_descriptors)
        return iterator


def text_of_rows(rows: Iterable[Row]) -> bytes:
    """The list as text: a heading, then a line for each buffer."""
    return _HEADING + b"".join(map(_line, rows))


def _line(row: Row) -> bytes:
    """A buffer without a name has no fifth column."""
    line = b"%d\t%d\t%d\t%s" % (row.inode, row.size_bytes, row.file_count, _escaped(row.exporter))
    return line + b"\n" if row.name is None else line + b"\t%s\n" % _escaped(row.name)


def _escaped(text: bytes) -> bytes:
    for byte, escape in _ESCAPES:
        text = text.replace(byte, escape)
    return text
