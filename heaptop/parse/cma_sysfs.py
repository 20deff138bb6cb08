"""`/sys/kernel/mm/cma/AREA/...` (mm/cma_sysfs.c, 5.13 on): one number a file, in pages.

    alloc_pages_success  alloc_pages_fail     since boot
    release_pages_success                     since boot; 6.9 on
    total_pages  available_pages              as of now; 6.15 on

An area's name can hold commas, `@`, and up to 7.2 a trailing newline (`cma%d` of mm/cma.c).
"""

from heaptop.parse.text import integer
from heaptop.pattern import pattern

_PATH = pattern(r"sys/kernel/mm/cma/([^/]+)/([^/]+)")


def area_file(path: str) -> tuple[str, str] | None:
    """Area and file of `sys/kernel/mm/cma/AREA/FILE`; None for any other path. Total."""
    match = _PATH.fullmatch(path)
    return None if match is None else (match[1], match[2])


def counter(data: bytes) -> int:
    """The number of pages.

    Raises:
        ParseError: not a number.
    """
    return integer(data, "sysfs cma")
