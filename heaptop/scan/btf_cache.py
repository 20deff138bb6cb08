"""What was asked of the kernel's BTF before, kept in the user's cache folder for as long as this very kernel runs.

The file begins with who the kernel is: its notes (they hold its build id), release, build, and the size of its BTF. It
is used where all of that is the same, and where nobody else could have written it. Without it, or where it cannot be
written, the BTF is asked again.
"""

import os
import stat
from binascii import crc32
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from typing import Final

from heaptop.scan.btf import VMLINUX, Btf, BtfError, read_btf
from heaptop.scan.files import read_file

FORMAT: Final = b"heaptop btf 1"
_NOTES: Final = "/sys/kernel/notes"
_BYTES_MAX: Final = 1 << 16
_ABSENT: Final = -1
_OTHERS_WRITE: Final = stat.S_IWGRP | stat.S_IWOTH


class KnownTypes:
    """Types of the running kernel: what was asked before is not asked again. See `heaptop.scan.btf.Types`."""

    def __init__(self, path: str = f"/{VMLINUX}", folder: str | None = None) -> None:
        """`folder` is where the file is kept; nothing is, where it is None."""
        self._path = path
        self._folder = folder or ""
        self._identity = identity_of(path) if folder else None
        self._answers: dict[str, int] = {}
        self._btf: Btf | None = None
        self._count_kept = 0
        if self._identity is not None:
            self._answers = dict(_read(self._file, self._identity))
            self._count_kept = len(self._answers)

    def id_of(self, name: str, kind: int) -> int:
        """See `Btf`."""
        return self._answer(f"id {kind} {name}")

    def size(self, name: str) -> int:
        """See `Btf`."""
        return self._answer(f"size {name}")

    def offset(self, name: str, *path: str) -> int:
        """See `Btf`."""
        return self._answer(" ".join(("offset", name, *path)))

    def whole(self) -> Btf:
        """All types, read by now.

        Raises:
            BtfError: there are none.
        """
        if self._btf is None:
            self._btf = read_btf(self._path)
        return self._btf

    def keep(self) -> None:
        """Write down what was asked, for the next time; let go of the types. That it cannot be written is no error."""
        self._btf = None
        if self._identity is not None and len(self._answers) > self._count_kept:
            self._count_kept = len(self._answers)
            with suppress(OSError):
                _write(self._file, self._identity, self._answers)

    @property
    def _file(self) -> str:
        return os.path.join(self._folder, f"btf-{crc32(self._identity or b''):08x}")

    def _answer(self, question: str) -> int:
        if question not in self._answers:
            kind, *words = question.split(" ")
            types = self.whole()
            try:
                self._answers[question] = _asked(types, kind, words)
            except BtfError as error:
                self._answers[question] = _ABSENT
                raise BtfError(str(error)) from error
        if (answer := self._answers[question]) == _ABSENT:
            raise BtfError(f"this kernel's BTF has no answer to {question!r}")
        return answer


@cache
def types_of(path: str) -> KnownTypes:
    """The one of this process; kept for the next ones where `path` is the running kernel's."""
    return KnownTypes(path, cache_folder() if path == f"/{VMLINUX}" else None)


def _asked(types: Btf, kind: str, words: Sequence[str]) -> int:
    match kind:
        case "id":
            return types.id_of(words[1], int(words[0]))
        case "size":
            return types.size(words[0])
        case _:
            return types.offset(words[0], *words[1:])


def cache_folder() -> str:
    """$XDG_CACHE_HOME/heaptop, else ~/.cache/heaptop."""
    return os.path.join(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "heaptop")


def identity_of(path: str) -> bytes | None:
    """Who this kernel is; None where its BTF is not there."""
    try:
        size = os.stat(path).st_size
    except OSError:
        return None
    notes, system = read_file(_NOTES), os.uname()
    build = notes.hex() if isinstance(notes, bytes) else "-"
    words = (FORMAT.decode(), system.machine, system.release, system.version, path, str(size), build)
    return "\t".join(word.replace("\n", " ") for word in words).encode("utf-8", "surrogateescape")


def _read(path: str, identity: bytes) -> Mapping[str, int]:
    """The answers; none where the file is another kernel's, somebody else's, or damaged."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return {}
    try:
        found = os.fstat(file)
        if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & _OTHERS_WRITE:
            return {}
        head, _, body = os.read(file, _BYTES_MAX).partition(b"\n")
        text, _, check = body.rpartition(b"\n")
        if head != identity or check != b"%08x" % crc32(text):
            return {}
        rows = (line.rpartition(" ") for line in text.decode().splitlines())
        return {question: int(answer) for question, _, answer in rows}
    except (OSError, ValueError):
        return {}
    finally:
        os.close(file)


def _write(path: str, identity: bytes, answers: Mapping[str, int]) -> None:
    """Whole or not at all, for its owner alone; only below a folder of this user's own.

    Raises:
        OSError: it cannot be written.
    """
    folder = os.path.dirname(path)
    for each in (os.path.dirname(folder), folder):
        with suppress(FileExistsError):
            os.mkdir(each, 0o700)
        found = os.stat(each)
        if found.st_uid != os.geteuid() or found.st_mode & _OTHERS_WRITE:
            return
    draft = f"{path}.new"
    try:
        file = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:  # its writer was killed; or it is at work, and then loses what is of no great worth
        os.unlink(draft)
        return
    text = "\n".join(f"{question} {answer}" for question, answer in sorted(answers.items())).encode()
    try:
        os.write(file, b"%s\n%s\n%08x" % (identity, text, crc32(text)))
    finally:
        os.close(file)
    os.replace(draft, path)
