"""`/proc/meminfo` (fs/proc/meminfo.c). CmaTotal and CmaFree cover all areas; CmaFree shrinks by borrowed pages too."""

import re
from collections.abc import Mapping
from types import MappingProxyType

from heaptop.parse.text import error_at

_LINE = re.compile(rb"([A-Za-z][\w()]{0,63}): +(\d{1,20})( kB)?\n")


def parse(data: bytes) -> Mapping[str, int]:
    """All lines by the kernel's names: bytes for those in kB, counts for the others (`HugePages_Total`).

    Raises:
        ParseError: a line is not `Name: number` or is cut, or there is none.
    """
    values: dict[str, int] = {}
    offset = 0
    while offset < len(data) or not values:
        match = _LINE.match(data, offset)
        if match is None:
            raise error_at("meminfo", "not a name and a number, or cut", data, offset)
        values[match[1].decode("ascii")] = int(match[2]) * (1024 if match[3] else 1)
        offset = match.end()
    return MappingProxyType(values)
