r"""`/proc/P/fdinfo/N` of a Unix socket (net/unix/af_unix.c unix_show_fdinfo, 5.8 on: commit 3a12500ed5dd).

    pos:	0
    flags:	02000002
    mnt_id:	10
    ino:	1164           from 5.14 on
    scm_fds: 2

`scm_fds` are the descriptors that wait in its queue to be received: files in flight, in no table. All of it is the
kernel's own text.
"""

import re

from heaptop.parse.text import error_at
from heaptop.pattern import pattern

_SCM_FDS = pattern(rb"^scm_fds:[ \t]*(\d{1,10})$", re.MULTILINE)
_POS = pattern(rb"pos:\t-?\d{1,19}\n")


def scm_fds(data: bytes) -> int | None:
    """Descriptors in its queue; None where the kernel does not tell, or it is no Unix socket's.

    Raises:
        ParseError: not an fdinfo.
    """
    if _POS.match(data) is None:
        raise error_at("fdinfo of a socket", "not pos", data)
    match = _SCM_FDS.search(data)
    return None if match is None else int(match[1])
