"""`/sys/kernel/debug/cma/...` (mm/cma_debug.c) in its three layouts.

cma-NAME/{count,base_pfn,...,bitmap}     up to 6.0; cut at 15 characters in all; `cma-INDEX` up to 4.11
NAME/{count,base_pfn,...,bitmap}         6.1 to 6.14
NAME/{count,...}  NAME/ranges/R/{base_pfn,bitmap}    6.15 on; links of the old names lead to range 0
"""

import struct
from collections.abc import Collection
from typing import NamedTuple

from heaptop.parse.text import error_at, integer
from heaptop.pattern import pattern

_PATH = pattern(r"sys/kernel/debug/cma/([^/]+)/(?:ranges/([0-9]{1,9})/)?([^/]+)")
_OLD_PREFIX = "cma-"
_OLD_LENGTH_MAX = 15
_WORDS = pattern(rb"\d{1,10}(?: \d{1,10})*\n?")


class AreaFile(NamedTuple):
    """A file there: `directory` is the area's (see `area_name`); `range_index` is None outside of `ranges/`."""

    directory: str
    file: str
    range_index: int | None


def area_file(path: str) -> AreaFile | None:
    """What `sys/kernel/debug/cma/DIRECTORY/...` stands for; None for any other path. Total."""
    match = _PATH.fullmatch(path)
    if match is None:
        return None
    return AreaFile(match[1], match[3], None if match[2] is None else int(match[2]))


def area_name(directory: str, known: Collection[str] = ()) -> str:
    """The area's name by its directory. Total.

    `known` are area names told elsewhere (sysfs, heaps): they complete a name cut at 15 characters and keep a name
    that really begins with `cma-`. Without them such a name is returned as far as it goes. An index (up to 4.11)
    stays as it is.
    """
    if directory in known or not directory.startswith(_OLD_PREFIX):
        return directory
    name = directory.removeprefix(_OLD_PREFIX)
    if not name or name.isdecimal():
        return directory
    if len(directory.encode("utf-8", "surrogateescape")) < _OLD_LENGTH_MAX or name in known:
        return name
    completed = [whole for whole in known if whole.startswith(name)]
    return completed[0] if len(completed) == 1 else name


def number(data: bytes) -> int:
    """`count`, `used` and `maxchunk` (pages), `base_pfn`.

    Raises:
        ParseError: not a number.
    """
    return integer(data, "debugfs cma")


def order_per_bit(data: bytes) -> int:
    """The order, without the upper half: an unsigned int is printed as a long, with its neighbour in the struct.

    Raises:
        ParseError: not a number.
    """
    return integer(data, "order_per_bit") & 0xFFFFFFFF


def bitmap(data: bytes) -> bytes:
    """One bit per `1 << order_per_bit` pages, bit 0 of byte 0 first, 1 = allocated; a multiple of 32 bits.

    The file holds decimal 32-bit words, the first pages in the least significant bit of the first word.

    Raises:
        ParseError: not such words.
    """
    if _WORDS.fullmatch(data) is None:
        raise error_at("cma bitmap", "not decimal words", data)
    words = list(map(int, data.split()))
    try:
        return struct.pack(f"<{len(words)}I", *words)
    except struct.error:
        raise error_at("cma bitmap", "a word of more than 32 bits", data) from None
