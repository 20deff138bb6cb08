"""`/proc/P/statm` (fs/proc/array.c proc_pid_statm)."""

from typing import NamedTuple

from heaptop.parse.text import error_at
from heaptop.pattern import pattern

_STATM = pattern(rb"\d{1,20}(?: \d{1,20}){6}\n?")


class Statm(NamedTuple):
    """Sizes in pages. `lib` and `dt` are always 0."""

    size: int
    resident: int
    shared: int
    text: int
    lib: int
    data: int
    dt: int


def parse(data: bytes) -> Statm:
    """The seven numbers.

    Raises:
        ParseError: not seven numbers.
    """
    if _STATM.fullmatch(data) is None:
        raise error_at("statm", "not seven numbers", data)
    return Statm(*map(int, data.split()))
