"""`alloc` without a name, and its answer, in few bytes: a supervised program may ask for ten thousand buffers a second.

A message that begins with one of these two bytes is no JSON.
"""

import struct
from collections.abc import Mapping
from typing import Final

REQUEST: Final = b"\x01"
ANSWER: Final = b"\x02"
_REQUEST: Final = struct.Struct("=cQIQI")
_ANSWER: Final = struct.Struct("=cIQQ")


def request(heap: str, length: int, fd_flags: int, heap_flags: int, pid: int) -> bytes:
    """`alloc`; a pid of 0 is the client itself."""
    return _REQUEST.pack(REQUEST, length, fd_flags, heap_flags, pid) + heap.encode("utf-8", "surrogateescape")


def answer(fields: Mapping[str, object]) -> bytes:
    """What became of it."""
    return _ANSWER.pack(ANSWER, fields["errno"], fields.get("inode", 0), fields.get("size_bytes", 0))


def fields(raw: bytes) -> dict[str, object] | None:
    """The fields of either, named as in JSON; None where it is neither.

    Raises:
        ValueError: it is damaged.
    """
    kind = raw[:1]
    try:
        if kind == REQUEST:
            _, length, fd_flags, heap_flags, pid = _REQUEST.unpack_from(raw)
            heap = raw[_REQUEST.size :].decode("utf-8", "surrogateescape")
            return {
                "op": "alloc",
                "heap": heap,
                "len": length,
                "fd_flags": fd_flags,
                "heap_flags": heap_flags,
                "pid": pid or None,
            }
        if kind == ANSWER:
            _, number, inode, size_bytes = _ANSWER.unpack(raw)
            return {"errno": number, "inode": inode, "size_bytes": size_bytes}
    except struct.error as error:
        raise ValueError(str(error)) from error
    return None
