"""`format` files of real kernels, and records that they describe."""

import struct
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heaptop.errors import ParseError
from heaptop.parse.trace_format import Field, parse

FORMATS = Path(__file__).parent / "trace_formats"
EXPORT = FORMATS / "7.2/dma_buf_export"


def test_a_real_format() -> None:
    export = parse(EXPORT.read_bytes())
    assert (export.name, export.id) == ("dma_buf_export", 1071)
    assert list(export.fields) == [
        *("common_type", "common_flags", "common_preempt_count", "common_pid"),
        *("exp_name", "size", "ino"),
    ]
    assert export.fields["exp_name"] == Field("__data_loc char[]", 8, 4, signed=False)
    assert export.fields["common_pid"] == Field("int", 4, 4, signed=True)


@pytest.mark.parametrize("path", sorted(FORMATS.glob("*/*")), ids=lambda path: f"{path.parent.name} {path.name}")
def test_every_field_is_found(path: Path) -> None:
    text = path.read_bytes()
    found = parse(text)
    assert found.name == path.name
    assert len(found.fields) == text.count(b"\tfield:")
    assert all(f"REC->{name}".encode() in text or name in text.decode() for name in found.fields)


def test_pointers_keep_their_type() -> None:
    fields = parse((FORMATS / "6.12/cma_alloc_finish").read_bytes()).fields
    assert fields["page"] == Field("const struct page *", 24, 8, signed=False)
    assert fields["errorno"] == Field("int", 44, 4, signed=True)


@given(st.binary(max_size=40).map(lambda raw: raw.replace(b"\0", b"x")), st.integers(0, 2**64 - 1))
def test_a_record_of_it(name: bytes, number: int) -> None:
    head = struct.pack("<HBBi", 1071, 0, 0, -7)
    record = head + struct.pack("<IIQQ", 32 | len(name) + 1 << 16, 0, 4096, number) + name + b"\0rest"
    assert parse(EXPORT.read_bytes()).decode(record) == {
        "common_type": 1071,
        "common_flags": 0,
        "common_preempt_count": 0,
        "common_pid": -7,
        "exp_name": name,
        "size": 4096,
        "ino": number,
    }


HEAD = b"name: x\nID: 7\nformat:\n"


def test_arrays_and_relative_places() -> None:
    text = HEAD + (
        b"\tfield:char comm[8];\toffset:0;\tsize:8;\tsigned:0;\n\n"
        b"\tfield:__rel_loc char[] path;\toffset:8;\tsize:4;\tsigned:0;\n"
        b"\tfield:unsigned long args[3];\toffset:16;\tsize:24;\tsigned:0;\n"
        b'\nprint fmt: "%s"\n'
    )
    record = b"bash\0\0\0\0" + struct.pack("<I", 4 | 3 << 16) + b"...." + b"ab\0" + bytes(21)
    assert parse(text).decode(record) == {"comm": b"bash", "path": b"ab", "args": b"ab"}


@pytest.mark.parametrize("text", [b"", HEAD, HEAD + b"field", b"name: x\n", HEAD + b"\tfield:;\n\nprint fmt: "])
def test_not_a_format(text: bytes) -> None:
    with pytest.raises(ParseError):
        parse(text)


@given(st.binary(max_size=64))
def test_a_short_record_is_refused_or_whole(record: bytes) -> None:
    export = parse(EXPORT.read_bytes())
    with suppress(ParseError):
        assert export.decode(record).keys() == export.fields.keys()
