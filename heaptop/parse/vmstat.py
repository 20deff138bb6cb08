"""`/proc/vmstat` (mm/vmstat.c): `nr_free_cma` in pages; `cma_alloc_success`, `cma_alloc_fail` in calls (5.13 on)."""

import re
from collections.abc import Mapping
from types import MappingProxyType

from heaptop.parse.text import error_at

_LINE = re.compile(rb"([A-Za-z]\w{0,63}) (-?\d{1,20})\n")


def parse(data: bytes) -> Mapping[str, int]:
    """All lines by the kernel's names, as printed.

    Raises:
        ParseError: a line is not `name number` or is cut, or there is none.
    """
    values: dict[str, int] = {}
    offset = 0
    while offset < len(data) or not values:
        match = _LINE.match(data, offset)
        if match is None:
            raise error_at("vmstat", "not a name and a number, or cut", data, offset)
        values[match[1].decode("ascii")] = int(match[2])
        offset = match.end()
    return MappingProxyType(values)
