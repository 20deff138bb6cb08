"""Small files that the user names: suppressions, baselines, judgements."""

import os
import stat
from contextlib import suppress
from typing import Final

from heaptop.errors import RecordingError, errno_text
from heaptop.units import printable

BYTES_MAX: Final = 16 << 20


def read(path: str) -> bytes:
    """The file, or as much of it as a sane one has.

    Raises:
        OSError: it cannot be read.
    """
    with open(path, "rb") as file:
        return file.read(BYTES_MAX)


def write(path: str, text: str) -> None:
    """The whole file or nothing; into what is no file (a pipe, a terminal) as it is.

    Raises:
        RecordingError: it cannot be written.
    """
    partial = f"{path}.{os.getpid()}.tmp"
    try:
        if os.path.exists(path) and not stat.S_ISREG(os.stat(path).st_mode):
            with open(path, "w", encoding="utf-8", errors="surrogateescape") as file:
                file.write(text)
            return
        with open(partial, "x", encoding="utf-8", errors="surrogateescape") as file:
            file.write(text)
        os.replace(partial, path)
    except OSError as error:
        with suppress(OSError):
            os.unlink(partial)
        raise RecordingError(printable(path), errno_text(error.errno or 0)) from error
