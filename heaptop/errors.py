"""Every error heaptop raises on purpose, and the exit codes.

    HeaptopError                 one line: what, why, what to do
    ├── UsageError               the user's words cannot be taken              exit 2
    │   └── FilterError          a filter expression, with the position
    ├── SourceError              a source cannot be opened or has vanished     exit 3
    │   └── AllocationError      a heap refused; carries errno
    ├── RecordingError           a recording cannot be read or written         exit 4
    └── ParseError               kernel text not of the expected shape (becomes a gap, never ends a run)

Anything else that surfaces is a bug and shows a traceback.
"""

import errno as errno_names
import os
from enum import IntEnum


class Exit(IntEnum):
    """Exit codes; scripts depend on them."""

    OK = 0
    CHECK_FAILED = 1
    USAGE = 2
    UNAVAILABLE = 3
    BAD_RECORDING = 4
    INTERRUPTED = 130


class HeaptopError(Exception):
    """An error with a remedy: `what` happened, `why`, and what to do (`remedy`, may be empty)."""

    exit_code: int = Exit.UNAVAILABLE

    def __init__(self, what: str, why: str = "", remedy: str = "") -> None:
        super().__init__(what, why, remedy)
        self.what = what
        self.why = why
        self.remedy = remedy

    def __str__(self) -> str:
        line = f"{self.what}: {self.why}" if self.why else self.what
        return f"{line}; {self.remedy}" if self.remedy else line


class UsageError(HeaptopError):
    """The command line or an input field cannot be taken."""

    exit_code = Exit.USAGE


class FilterError(UsageError):
    """A filter expression cannot be taken; `position` is the 0-based offset of the trouble in it."""

    def __init__(self, what: str, position: int, remedy: str = "") -> None:
        super().__init__(what, f"at column {position + 1}", remedy)
        self.position = position


class SourceError(HeaptopError):
    """A source of captures cannot be opened, or is gone."""


class AllocationError(SourceError):
    """A heap refused an allocation; `errno` is the kernel's or the emulator's."""

    def __init__(self, what: str, errno: int, remedy: str = "") -> None:
        super().__init__(what, errno_text(errno), remedy)
        self.errno = errno


class RecordingError(HeaptopError):
    """A recording cannot be read or written."""

    exit_code = Exit.BAD_RECORDING


class ParseError(HeaptopError):
    """Kernel text is not of the expected shape: which format, 1-based line, and the text there (at most 80 bytes)."""

    def __init__(self, parser: str, why: str, line: int = 1, text: bytes = b"") -> None:
        super().__init__(parser, f"line {line}: {why}" + (f": {text[:80]!r}" if text else ""))
        self.parser = parser
        self.line = line
        self.text = text[:80]


def errno_text(number: int) -> str:
    """`ENOMEM (Cannot allocate memory)`; an unknown number as itself."""
    return f"{errno_names.errorcode.get(number, str(number))} ({os.strerror(number)})"
