r"""`/proc/P/fdinfo/N` of an io_uring (io_uring/fdinfo.c): the files that are registered with it, which no table shows.

pos:	0
…
UserFiles:	2
    0: /dmabuf:frame         7.x; the name is escaped as in maps (`\012`)
    1: dmabuf                up to 6.x: what the file's dentry is called, the same for all dma-bufs
UserBufs:	0
"""

import re

from heaptop.parse.text import error_at
from heaptop.pattern import pattern

_POS = pattern(rb"pos:\t-?\d{1,19}\n")
_FILES = pattern(rb"^UserFiles:\t\d{1,10}\n((?: *\d{1,10}: [^\n]*\n)*)", re.MULTILINE)
_FILE = pattern(rb"^ *\d{1,10}: (?:/dmabuf:([^\n]*)|(dmabuf))$", re.MULTILINE)
_OCTAL = pattern(rb"\\([0-3][0-7]{2})")


def dmabufs(data: bytes) -> tuple[bytes | None, ...]:
    """The dma-bufs among its files: the name of each, empty for one without, None where the kernel tells none.

    Raises:
        ParseError: not an fdinfo.
    """
    if _POS.match(data) is None:
        raise error_at("fdinfo of an io_uring", "not pos", data)
    files = _FILES.search(data)
    if files is None:
        return ()
    return tuple(
        None if match[2] is not None else _OCTAL.sub(lambda found: bytes([int(found[1], 8)]), match[1])
        for match in _FILE.finditer(files[1])
    )
