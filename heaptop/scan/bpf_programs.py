"""The BPF programs that heaptop loads to list buffers and their pages, and what each writes.

Each is called by a kernel's iterator (kernel/bpf/dmabuf_iter.c, 6.16 on; task_iter.c, 5.8 on) once for each item and
once with none at the end, only reads, and is made from the offsets in that kernel's own BTF.
"""

import os
import struct
from collections.abc import Iterator, Mapping
from contextlib import suppress
from types import MappingProxyType
from typing import Final, NamedTuple

from heaptop.scan.bpf_asm import (
    EQUAL,
    GREATER,
    NOT_EQUAL,
    PROBE_READ_KERNEL,
    PROBE_READ_KERNEL_STR,
    R0,
    R1,
    R2,
    R3,
    R4,
    R5,
    R6,
    R7,
    R8,
    R9,
    SEQ_PRINTF,
    SEQ_WRITE,
    SET,
    STACK,
    Assembler,
)
from heaptop.scan.btf import BtfError, Types

DMABUFS: Final = "bpf_iter_dmabuf"
FILES: Final = "bpf_iter_task_file"
"""The iterators, by the function that stands for each in BTF."""

_ROW: Final = struct.Struct("<QQqQQ64s32s")
_RELEASE: Final = b"%ps\n\0"
_FILE: Final = struct.Struct("<QQ")

SYSTEM_HEAP: Final = "system_heap_dma_buf_release"
CMA_HEAP: Final = "cma_heap_dma_buf_release"
"""Release functions of the heaps whose buffers' pages can be followed (drivers/dma-buf/heaps, 5.11 on)."""

HEADER: Final = struct.Struct("<QQ")
"""Start of the pages' map: buffers up to this inode are left out; how many bytes of chunks there are (or would be)."""
CHUNK: Final = struct.Struct("<QQQ")
"""Inode, address of the first struct page, bytes: neighbouring pages of one buffer, in its order."""

PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")
_DMA_BUF_MAGIC: Final = 0x444D4142
"""include/uapi/linux/magic.h, 5.3 on."""
_SG_CHAIN: Final = 1
_SG_END: Final = 2
"""Low bits of a scatter list entry's page_link (include/linux/scatterlist.h)."""


class Row(NamedTuple):
    """A buffer as the list has it. `operations` is its exporter's dma_buf_ops and `release` the function in there."""

    inode: int
    size_bytes: int
    file_count: int
    exporter: bytes
    name: bytes | None
    operations: int
    release: str


def list_program(btf: Types) -> bytes:
    """Writes a `_ROW` and the release function's name for each buffer. Raises BtfError where it cannot be made."""
    asm = Assembler()
    buffer = "dma_buf"
    count_at, bias = file_count(btf)
    row, seq = -_ROW.size, R9
    _begin(asm, btf, "bpf_iter__dmabuf", "dmabuf", seq)
    asm.clear_stack(row, _ROW.size)
    asm.load(R1, R7, btf.offset(buffer, "file"))
    asm.load(R2, R1, count_at)
    asm.add(R2, bias)
    asm.store(STACK, row + 16, R2)
    asm.load(R2, R1, btf.offset("file", "f_inode"), btf.offset("inode", "i_ino"))
    asm.store(STACK, row, R2)
    for at, member in ((8, "size"), (24, "name"), (32, "ops")):
        asm.load(R1, R7, btf.offset(buffer, member))
        asm.store(STACK, row + at, R1)
    for at, size, member in ((40, 64, "exp_name"), (104, 32, "name")):
        asm.stack(R1, row + at)
        asm.constant(R2, size)
        asm.load(R3, R7, btf.offset(buffer, member))
        asm.call(PROBE_READ_KERNEL_STR)
    _write(asm, seq, row, _ROW.size)
    asm.load(R1, R7, btf.offset(buffer, "ops"), btf.offset("dma_buf_ops", "release"))
    _write_release(asm, seq)
    return _end(asm)


def held_program(btf: Types) -> bytes:
    """For kernels without the iterator over buffers: writes a `_ROW`, with no more than inode, size and operations, and
    the release function's name, for each descriptor of one. Raises BtfError where it cannot be made.
    """
    asm = Assembler()
    row, seq = -_ROW.size, R9
    _begin(asm, btf, "bpf_iter__task_file", "file", seq)
    _of_descriptor(asm, btf)
    asm.clear_stack(row, _ROW.size)
    asm.store(STACK, row, R8)
    for at, member in ((8, "size"), (32, "ops")):
        _follow(asm, R7, btf.offset("dma_buf", member), row + at, 8)
    asm.load(R8, STACK, row + 32)
    _write(asm, seq, row, _ROW.size)
    _follow(asm, R8, btf.offset("dma_buf_ops", "release"), -16, 8)
    asm.load(R1, STACK, -16)
    _write_release(asm, seq)
    return _end(asm)


def _of_descriptor(asm: Assembler, btf: Types) -> None:
    """From an open file in R7: R8 = its inode's number, R7 = the buffer that it is, as an address without a type; the
    end where it is none. A buffer's file has it as private data (drivers/dma-buf/dma-buf.c, all kernels), and its
    inode is of the file system of dma-bufs (5.3 on).
    """
    asm.load(R1, R7, btf.offset("file", "f_inode"), btf.offset("inode", "i_sb"), btf.offset("super_block", "s_magic"))
    asm.jump_if(R1, NOT_EQUAL, _DMA_BUF_MAGIC, "end")
    asm.load(R8, R7, btf.offset("file", "f_inode"), btf.offset("inode", "i_ino"))
    asm.load(R7, R7, btf.offset("file", "private_data"))


def _write_release(asm: Assembler, seq: int) -> None:
    """The name of the function at the address in R1, and a line feed."""
    asm.store(STACK, -16, R1)
    asm.constant(R1, int.from_bytes(_RELEASE, "little"))
    asm.store(STACK, -8, R1)
    asm.move(R1, seq)
    asm.stack(R2, -8)
    asm.constant(R3, len(_RELEASE))
    asm.stack(R4, -16)
    asm.constant(R5, 8)
    asm.call(SEQ_PRINTF)
    asm.jump_if(R0, EQUAL, 0, "end")
    _write(asm, seq, _RELEASE.index(b"\n") - 8, 1)  # it can fail where another program is just printing (EBUSY)


def rows(output: bytes) -> Iterator[Row]:
    """What the list program wrote."""
    at = 0
    while (end := output.find(b"\n", at + _ROW.size)) >= 0:
        inode, size, count, name_at, operations, exporter, name = _ROW.unpack_from(output, at)
        release = output[at + _ROW.size : end].decode("latin-1")
        at = end + 1
        given = name.partition(b"\0")[0] if name_at else None
        yield Row(inode, size, count, exporter.partition(b"\0")[0], given, operations, release)


def file_count(btf: Types) -> tuple[int, int]:
    """Where a file's count lies, and what to add: the iterator holds a reference of its own, and from 6.13 on the
    first reference is counted as 0 (file_ref_t).
    """
    with suppress(BtfError):
        return btf.offset("file", "f_ref", "refcnt", "counter"), 0
    return btf.offset("file", "f_count", "counter"), -1


def pages_program(
    btf: Types,
    kinds: Mapping[int, str],
    map_fd: int,
    map_bytes: int,
    heaps: Mapping[str, Types] = MappingProxyType({}),
    *,
    of_descriptors: bool = False,
) -> bytes:
    """Puts `CHUNK`s of each buffer with an inode above the header's into a map. `kinds` are the release functions by
    the address of the dma_buf_ops that have them; `heaps` has by release function the BTF of heaps that are modules.
    It is one for each buffer, or one for each descriptor of one. Raises BtfError where it cannot be made.
    """
    asm = Assembler()
    if of_descriptors:
        _begin(asm, btf, "bpf_iter__task_file", "file", R9)
        _of_descriptor(asm, btf)
    else:
        _begin(asm, btf, "bpf_iter__dmabuf", "dmabuf", R9)
        asm.load(R8, R7, btf.offset("dma_buf", "file"), btf.offset("file", "f_inode"), btf.offset("inode", "i_ino"))
    asm.map_value(R6, map_fd)
    asm.load(R1, R6, 0)
    asm.jump_if_register(R1, GREATER, R8, "end")
    asm.jump_if_register(R1, EQUAL, R8, "end")
    asm.store(STACK, -CHUNK.size, R8)
    for at, member in ((-16, "priv"), (-8, "ops")):
        _follow(asm, R7, btf.offset("dma_buf", member), at, 8)
    asm.load(R1, STACK, -8)
    asm.load(R9, STACK, -16)
    for operations, release in kinds.items():
        asm.constant(R2, operations)
        asm.jump_if_register(R1, EQUAL, R2, release)
    asm.jump("end")
    if CMA_HEAP in kinds.values():
        asm.label(CMA_HEAP)
        _cma_pages(asm, heaps.get(CMA_HEAP, btf), map_bytes)
    if SYSTEM_HEAP in kinds.values():
        asm.label(SYSTEM_HEAP)
        _scatter_list(asm, heaps.get(SYSTEM_HEAP, btf), map_bytes)
    return _end(asm)


def _cma_pages(asm: Assembler, btf: Types, map_bytes: int) -> None:
    """One chunk: struct cma_heap_buffer's cma_pages and pagecount (cma_heap.c)."""
    for at, member in ((-16, "cma_pages"), (-8, "pagecount")):
        _follow(asm, R9, btf.offset("cma_heap_buffer", member), at, 8)
    asm.load(R1, STACK, -8)
    asm.multiply(R1, PAGE_BYTES)
    asm.store(STACK, -8, R1)
    _keep_chunk(asm, map_bytes, "end")
    asm.jump("end")


def _scatter_list(asm: Assembler, btf: Types, map_bytes: int) -> None:
    """A chunk for each entry of struct system_heap_buffer's sg_table (system_heap.c)."""
    entry_bytes = btf.size("scatterlist")
    entry = -CHUNK.size - (entry_bytes + 7 & ~7)
    _follow(asm, R9, btf.offset("system_heap_buffer", "sg_table", "sgl"), -16, 8)
    asm.load(R9, STACK, -16)
    asm.label("entry")
    asm.give_up_late("end")
    _follow(asm, R9, 0, entry, entry_bytes)
    asm.jump_if(R0, NOT_EQUAL, 0, "end")
    asm.load(R7, STACK, entry + btf.offset("scatterlist", "page_link"))
    asm.add(R9, entry_bytes)
    asm.jump_if(R7, SET, _SG_CHAIN, "chain")
    asm.move(R1, R7)
    asm.mask(R1, ~(_SG_CHAIN | _SG_END))
    asm.store(STACK, -16, R1)
    asm.load_32(R1, STACK, entry + btf.offset("scatterlist", "length"))
    asm.store(STACK, -8, R1)
    _keep_chunk(asm, map_bytes, "kept")
    asm.label("kept")
    asm.jump_if(R7, SET, _SG_END, "end")
    asm.jump("entry")
    asm.label("chain")
    asm.mask(R7, ~(_SG_CHAIN | _SG_END))
    asm.move(R9, R7)
    asm.jump("entry")


def _follow(asm: Assembler, pointer: int, offset: int, to: int, count_bytes: int) -> None:
    """Copies from a pointer without a type to STACK + `to`; a bad address is no fault, and then R0 is not 0."""
    asm.stack(R1, to)
    asm.constant(R2, count_bytes)
    asm.move(R3, pointer)
    asm.add(R3, offset)
    asm.call(PROBE_READ_KERNEL)


def _keep_chunk(asm: Assembler, map_bytes: int, full: str) -> None:
    """Puts the chunk at the stack's end into the map at R6, unless it is full; counts it all the same."""
    asm.load(R1, R6, 8)
    asm.move(R2, R1)
    asm.add(R2, CHUNK.size)
    asm.store(R6, 8, R2)
    asm.jump_if(R1, GREATER, map_bytes - HEADER.size - CHUNK.size, full)
    asm.move(R2, R6)
    asm.add_register(R2, R1)
    for at in range(0, CHUNK.size, 8):
        asm.load(R1, STACK, at - CHUNK.size)
        asm.store(R2, HEADER.size + at, R1)


def files_program(btf: Types, pid: int | None = None) -> bytes:
    """Writes a `_FILE` for each open file, of that process alone where given: its fd, and the first entry of its page
    cache.
    """
    asm = Assembler()
    _begin(asm, btf, "bpf_iter__task_file", "file", R9)
    if pid is not None:
        asm.load(R1, R6, btf.offset("bpf_iter__task_file", "task"))
        asm.jump_if(R1, EQUAL, 0, "end")
        asm.load_32(R1, R1, btf.offset("task_struct", "tgid"))
        asm.jump_if(R1, NOT_EQUAL, pid, "end")
    asm.load_32(R1, R6, btf.offset("bpf_iter__task_file", "fd"))
    asm.store(STACK, -16, R1)
    head = btf.offset("address_space", "i_pages", "xa_head")
    asm.load(R1, R7, btf.offset("file", "f_mapping"), head)
    asm.store(STACK, -8, R1)
    _write(asm, R9, -16, _FILE.size)
    return _end(asm)


def cached_pages(output: bytes) -> dict[int, int]:
    """What the files program wrote: by fd, the address of the struct page of a file that has just one."""
    return dict(_FILE.iter_unpack(output[: len(output) // _FILE.size * _FILE.size]))


def _begin(asm: Assembler, btf: Types, context: str, item: str, seq: int) -> None:
    """R6 = the context, R7 = the item; at the end of the items there is none."""
    asm.move(R6, R1)
    asm.load(seq, R6, btf.offset(context, "meta"), btf.offset("bpf_iter_meta", "seq"))
    asm.load(R7, R6, btf.offset(context, item))
    asm.jump_if(R7, EQUAL, 0, "end")


def _write(asm: Assembler, seq: int, offset: int, count_bytes: int) -> None:
    asm.move(R1, seq)
    asm.stack(R2, offset)
    asm.constant(R3, count_bytes)
    asm.call(SEQ_WRITE)


def _end(asm: Assembler) -> bytes:
    asm.label("end")
    asm.leave()
    return asm.program()
