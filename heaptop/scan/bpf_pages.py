"""Where buffers lie in memory, by a BPF program that follows their heap's own structs to page frames.

Pages of a heap's buffer stay where they are for its life, and inodes of dma-bufs are never used again within a boot
(drivers/dma-buf/dma-buf.c, dmabuf_inode), so each buffer is followed once.
"""

import errno
import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import closing, suppress
from typing import Final

from heaptop.capture import Raw, ReadError
from heaptop.pattern import pattern
from heaptop.scan import bpf_programs as programs
from heaptop.scan.bpf_call import Iterator, SharedMemory
from heaptop.scan.bpf_programs import CHUNK, CMA_HEAP, DMABUFS, FILES, HEADER, PAGE_BYTES, SYSTEM_HEAP, Row
from heaptop.scan.btf import FUNC, VMLINUX, Btf, BtfError, Types, has_struct
from heaptop.scan.btf_cache import KnownTypes
from heaptop.scan.files import read_file
from heaptop.scan.frames import first_struct_page

_STRUCTS: Final = {SYSTEM_HEAP: "system_heap_buffer", CMA_HEAP: "cma_heap_buffer"}
_MODULE: Final = pattern(r"\S+ \[(\w+)\]")
"""How the kernel prints a function of a module (kernel/kallsyms.c, __sprint_symbol)."""
_PASSING: Final = frozenset({errno.EAGAIN, errno.EINTR, errno.EMFILE, errno.ENFILE, errno.ENOMEM})
"""Errors after which it is worth to try again."""
_MAP_BYTES: Final = 1 << 20
_MAP_BYTES_MAX: Final = 64 << 20

Chunks = Mapping[int, Sequence[tuple[int, int]]]
"""Address of the first struct page and bytes of each chunk of a buffer, by inode."""


class PagePlaces:
    """Knows the buffers of one boot."""

    def __init__(
        self, btf: KnownTypes | Btf, modules: str = f"/{os.path.dirname(VMLINUX)}", *, of_descriptors: bool = False
    ) -> None:
        """`modules` is the folder that has the BTF of modules. Buffers are found by the iterator over them, or by the
        one over `of_descriptors`.
        """
        self._btf = btf
        self._of_descriptors = of_descriptors
        self._modules = modules
        self._lines: dict[int, bytes] = {}
        self._first: int | None = None
        self._failure: ReadError | None = None
        self._types: dict[str, Types | None] = {}

    def read(self, rows: Iterable[Row]) -> Raw | None:
        """A line for each of these buffers whose place can be told; None where there is none of a known heap."""
        known = {row.inode: row for row in rows if _heap_of(row) in _STRUCTS}
        if not known:
            return None
        if self._failure is None or self._failure.errno in _PASSING:
            self._failure = None
            try:
                self._follow({inode: row for inode, row in known.items() if self._types_of(row) is not None})
            except BtfError:
                self._failure = ReadError("btf", errno.ENOTSUP)
            except OSError as error:
                self._failure = ReadError("bpf", error.errno or errno.EIO)
        self._lines = {inode: line for inode, line in self._lines.items() if inode in known}
        return self._failure or b"".join(self._lines[inode] for inode in sorted(self._lines))

    def _follow(self, rows: Mapping[int, Row]) -> None:
        """Learn those that are not known. A buffer that is not whole in what was found is one that cannot be told."""
        if not rows and not any(self._types.values()):
            raise BtfError("no heap's buffers in this kernel's BTF")
        new = rows.keys() - self._lines.keys()
        if not new:
            return
        struct_page = self._btf.size("page")
        if self._first is None:
            self._first = first_struct_page(self._cached_pages, struct_page)
        found = self._chunks({row.operations: _heap_of(row) for row in rows.values()}, min(new) - 1)
        for inode in new & found.keys():
            chunks = once(found[inode], rows[inode].size_bytes)
            is_whole = sum(size for _, size in chunks) == rows[inode].size_bytes
            self._lines[inode] = line_of_runs(inode, chunks, self._first, struct_page) if is_whole else b""

    def _types_of(self, row: Row) -> Types | None:
        """The BTF that has the heap's own struct: vmlinux's, or that of the module that the heap is."""
        heap = _heap_of(row)
        if heap not in self._types:
            self._types[heap] = self._find_types(row.release, _STRUCTS[heap])
        return self._types[heap]

    def _find_types(self, release: str, struct: str) -> Types | None:
        if has_struct(self._btf, struct):
            return self._btf
        module = _MODULE.fullmatch(release)
        data = read_file(os.path.join(self._modules, module[1])) if module else None
        with suppress(BtfError):
            types = Btf(data, self._whole()) if isinstance(data, bytes) else None
            return types if types is not None and has_struct(types, struct) else None
        return None

    def _whole(self) -> Btf:
        return self._btf if isinstance(self._btf, Btf) else self._btf.whole()

    def _cached_pages(self) -> dict[int, int]:
        program, function_id = programs.files_program(self._btf), self._btf.id_of(FILES, FUNC)
        try:
            made = Iterator(program, function_id, of_this_process=True)
        except OSError as error:
            if error.errno not in {errno.E2BIG, errno.EINVAL}:
                raise
            made = Iterator(programs.files_program(self._btf, os.getpid()), function_id)  # before 6.1: of all processes
        with closing(made) as iterator:
            return programs.cached_pages(iterator.run())

    def _chunks(self, kinds: Mapping[int, str], after: int) -> Chunks:
        """Of every buffer of these kinds with an inode above `after`."""
        size = _MAP_BYTES
        while True:
            with closing(SharedMemory(size)) as shared:
                HEADER.pack_into(shared.memory, 0, after, 0)
                heaps = {heap: types for heap, types in self._types.items() if types is not None}
                program = programs.pages_program(
                    self._btf, kinds, shared.fd, size, heaps, of_descriptors=self._of_descriptors
                )
                function = FILES if self._of_descriptors else DMABUFS
                with closing(Iterator(program, self._btf.id_of(function, FUNC))) as iterator:
                    iterator.run()
                _, used = HEADER.unpack_from(shared.memory)
                if used <= size - HEADER.size or size >= _MAP_BYTES_MAX:
                    whole = min(used, size - HEADER.size) // CHUNK.size * CHUNK.size
                    return _by_inode(shared.memory[HEADER.size : HEADER.size + whole])
            size *= 4


def _heap_of(row: Row) -> str:
    """Its release function's name, without what a compiler or a module adds."""
    return row.release.partition(" ")[0].partition(".")[0]


def _by_inode(chunks: bytes) -> Chunks:
    found: dict[int, list[tuple[int, int]]] = {}
    for inode, page, size in CHUNK.iter_unpack(chunks):
        found.setdefault(inode, []).append((page, size))
    return found


def once(chunks: Sequence[tuple[int, int]], size_bytes: int) -> Sequence[tuple[int, int]]:
    """The first of the same chunks again and again: a buffer is met once for each of its descriptors."""
    found = 0
    for count, (_, size) in enumerate(chunks, 1):
        found += size
        if found >= size_bytes:
            return chunks[:count]
    return chunks


def line_of_runs(inode: int, chunks: Collection[tuple[int, int]], first: int, struct_page: int) -> bytes:
    """Inode and runs, `PFN+COUNT` in pages; empty where an address is no struct page's."""
    runs: list[list[int]] = []
    for page, size in chunks:
        frame, rest = divmod(page - first, struct_page)
        if rest or frame < 0:
            return b""
        if runs and sum(runs[-1]) == frame:
            runs[-1][1] += size // PAGE_BYTES
        else:
            runs.append([frame, size // PAGE_BYTES])
    return b"%d\t%s\n" % (inode, b" ".join(b"%d+%d" % (frame, count) for frame, count in runs))
