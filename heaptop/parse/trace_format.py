r"""`/sys/kernel/tracing/events/SYSTEM/EVENT/format` (kernel/trace/trace_events.c), and records as it describes them.

name: dma_buf_export
ID: 1071
format:
\tfield:int common_pid;\toffset:4;\tsize:4;\tsigned:1;
(an empty line after the common fields)
\tfield:__data_loc char[] exp_name;\toffset:8;\tsize:4;\tsigned:0;

print fmt: "exp_name=%s", __get_str(exp_name)
"""

from collections.abc import Mapping
from typing import Final, NamedTuple

from heaptop.errors import ParseError
from heaptop.parse.text import error_at
from heaptop.pattern import pattern

_HEAD: Final = pattern(rb"name: ([^\n]+)\nID: (\d{1,9})\nformat:\n")
_FIELD: Final = pattern(
    rb"\tfield:([^;\n]*?)([A-Za-z_]\w*)(\[[^\]\n]*\])?;\toffset:(\d{1,5});\tsize:(\d{1,5});\tsigned:([01]);\n|\n"
)
_END: Final = b"print fmt: "
_INTEGER_BYTES: Final = (1, 2, 4, 8)


class Field(NamedTuple):
    """A field: its C type as written, and where it lies in the record."""

    type: str
    offset: int
    size: int
    signed: bool


class Format(NamedTuple):
    """A tracepoint: its number (perf_event_attr.config) and its fields by name."""

    name: str
    id: int
    fields: Mapping[str, Field]

    def decode(self, record: bytes) -> dict[str, int | bytes]:
        """The record's fields: numbers, and strings as bytes up to the NUL. Of a little-endian machine.

        Raises:
            ParseError: the record is shorter than its format.
        """
        return {name: self._value(record, field) for name, field in self.fields.items()}

    def _value(self, record: bytes, field: Field) -> int | bytes:
        raw = self._part(record, field.offset, field.size)
        if field.type.startswith(("__data_loc", "__rel_loc")):
            place = int.from_bytes(raw, "little")
            base = field.offset + field.size if field.type.startswith("__rel_loc") else 0
            return self._part(record, base + (place & 0xFFFF), place >> 16).partition(b"\0")[0]
        if field.size in _INTEGER_BYTES and "[" not in field.type:
            return int.from_bytes(raw, "little", signed=field.signed)
        return raw.partition(b"\0")[0]

    def _part(self, record: bytes, offset: int, count_bytes: int) -> bytes:
        if offset + count_bytes > len(record):
            raise ParseError(f"trace record {self.name}", f"{len(record)} bytes are too few")
        return record[offset : offset + count_bytes]


def parse(data: bytes) -> Format:
    """The format.

    Raises:
        ParseError: it is not one.
    """
    head = _HEAD.match(data)
    if head is None:
        raise error_at("trace format", "not name, ID, format", data)
    fields: dict[str, Field] = {}
    at = head.end()
    while not data.startswith(_END, at):
        match = _FIELD.match(data, at)
        if match is None:
            raise error_at("trace format", "not a field", data, min(at, len(data)))
        at = match.end()
        kind, name, array, offset, size, signed = match.groups()
        if name is not None:
            declared = (kind.strip() + (array or b"")).decode("latin-1")
            fields[name.decode()] = Field(declared, int(offset), int(size), signed == b"1")
    return Format(head[1].decode("latin-1"), int(head[2]), fields)
