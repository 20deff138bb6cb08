"""The heaps' nodes in `/dev/dma_heap` and `/sys/class/dma_heap` (drivers/dma-buf/dma-heap.c, 5.6 on).

A recording has `/dev` as the text of `ls -ln` (`dev.ls`), by coreutils, busybox or toybox. Heap names may hold
commas and spaces.
"""

import re
from collections.abc import Iterable
from typing import NamedTuple

from heaptop.parse.text import error_at
from heaptop.pattern import pattern

_TITLE = b"/dev/dma_heap:"
_DATE = rb"(?:[A-Z][a-z]{2} +\d{1,2} +(?:\d{1,2}:\d\d|\d{4})|\d{4}-\d\d-\d\d \d\d:\d\d(?::\d\d)?)"
_NODE = pattern(
    rb"c([r-][w-][xsS-][r-][w-][xsS-][r-][w-][xtT-])[.+@]? +\d{1,10} +(\d{1,10}) +(\d{1,10})"
    rb" +(\d{1,10}), +(\d{1,10}) +" + _DATE + rb" ([^\n]+)"
)
_DEVICE = pattern(rb"(\d{1,10}):(\d{1,10})\n?")
_CLASS = pattern(r"sys/class/dma_heap/([^/]+)(?:/.*)?", re.DOTALL)


class HeapNode(NamedTuple):
    """One `/dev/dma_heap/NAME`; `mode` are its permission bits."""

    name: bytes
    major: int
    minor: int
    mode: int
    uid: int
    gid: int


def parse(data: bytes) -> tuple[HeapNode, ...]:
    """The nodes in the section `/dev/dma_heap:` of `dev.ls`; none without that section.

    Raises:
        ParseError: a character device in that section has not the shape that `ls -ln` gives it.
    """
    nodes = []
    offset = 0
    in_section = False
    for line in data.split(b"\n"):
        if line.startswith(b"/") and line.endswith(b":"):
            in_section = line == _TITLE
        elif in_section and line.startswith(b"c"):
            match = _NODE.fullmatch(line)
            if match is None:
                raise error_at("dev.ls", "not a node as ls -ln has it", data, offset)
            perms, uid, gid, major, minor, name = match.groups()
            nodes.append(HeapNode(name, int(major), int(minor), _mode(perms), int(uid), int(gid)))
        offset += len(line) + 1
    return tuple(nodes)


def class_heaps(paths: Iterable[str]) -> tuple[str, ...]:
    """Heap names among paths `sys/class/dma_heap/NAME...` (of links or of files below), sorted. Total."""
    return tuple(sorted({match[1] for path in paths if (match := _CLASS.fullmatch(path))}))


def device(data: bytes) -> tuple[int, int]:
    """Major and minor of `/sys/class/dma_heap/NAME/dev`.

    Raises:
        ParseError: not `major:minor`.
    """
    match = _DEVICE.fullmatch(data)
    if match is None:
        raise error_at("dma_heap dev", "not major:minor", data)
    return int(match[1]), int(match[2])


def _mode(perms: bytes) -> int:
    return int("".join("1" if chr(char) in "rwxst" else "0" for char in perms), 2)
