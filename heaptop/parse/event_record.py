"""What heaptop's probes tell, as steps: records of its own BPF programs (`heaptop.trace.programs`), and fields of
tracepoints and of kprobes without BPF (`heaptop.trace.perf_way`).

A record of a program:

HEADER    pid and tid (one number, pid above), CLOCK_MONOTONIC in ns, comm, what
NUMBERS   three numbers: what they are depends on `what`
then nothing, a text that ends in NUL, or a tracepoint's record as the kernel made it (see `trace_format`)
"""

import struct
from collections.abc import Mapping
from enum import IntEnum
from typing import Final, NamedTuple

from heaptop.errors import ParseError
from heaptop.parse.trace_format import Format

HEADER: Final = struct.Struct("<QQ16sQ")
NUMBERS: Final = struct.Struct("<QQQ")
TEXT_BYTES: Final = 64
RAW_BYTES: Final = 192
ALLOC_COMMAND: Final = 0x4800
"""Type and number of DMA_HEAP_IOCTL_ALLOC; its size varies (drivers/dma-buf/dma-heap.c takes any)."""
ERRNO_MAX: Final = 4095
"""What the kernel packs into a pointer (include/linux/err.h)."""


class What(IntEnum):
    """What a record tells, and its numbers."""

    CALL = 1
    """dma_heap_ioctl with ALLOC begins: the length asked for."""
    RETURN = 2
    """dma_heap_ioctl ends: its result."""
    EXPORTING = 3
    """dma_buf_export begins: the size; the exporter's name is the text."""
    EXPORTED = 4
    """dma_buf_export ends: inode, size, and the address of the buffer or an error."""
    RELEASED = 5
    """The last reference is gone: inode."""
    TRACE_EXPORTED = 6
    """Tracepoint dma_buf:dma_buf_export (7.0 on)."""
    TRACE_CMA_BUSY = 7
    """Tracepoint cma:cma_alloc_busy_retry (6.1 on)."""
    TRACE_CMA_DONE = 8
    """Tracepoint cma:cma_alloc_finish (6.1 on)."""


class Step(NamedTuple):
    """One record. `result` is 0 or an error as the kernel returns it, negative; None where not told."""

    what: What
    pid: int
    tid: int
    time_ns: int
    comm: bytes
    inode: int | None = None
    size_bytes: int | None = None
    exporter: bytes | None = None
    result: int | None = None
    area: bytes | None = None
    pfn: int | None = None
    count_pages: int | None = None
    align_order: int | None = None


def parse(data: bytes, formats: Mapping[What, Format]) -> Step:
    """One record; `formats` are those of the tracepoints that are watched.

    Raises:
        ParseError: no such record.
    """
    try:
        ids, time_ns, comm, number = HEADER.unpack_from(data)
        numbers = NUMBERS.unpack_from(data, HEADER.size)
        what = What(number)
    except (struct.error, ValueError) as error:
        raise ParseError("event record", str(error)) from error
    step = Step(what, ids >> 32, ids & 0xFFFFFFFF, time_ns, comm.partition(b"\0")[0])
    rest = data[HEADER.size + NUMBERS.size :]
    if what < What.TRACE_EXPORTED:
        return _probed(step, numbers, rest)
    if what not in formats:
        raise ParseError("event record", f"the format of {what.name} is not known")
    return _traced(step, formats[what].decode(rest))


def _probed(step: Step, numbers: tuple[int, int, int], rest: bytes) -> Step:
    """A bad address reads as 0, which none of these values is."""
    first, second, third = numbers
    match step.what:
        case What.CALL:
            return step._replace(size_bytes=first)
        case What.RETURN:
            return step._replace(result=_signed(first))
        case What.EXPORTING:
            return step._replace(size_bytes=first or None, exporter=rest.partition(b"\0")[0] or None)
        case What.EXPORTED if -ERRNO_MAX <= _signed(third) <= 0:
            return step._replace(result=_signed(third))
        case What.EXPORTED:
            return step._replace(inode=first or None, size_bytes=second or None, result=0)
        case _:
            return step._replace(inode=first or None)


def of_fields(what: What, pid: int, tid: int, time_ns: int, fields: Mapping[str, int | bytes]) -> Step | None:
    """A step from the fields of a tracepoint, or of a kprobe that `heaptop.trace.perf_way` defined; None for a call of
    dma_heap_ioctl that is no ALLOC.
    """
    step = Step(what, pid, tid, time_ns, _text(fields, "comm") or b"")
    if what in {What.TRACE_EXPORTED, What.TRACE_CMA_BUSY, What.TRACE_CMA_DONE}:
        return _traced(step, fields)
    result = _number(fields, "result")
    match what:
        case What.CALL:
            is_alloc = (_number(fields, "command") or 0) & 0xFFFF == ALLOC_COMMAND
            return step._replace(size_bytes=_number(fields, "size")) if is_alloc else None
        case What.RETURN:
            return step._replace(result=result)
        case What.EXPORTING:
            return step._replace(size_bytes=_number(fields, "size") or None, exporter=_text(fields, "exporter") or None)
        case What.EXPORTED if result is not None and -ERRNO_MAX <= result <= 0:
            return step._replace(result=result)
        case _:
            inode, size_bytes = _number(fields, "inode") or None, _number(fields, "size") or None
            return step._replace(inode=inode, size_bytes=size_bytes, result=0 if what == What.EXPORTED else None)


def _traced(step: Step, fields: Mapping[str, int | bytes]) -> Step:
    if step.what == What.TRACE_EXPORTED:
        size_bytes, inode = _number(fields, "size"), _number(fields, "ino")
        return step._replace(inode=inode, size_bytes=size_bytes, exporter=_text(fields, "exp_name"), result=0)
    result = _number(fields, "errorno")
    if result is None and step.what == What.TRACE_CMA_DONE:  # before 6.12 only the missing page tells
        result = 0 if _number(fields, "page") else None
    return step._replace(
        area=_text(fields, "name"),
        pfn=_number(fields, "pfn"),
        count_pages=_number(fields, "count"),
        align_order=_number(fields, "align"),
        result=result,
    )


def _number(fields: Mapping[str, int | bytes], name: str) -> int | None:
    value = fields.get(name)
    return value if isinstance(value, int) else None


def _text(fields: Mapping[str, int | bytes], name: str) -> bytes | None:
    value = fields.get(name)
    return value if isinstance(value, bytes) else None


def _signed(number: int) -> int:
    return number - (1 << 64) if number >> 63 else number
