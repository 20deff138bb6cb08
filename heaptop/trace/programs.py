"""The BPF programs that tell of allocations and frees: each puts one record (`heaptop.parse.event_record`) in the ring.

They only read. They follow pointers by offsets that are either part of the kernel's interface to its drivers or were
found out on the running kernel (`heaptop.trace.layout`), through helpers to which a bad address is no fault.
"""

import platform
from typing import Final, NamedTuple

from heaptop.parse.event_record import ALLOC_COMMAND, HEADER, NUMBERS, RAW_BYTES, TEXT_BYTES, What
from heaptop.scan.bpf_asm import (
    GET_CURRENT_COMM,
    GET_CURRENT_PID_TGID,
    KTIME_GET_NS,
    NOT_EQUAL,
    PROBE_READ_KERNEL,
    PROBE_READ_KERNEL_STR,
    PROBE_READ_USER,
    R0,
    R1,
    R2,
    R3,
    R6,
    R7,
    R8,
    RINGBUF_RESERVE,
    RINGBUF_SUBMIT,
    STACK,
    Assembler,
)

LAYOUT_BYTES: Final = 128
"""How far into struct inode and struct file their layout is looked for."""
_WORD: Final = 8
_TAIL: Final = HEADER.size + NUMBERS.size
_EXPORT_INFO_NAME: Final = 0
_EXPORT_INFO_SIZE: Final = 24
"""struct dma_buf_export_info: exp_name first, size fourth (include/linux/dma-buf.h, 4.1 to 7.3)."""
_BUFFER_SIZE: Final = 0
_BUFFER_FILE: Final = 8
"""struct dma_buf: size and file come first (include/linux/dma-buf.h, 3.3 to 7.3)."""


class Machine(NamedTuple):
    """Where struct pt_regs keeps a function's first three arguments, and its result."""

    arguments: tuple[int, int, int]
    result: int


MACHINES: Final = {
    "x86_64": Machine((112, 104, 96), 80),
    "aarch64": Machine((0, 8, 16), 0),
}


class Layout(NamedTuple):
    """Offsets in structures whose layout depends on the kernel and its configuration."""

    inode_number: int
    file_inode: int


class Programs:
    """Makes the programs that write to one ring and count what finds no room in `lost` (a map's first 8 bytes)."""

    def __init__(self, ring_fd: int, lost_fd: int) -> None:
        self._ring_fd = ring_fd
        self._lost_fd = lost_fd
        self._machine = MACHINES[platform.machine()]

    def heap_call(self) -> bytes:
        """On entry of dma_heap_ioctl(file, cmd, arg): the length, first of struct dma_heap_allocation_data."""
        asm = Assembler()
        _, command, argument = self._machine.arguments
        asm.load(R8, R1, command)
        asm.mask(R8, 0xFFFF)
        asm.jump_if(R8, NOT_EQUAL, ALLOC_COMMAND, "end")
        asm.load(R8, R1, argument)
        self._begin(asm, What.CALL)
        _copy(asm, 0, _WORD, R8, 0, helper=PROBE_READ_USER)
        return _end(asm)

    def heap_return(self) -> bytes:
        """On return of dma_heap_ioctl."""
        asm = Assembler()
        asm.load(R8, R1, self._machine.result)
        self._begin(asm, What.RETURN)
        asm.store(R7, HEADER.size, R8)
        return _end(asm)

    def export_call(self) -> bytes:
        """On entry of dma_buf_export(info)."""
        asm = Assembler()
        asm.load(R8, R1, self._machine.arguments[0])
        self._begin(asm, What.EXPORTING, TEXT_BYTES)
        _copy(asm, 0, _WORD, R8, _EXPORT_INFO_SIZE)
        _follow(asm, R8, _EXPORT_INFO_NAME)
        _copy(asm, NUMBERS.size, TEXT_BYTES, R8, 0, helper=PROBE_READ_KERNEL_STR)
        return _end(asm)

    def export_return(self, layout: Layout) -> bytes:
        """On return of dma_buf_export: a buffer, or an error as a pointer."""
        asm = Assembler()
        asm.load(R8, R1, self._machine.result)
        self._begin(asm, What.EXPORTED)
        asm.store(R7, HEADER.size + 2 * _WORD, R8)
        _copy(asm, _WORD, _WORD, R8, _BUFFER_SIZE)
        _follow(asm, R8, _BUFFER_FILE)
        _follow(asm, R8, layout.file_inode)
        _copy(asm, 0, _WORD, R8, layout.inode_number)
        return _end(asm)

    def release(self, layout: Layout) -> bytes:
        """On entry of dma_buf_file_release(inode, file)."""
        asm = Assembler()
        asm.load(R8, R1, self._machine.arguments[0])
        self._begin(asm, What.RELEASED)
        _copy(asm, 0, _WORD, R8, layout.inode_number)
        return _end(asm)

    def tracepoint(self, what: What) -> bytes:
        """On a tracepoint: its record as it is."""
        asm = Assembler()
        asm.move(R8, R1)
        self._begin(asm, what, RAW_BYTES)
        _copy(asm, NUMBERS.size, RAW_BYTES, R8, 0)
        # At 0 the kernel keeps the event from all other perf events of the tracepoint (perf_trace_run_bpf_submit).
        return _end(asm, 1)

    def open_file(self) -> bytes:
        """On entry of any release(inode, file): both addresses, and the beginning of what is there."""
        asm = Assembler()
        asm.move(R8, R1)
        self._begin(asm, What.RELEASED, 2 * LAYOUT_BYTES)
        for number, argument in enumerate(self._machine.arguments[:2]):
            asm.load(R1, R8, argument)
            asm.store(R7, HEADER.size + number * _WORD, R1)
        for number in range(2):
            asm.load(R3, R7, HEADER.size + number * _WORD)
            asm.move(R1, R7)
            asm.add(R1, _TAIL + number * LAYOUT_BYTES)
            asm.constant(R2, LAYOUT_BYTES)
            asm.call(PROBE_READ_KERNEL)
        return _end(asm)

    def _begin(self, asm: Assembler, what: What, tail_bytes: int = 0) -> None:
        """R7 = a record in the ring with its header; R8 is kept. Without room it is counted, and that is all."""
        asm.map(R1, self._ring_fd)
        asm.constant(R2, _TAIL + tail_bytes)
        asm.constant(R3, 0)
        asm.call(RINGBUF_RESERVE)
        asm.move(R7, R0)
        asm.jump_if(R7, NOT_EQUAL, 0, "room")
        asm.map_value(R6, self._lost_fd)
        asm.constant(R1, 1)
        asm.add_to_memory(R6, 0, R1)
        asm.jump("end")
        asm.label("room")
        asm.call(GET_CURRENT_PID_TGID)
        asm.store(R7, 0, R0)
        asm.call(KTIME_GET_NS)
        asm.store(R7, 8, R0)
        asm.move(R1, R7)
        asm.add(R1, 16)
        asm.constant(R2, 16)
        asm.call(GET_CURRENT_COMM)
        asm.constant(R1, what)
        asm.store(R7, 32, R1)
        asm.constant(R1, 0)
        for at in range(HEADER.size, _TAIL, _WORD):
            asm.store(R7, at, R1)


def _copy(
    asm: Assembler, to: int, count_bytes: int, pointer: int, offset: int, *, helper: int = PROBE_READ_KERNEL
) -> None:
    """From `pointer` + `offset` to the record's place `to` after its header; zeroes where that cannot be read."""
    asm.move(R1, R7)
    asm.add(R1, HEADER.size + to)
    asm.constant(R2, count_bytes)
    asm.move(R3, pointer)
    asm.add(R3, offset)
    asm.call(helper)


def _follow(asm: Assembler, pointer: int, offset: int) -> None:
    """`pointer` = what is at `pointer` + `offset`; 0 where that cannot be read."""
    asm.stack(R1, -_WORD)
    asm.constant(R2, _WORD)
    asm.move(R3, pointer)
    asm.add(R3, offset)
    asm.call(PROBE_READ_KERNEL)
    asm.load(pointer, STACK, -_WORD)


def _end(asm: Assembler, value: int = 0) -> bytes:
    asm.move(R1, R7)
    asm.constant(R2, 0)
    asm.call(RINGBUF_SUBMIT)
    asm.label("end")
    asm.leave(value)
    return asm.program()
