"""`--anonymise`: captures without names, for the verbs that write them."""

import argparse
import os
from typing import TYPE_CHECKING, Final

from heaptop.backend.base import Backend
from heaptop.capture import Capture
from heaptop.errors import UsageError, errno_text

if TYPE_CHECKING:
    from heaptop.analysis.anonymise import Anonymiser

KEY_BYTES: Final = 32
HOLDS_NAMES: Final = "note: it holds the names of processes and buffers; look before you share it"
HOLDS_STAND_INS: Final = "note: names are replaced; sizes, times, pids, uids and devices are as they were"


def anonymise_arguments(parser: argparse.ArgumentParser) -> None:
    """The two options."""
    parser.add_argument("--anonymise", action="store_true", help="replace the names of processes, buffers and files")
    parser.add_argument(
        "--key", metavar="FILE", help="with --anonymise: stand-ins as with this key, which is made where there is none"
    )


def anonymiser_of(*, anonymise: bool, key: str | None) -> "Anonymiser | None":
    """What replaces names, where it was asked for.

    Raises:
        UsageError: a key without --anonymise, or one that cannot be read or made.
    """
    if not anonymise:
        if key is not None:
            raise UsageError("--key says nothing without --anonymise")
        return None
    from heaptop.analysis.anonymise import Anonymiser

    return Anonymiser(os.urandom(KEY_BYTES) if key is None else _key(key))


def _key(path: str) -> bytes:
    try:
        try:
            fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        except FileExistsError:
            with open(path, "rb") as file:
                key = file.read(1 << 16)
        else:
            key = os.urandom(KEY_BYTES)
            with open(fd, "wb") as file:
                file.write(key)
    except (OSError, ValueError) as error:
        why = errno_text(error.errno or 0) if isinstance(error, OSError) else str(error)
        raise UsageError(f"--key {path}", why, "name a file that can be read or made") from error
    if len(key) < KEY_BYTES:
        raise UsageError(f"--key {path}", f"a key has at least {KEY_BYTES} bytes", "name a file that is not there yet")
    return key


def left_out(anonymiser: "Anonymiser | None") -> tuple[str, ...]:
    """The line that tells which files are not there, as nobody knows what names they hold; none where all are."""
    if anonymiser is None or not anonymiser.left_out:
        return ()
    return (f"note: left out, as they may hold names: {', '.join(sorted(anonymiser.left_out)[:8])}",)


class Anonymous:
    """A backend whose captures have stand-ins for names."""

    def __init__(self, backend: Backend, anonymiser: "Anonymiser") -> None:
        self._backend = backend
        self._anonymiser = anonymiser

    @property
    def source(self) -> str:
        """The backend's."""
        return self._backend.source

    def capture(self) -> Capture:
        """The backend's, without names."""
        return self._anonymiser.capture(self._backend.capture())

    def close(self) -> None:
        """The backend's."""
        self._backend.close()
