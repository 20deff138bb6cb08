"""`/proc/pagetypeinfo` (mm/vmstat.c pagetypeinfo_show, 5.3 to 7.3).

Free blocks per node, zone and migratetype by order, and pageblocks per migratetype. From 5.4 on counting stops at
100,000 per order, printed as `>100000`.
"""

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from heaptop.parse.text import error_at
from heaptop.pattern import pattern

_HEAD = pattern(rb"Page block order: +(\d{1,3})\nPages per block: +(\d{1,20})\n\n")
_FREE_TITLE = pattern(rb"Free pages count per migrate type at order(?: +\d{1,3}){1,64} *\n")
_FREE = pattern(rb"Node +(\d{1,10}), zone +(\S{1,32}), type +(\S{1,32})((?: +>?\d{1,20})+) *\n")
_BLOCK_TITLE = pattern(rb"\nNumber of blocks type +(\S[^\n]{0,400}\S)[ ]*\n")
_BLOCK = pattern(rb"Node +(\d{1,10}), zone +(\S{1,32})((?: +\d{1,20})+) *\n")


class FreeCounts(NamedTuple):
    """Free blocks of `1 << order` pages by order; in the orders of `capped` there are more than said."""

    node: int
    zone: str
    migratetype: str
    counts: tuple[int, ...]
    capped: tuple[int, ...]


class BlockCounts(NamedTuple):
    """Pageblocks of one zone by migratetype."""

    node: int
    zone: str
    counts: Mapping[str, int]


class Pagetypeinfo(NamedTuple):
    """The whole file."""

    page_block_order: int
    pages_per_block: int
    free: tuple[FreeCounts, ...]
    blocks: tuple[BlockCounts, ...]


def parse(data: bytes) -> Pagetypeinfo:
    """The whole file; what page_owner adds after the pageblocks is passed over.

    Raises:
        ParseError: not of that shape, or cut before the pageblocks.
    """
    head = _expect(_HEAD, data, 0)
    title = _expect(_FREE_TITLE, data, head.end())
    free = []
    offset = title.end()
    while match := _FREE.match(data, offset):
        free.append(_free_counts(match))
        offset = match.end()
    title = _expect(_BLOCK_TITLE, data, offset)
    types = [name.decode("utf-8", "surrogateescape") for name in title[1].split()]
    blocks = []
    offset = title.end()
    while match := _BLOCK.match(data, offset):
        blocks.append(_block_counts(match, types, data))
        offset = match.end()
    if offset < len(data) and data[offset : offset + 1] != b"\n":
        raise error_at("pagetypeinfo", "not a zone's pageblocks, or cut", data, offset)
    return Pagetypeinfo(int(head[1]), int(head[2]), tuple(free), tuple(blocks))


def _free_counts(match: re.Match[bytes]) -> FreeCounts:
    words = match[4].split()
    return FreeCounts(
        node=int(match[1]),
        zone=match[2].decode("utf-8", "surrogateescape"),
        migratetype=match[3].decode("utf-8", "surrogateescape"),
        counts=tuple(int(word.lstrip(b">")) for word in words),
        capped=tuple(order for order, word in enumerate(words) if word.startswith(b">")),
    )


def _block_counts(match: re.Match[bytes], types: list[str], data: bytes) -> BlockCounts:
    counts = list(map(int, match[3].split()))
    if len(counts) != len(types):
        raise error_at("pagetypeinfo", f"not {len(types)} counts", data, match.start())
    zone = match[2].decode("utf-8", "surrogateescape")
    return BlockCounts(int(match[1]), zone, MappingProxyType(dict(zip(types, counts, strict=True))))


def _expect(pattern: re.Pattern[bytes], data: bytes, offset: int) -> re.Match[bytes]:
    match = pattern.match(data, offset)
    if match is None:
        raise error_at("pagetypeinfo", "not its heading, or cut", data, offset)
    return match
