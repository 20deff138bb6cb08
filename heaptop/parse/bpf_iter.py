r"""What BPF iterators over dma-bufs print (kernel/bpf/dmabuf_iter.c, 6.16 on).

`parse` reads heaptop's own (`bpf/dmabuf_iter`, see docs/recording.md), `parse_pinned` one that the system has pinned in
bpffs, as the kernel's selftest has it (tools/testing/selftests/bpf/progs/dmabuf_iter.c): a line each with inode, size,
name (newlines are blanks there; empty for none) and exporter.
"""

from typing import NamedTuple

from heaptop.parse.text import check_whole, error_at
from heaptop.pattern import pattern

_HEADING = b"ino\tsize\tcount\texp_name\tname\n"
_LINE = pattern(rb"(\d{1,20})\t(\d{1,20})\t(-?\d{1,20})\t([^\t\n]*)(?:\t([^\t\n]*))?\n")
_PINNED = pattern(rb"(\d{1,20})\n(\d{1,20})\n([^\n]{0,31})\n([^\n]+)\n")
_OCTAL = pattern(rb"\\([0-3][0-7]{2})")


class IterRow(NamedTuple):
    """A buffer. `file_count` are references to its file, the iterator's own not counted; `name` is None for none.

    Where `is_pinned`, `file_count` is None, a name can have blanks for newlines, and None may be an empty name.
    """

    ino: int
    size: int
    file_count: int | None
    exp_name: bytes
    name: bytes | None
    is_pinned: bool = False


def parse(data: bytes) -> tuple[IterRow, ...]:
    """The buffers, as listed.

    Raises:
        ParseError: it is cut, or a line has another shape.
    """
    check_whole("bpf dmabuf_iter", data)
    if not data.startswith(_HEADING):
        raise error_at("bpf dmabuf_iter", "another heading", data)
    rows = []
    at = len(_HEADING)
    while at < len(data):
        match = _LINE.match(data, at)
        if match is None:
            raise error_at("bpf dmabuf_iter", "not a buffer", data, at)
        ino, size, count, exp_name, name = match.groups()
        rows.append(IterRow(int(ino), int(size), int(count), _plain(exp_name), None if name is None else _plain(name)))
        at = match.end()
    return tuple(rows)


def parse_pinned(data: bytes) -> tuple[IterRow, ...]:
    """The buffers, as listed; there may be none.

    Raises:
        ParseError: it is cut, or prints something else.
    """
    rows = []
    at = 0
    while at < len(data):
        match = _PINNED.match(data, at)
        if match is None:
            raise error_at("pinned bpf iterator", "not inode, size, name and exporter of a buffer", data, at)
        ino, size, name, exp_name = match.groups()
        rows.append(IterRow(int(ino), int(size), None, exp_name, name or None, is_pinned=True))
        at = match.end()
    return tuple(rows)


def _plain(text: bytes) -> bytes:
    return _OCTAL.sub(lambda match: bytes((int(match[1], 8),)), text) if b"\\" in text else text
