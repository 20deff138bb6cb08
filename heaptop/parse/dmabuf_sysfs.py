"""`/sys/kernel/dmabuf/buffers/INODE/...` (drivers/dma-buf/dma-buf-sysfs-stats.c, 5.14 to 6.19; Android from 5.4 on).

exporter_name  size                             all
attachments/UID/{device,map_counter}            5.14 and early Android 5.10 only; device is a symbolic link
"""

from typing import NamedTuple

from heaptop.parse.text import error_at, integer
from heaptop.pattern import pattern

_PATH = pattern(
    r"sys/kernel/dmabuf/buffers/([0-9]{1,20})/(?:(exporter_name|size)|attachments/([^/]+)/(device|map_counter))"
)


class Entry(NamedTuple):
    """A file there: of which buffer, and of which attachment of it."""

    inode: int
    file: str
    attachment: str | None


def entry(path: str) -> Entry | None:
    """What `sys/kernel/dmabuf/buffers/INODE/...` stands for; None for any other path. Total."""
    match = _PATH.fullmatch(path)
    if match is None:
        return None
    return Entry(int(match[1]), match[2] or match[4], match[3])


def exporter_name(data: bytes) -> bytes:
    """The exporter without the newline.

    Raises:
        ParseError: it is empty, or more than one line.
    """
    name = data.removesuffix(b"\n")
    if not name or b"\n" in name:
        raise error_at("exporter_name", "not one line", data)
    return name


def size(data: bytes) -> int:
    """The buffer's size in bytes.

    Raises:
        ParseError: not a number.
    """
    return integer(data, "dmabuf size")


def map_counter(data: bytes) -> int:
    """How often the attachment's device has the buffer mapped.

    Raises:
        ParseError: not a number.
    """
    return integer(data, "map_counter")


def device(target: bytes) -> bytes:
    """The device's name out of the target of the link `device`. Total."""
    return target.rsplit(b"/", 1)[-1]
