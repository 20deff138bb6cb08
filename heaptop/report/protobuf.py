"""The little of protobuf's encoding that a trace needs (protobuf.dev/programming-guides/encoding). Pure."""

from typing import Final

VARINT: Final = 0
LENGTH: Final = 2
Value = int | str | bytes
"""An integer, text, or a message that is encoded already."""


def varint(value: int) -> bytes:
    """Seven bits a byte, the lowest first; a negative one as its 64-bit two's complement."""
    value &= (1 << 64) - 1
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def message(*fields: tuple[int, Value]) -> bytes:
    """The fields by their numbers, in this order."""
    out = bytearray()
    for number, value in fields:
        if isinstance(value, int):
            out += varint(number << 3 | VARINT) + varint(value)
        else:
            # What is no UTF-8 (names are bytes to a kernel) becomes escapes: a protobuf string must be UTF-8.
            data = value.encode("utf-8", "backslashreplace") if isinstance(value, str) else value
            out += varint(number << 3 | LENGTH) + varint(len(data)) + data
    return bytes(out)
