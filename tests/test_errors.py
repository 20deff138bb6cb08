"""Errors are one line and carry their exit code."""

import errno

import pytest

from heaptop.errors import (
    AllocationError,
    Exit,
    FilterError,
    HeaptopError,
    ParseError,
    RecordingError,
    SourceError,
    UsageError,
    errno_text,
)


@pytest.mark.parametrize(
    ("error", "line", "code"),
    [
        (UsageError("size", "0 bytes", "ask for 4K or more"), "size: 0 bytes; ask for 4K or more", Exit.USAGE),
        (FilterError("unknown word", 4, "try size>1M"), "unknown word: at column 5; try size>1M", Exit.USAGE),
        (SourceError("the emulator is gone"), "the emulator is gone", Exit.UNAVAILABLE),
        (AllocationError("system", errno.ENOMEM), "system: ENOMEM (Cannot allocate memory)", Exit.UNAVAILABLE),
        (RecordingError("x.tar", "not a tar"), "x.tar: not a tar", Exit.BAD_RECORDING),
        (ParseError("fdinfo", "no size", 3, b"siz:\n"), "fdinfo: line 3: no size: b'siz:\\n'", Exit.UNAVAILABLE),
    ],
)
def test_one_line(error: HeaptopError, line: str, code: Exit) -> None:
    assert str(error) == line
    assert error.exit_code is code


def test_parse_error_keeps_little_of_the_text() -> None:
    assert len(ParseError("maps", "noise", text=b"x" * 10_000).text) == 80


def test_errno_text_of_an_unknown_number() -> None:
    assert errno_text(errno.EMFILE) == "EMFILE (Too many open files)"
    assert errno_text(99999).startswith("99999")
