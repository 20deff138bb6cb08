"""`/proc/vmstat` (mm/vmstat.c): `nr_free_cma` in pages; `cma_alloc_success`, `cma_alloc_fail` in calls (5.13 on)."""

import re
from collections.abc import Mapping
from types import MappingProxyType

from heaptop.parse.text import check_whole, error_at
from heaptop.pattern import pattern

_LINE = pattern(rb"^([A-Za-z]\w{0,63}) (-?\d{1,20})$", re.MULTILINE)


def parse(data: bytes) -> Mapping[str, int]:
    """Numbers by the kernel's names, as printed; other lines are passed over.

    Raises:
        ParseError: it is cut, or no line is a name and a number.
    """
    check_whole("vmstat", data)
    values = {name.decode("ascii"): int(number) for name, number in _LINE.findall(data)}
    if not values:
        raise error_at("vmstat", "no names and numbers", data)
    return MappingProxyType(values)
