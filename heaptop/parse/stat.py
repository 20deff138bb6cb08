"""`/proc/P/stat` (fs/proc/array.c do_task_stat). The comm stands raw in parentheses and can hold any byte but NUL,
parentheses, spaces and newlines too; all after the last parenthesis are numbers but for the state.
"""

import re
from typing import NamedTuple

from heaptop.compiled import compiled
from heaptop.parse.text import error_at
from heaptop.pattern import pattern

_quick = compiled("heaptop.parse._quick")
_STAT = pattern(rb"(\d{1,10}) \((.*)\) ([A-Za-z])((?: -?\d{1,20}){21,})\n?", re.DOTALL)


class Stat(NamedTuple):
    """`starttime` in clock ticks since boot, `vsize` in bytes, `rss` in pages."""

    pid: int
    comm: bytes
    state: str
    ppid: int
    num_threads: int
    starttime: int
    vsize: int
    rss: int


def parse(data: bytes) -> Stat:
    """The fields of proc(5) that identify and size a process.

    Raises:
        ParseError: not a stat line, or cut before field 24 (rss).
    """
    if _quick is not None and (values := _quick.stat(data)) is not None:
        return Stat._make(values)
    match = _STAT.fullmatch(data)
    if match is None:
        raise error_at("stat", "not pid (comm) state and at least 21 numbers", data)
    numbers = match[4].split()  # from field 4 of proc(5) on
    return Stat(
        pid=int(match[1]),
        comm=match[2],
        state=match[3].decode("ascii"),
        ppid=int(numbers[0]),
        num_threads=int(numbers[16]),
        starttime=int(numbers[18]),
        vsize=int(numbers[19]),
        rss=int(numbers[20]),
    )
