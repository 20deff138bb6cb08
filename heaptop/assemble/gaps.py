"""Collecting what could not be read: each trouble once, with its reason and its remedy."""

import errno
from collections.abc import Callable, Iterator
from typing import Final, TypeVar

from heaptop.capture import Capture, Raw, ReadError
from heaptop.errors import ParseError, errno_text
from heaptop.model import Gap
from heaptop.sources import OPTION, source_of

AS_ROOT: Final = "run as root"
AS_TRACER: Final = "run as root or with CAP_SYS_PTRACE"
REFUSED: Final = "permission denied"
NOT_CAPTURED: Final = "not in the capture"
DEBUGFS: Final = "sys/kernel/debug"
MOUNT_DEBUGFS: Final = "mount -t debugfs none /sys/kernel/debug"

Parsed = TypeVar("Parsed")


class Gaps:
    """The gaps of one capture. What happens many times over is counted, and told once with the first reason."""

    def __init__(self) -> None:
        self._gaps: set[Gap] = set()
        self._tallies: dict[tuple[str, str, str, int | None], tuple[int, str]] = {}

    def add(self, what: str, why: str, remedy: str = "") -> None:
        """One gap."""
        self._gaps.add(Gap(what, why, remedy))

    def tally(self, what: str, noun: str, why: str, remedy: str = "", *, of: int | None = None, count: int = 1) -> None:
        """One more `noun` (of so many) that `what` is said of: a text with `{}` where `3 of 40 processes` goes. Of
        several reasons the first one counts.
        """
        key = what, noun, remedy, of
        before, first = self._tallies.get(key, (0, why))
        self._tallies[key] = before + count, first

    def result(self) -> tuple[Gap, ...]:
        """All of them, in an order that does not depend on that of the capture's files."""
        counted_gaps = {
            Gap(what.format(counted(count, noun, of)), why, remedy)
            for (what, noun, remedy, of), (count, why) in self._tallies.items()
        }
        return tuple(sorted(self._gaps | counted_gaps))

    def read(self, raw: Raw | None, parse: Callable[[bytes], Parsed], what: str) -> Parsed | None:
        """Parse a file; a gap, and None, where it was not readable or not of the expected shape.

        None without a gap where it is absent: only the caller knows whether that is a lack.
        """
        if raw is None:
            return None
        if isinstance(raw, ReadError):
            if raw.errno != errno.ENOENT:
                self.add(what, reason(raw), remedy(raw))
            return None
        try:
            return parse(raw)
        except ParseError as error:
            self.add(what, str(error))
            return None


def counted(count: int, noun: str, of: int | None = None) -> str:
    """`1 process`, `3 processes`, `1 of 40 processes`."""
    plural = noun + ("es" if noun.endswith("s") else "s")
    if of is not None:
        return f"{count} of {of} {plural}"
    return f"{count} {noun if count == 1 else plural}"


def reason(error: ReadError) -> str:
    """Why, in the user's words."""
    if is_denied(error):
        return REFUSED
    if error.errno == errno.ETIMEDOUT:
        return "no answer in time"
    return f"{error.call}: {errno_text(error.errno)}"


def remedy(error: ReadError) -> str:
    """What to do about it."""
    if error.errno == errno.ETIMEDOUT:
        return "look again"
    return AS_ROOT if is_denied(error) else ""


def is_denied(error: object) -> bool:
    """Whether it was refused to us, so that more rights would help."""
    return isinstance(error, ReadError) and error.errno in (errno.EACCES, errno.EPERM)


def is_gone(error: object) -> bool:
    """Whether the process or file ended while it was being read: that is normal and no gap."""
    return isinstance(error, ReadError) and error.errno in (errno.ENOENT, errno.ESRCH)


def missing_debugfs(capture: Capture, path: str, option: str) -> tuple[str, str]:
    """Why a file or folder below debugfs is not there, and the remedy. `option` is what the kernel is built with."""
    files = capture.files
    if (name := source_of(path)) in capture.off:
        return f"{name} is switched off by {OPTION}", ""
    errors = [raw for place in _upwards(path) if isinstance(raw := files.get(place), ReadError)]
    told = next((error for error in errors if error.errno != errno.ENOENT), None)
    if told is not None:
        return reason(told), remedy(told)
    mounts = files.get("proc/mounts")
    if isinstance(mounts, bytes):
        if b" /sys/kernel/debug debugfs " not in mounts:
            return "debugfs is not mounted", MOUNT_DEBUGFS
        return f"this kernel does not have /{path}", f"build it with {option}"
    if any(name.startswith(DEBUGFS + "/") for name in files):
        return f"there is no /{path}", f"needs a kernel with {option}"
    return NOT_CAPTURED, MOUNT_DEBUGFS


def _upwards(path: str) -> Iterator[str]:
    while path:
        yield path
        path = path.rpartition("/")[0]
