"""Records of perf with the user's registers and stack (uapi/linux/perf_event.h; TID, TIME, RAW, REGS_USER, STACK_USER).

SAMPLE    pid, tid, time in ns, the raw record (bytes, then that many), ABI of the registers (0: none), a word for each
          register asked for, bytes of stack asked for, that many, and how many of these there were
LOST      id, how many
"""

import struct
from typing import Final, NamedTuple

from heaptop.parse.perf_sample import samples_of

_SAMPLE: Final = struct.Struct("<IIQI")
_WORD: Final = struct.Struct("<Q")


class StackSample(NamedTuple):
    """One event: who, when, its raw record, and where the program was. `abi` is 1 for a 32-bit program, 2 for others, 0
    where there are no registers (a kernel thread).
    """

    pid: int
    tid: int
    time_ns: int
    raw: bytes
    abi: int
    registers: tuple[int, ...]
    stack: bytes


def parse(data: bytes, registers: int) -> tuple[list[StackSample], int]:
    """All samples of whole records in a row, with so many registers each, and how many were lost or are damaged."""

    def understood(body: bytes) -> StackSample | None:
        try:
            return _sample(body, registers)
        except (struct.error, ValueError):
            return None

    return samples_of(data, understood)


def _sample(body: bytes, registers: int) -> StackSample:
    pid, tid, time_ns, raw_bytes = _SAMPLE.unpack_from(body)
    at = _SAMPLE.size + raw_bytes
    raw = body[_SAMPLE.size : at]
    (abi,) = _WORD.unpack_from(body, at)
    at += _WORD.size
    words: tuple[int, ...] = ()
    if abi:
        words = struct.unpack_from(f"<{registers}Q", body, at)
        at += registers * _WORD.size
    (size,) = _WORD.unpack_from(body, at)
    at += _WORD.size
    stack = body[at : at + size]
    if size:
        (used,) = _WORD.unpack_from(body, at + size)
        stack = stack[:used]
    if len(raw) < raw_bytes:
        raise ValueError("cut")
    return StackSample(pid, tid, time_ns, raw, abi, words, stack)
