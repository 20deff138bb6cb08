"""Records of perf's ring buffers, as heaptop asks for them (uapi/linux/perf_event.h; sample_type TID, TIME, RAW).

HEADER    type, misc, size of the whole record
SAMPLE    pid, tid, time in ns, bytes of the raw record that follows: a tracepoint's, as `trace_format` describes it
LOST      id, how many
"""

import struct
from collections.abc import Callable
from typing import Final, NamedTuple, TypeVar

LOST, SAMPLE = 2, 9
HEADER: Final = struct.Struct("<IHH")
_SAMPLE: Final = struct.Struct("<IIQI")
_LOST: Final = struct.Struct("<QQ")
_NUMBER: Final = struct.Struct("<H")

_S = TypeVar("_S")


class Sample(NamedTuple):
    """One event: who, when, and its raw record. `number` is the tracepoint's (its format's ID)."""

    pid: int
    tid: int
    time_ns: int
    number: int
    raw: bytes


def parse(data: bytes) -> tuple[list[Sample], int]:
    """All samples of whole records in a row, and how many were lost or cannot be understood."""
    return samples_of(data, _sample)


def samples_of(data: bytes, understand: Callable[[bytes], _S | None]) -> tuple[list[_S], int]:
    """What `understand` makes of each whole sample record's body, and how many were lost or gave None."""
    samples: list[_S] = []
    lost = at = 0
    while at + HEADER.size <= len(data):
        kind, _, size = HEADER.unpack_from(data, at)
        if size < HEADER.size or at + size > len(data):
            return samples, lost + 1
        body = data[at + HEADER.size : at + size]
        at += size
        if kind == LOST and len(body) >= _LOST.size:
            lost += _LOST.unpack_from(body)[1]
        elif kind == SAMPLE:
            sample = understand(body)
            lost += sample is None
            samples += [] if sample is None else [sample]
    return samples, lost


def _sample(body: bytes) -> Sample | None:
    if len(body) < _SAMPLE.size:
        return None
    pid, tid, time_ns, raw_bytes = _SAMPLE.unpack_from(body)
    raw = body[_SAMPLE.size : _SAMPLE.size + raw_bytes]
    if len(raw) < raw_bytes or raw_bytes < _NUMBER.size:
        return None
    return Sample(pid, tid, time_ns, _NUMBER.unpack_from(raw)[0], raw)
