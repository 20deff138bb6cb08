"""`/proc/meminfo` (fs/proc/meminfo.c). CmaTotal and CmaFree cover all areas; CmaFree shrinks by borrowed pages too."""

import re
from collections.abc import Mapping
from types import MappingProxyType

from heaptop.parse.text import check_whole, error_at
from heaptop.pattern import pattern

_LINE = pattern(rb"^([A-Za-z][\w()]{0,63}): +(\d{1,20})( kB)?$", re.MULTILINE)


def parse(data: bytes) -> Mapping[str, int]:
    """Numbers by the kernel's names: bytes where they are in kB, counts for the others (`HugePages_Total`).

    Raises:
        ParseError: it is cut, or no line is a name and a number.
    """
    check_whole("meminfo", data)
    values = {name.decode("ascii"): int(number) * (1024 if kb else 1) for name, number, kb in _LINE.findall(data)}
    if not values:
        raise error_at("meminfo", "no names and numbers", data)
    return MappingProxyType(values)
