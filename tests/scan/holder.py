"""A process with very many descriptors: `python holder.py COUNT [low|high|other]`.

They are all of one buffer, far apart in `high`; in `other` they are of another file, and that of a buffer comes last.
Its limit is raised to what is allowed; where that is too few, it says so and ends.
"""

import array
import os
import resource
import signal
import socket
import sys
from pathlib import Path

BATCH = 253
"""SCM_MAX_FD of include/net/scm.h: so many descriptors pass in one message."""


def raise_limit() -> int:
    """How many there may be. Root may have more than it was given, with CAP_SYS_RESOURCE."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = int(Path("/proc/sys/fs/nr_open").read_text())
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    except (ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        return hard
    return most


def fill(fd: int, count: int) -> None:
    """By passing them on, as many at once as go: an emulated processor is slow."""
    here, there = socket.socketpair()
    while count > 0:
        some = min(count, BATCH)
        here.sendmsg([b"."], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [fd] * some))])
        there.recvmsg(1, socket.CMSG_SPACE(4 * some))
        count -= some


def main(count: int, where: str) -> None:
    limit = raise_limit()
    fd = os.memfd_create("dmabuf-many")
    os.ftruncate(fd, 4096)
    filler = os.open("/dev/null", os.O_RDONLY) if where == "other" else fd
    if where == "high":
        for i in range(1, count):
            os.dup2(fd, limit - 1 - i * (limit // (count + 1)))
    elif limit < count + 10:
        sys.exit(f"only {limit} descriptors are allowed")
    else:
        fill(filler, count - 1)
    if where == "other":
        fd = os.dup(last := fd)
        os.close(last)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    signal.pause()


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else "low")
