"""Three processes that hold a buffer, and files of a server that answers no more: `python dead_server.py FOLDER`.

It prints their pids: one that only holds, one that waits for the server in read(2), and one that waits for it in
mmap(2), with the lock of its own memory held. All of it ends with stdin; the mount is seen by these alone.

The server speaks the kernel's protocol (include/uapi/linux/fuse.h) over /dev/fuse, without a library. It takes WRITE
and never answers, and once all three stand it is stopped.
"""

import ctypes
import os
import signal
import stat
import struct
import sys
import time
from collections.abc import Callable
from mmap import MAP_ANONYMOUS, MAP_PRIVATE, MAP_SHARED, PAGESIZE, PROT_READ, PROT_WRITE
from pathlib import Path

NAME = b"file"
SIZE_BYTES = 1 << 16
KEEP_CACHE = 2
CLONE_NEWNS, MS_REC_PRIVATE, MAP_FIXED, PR_SET_PDEATHSIG = 0x20000, 0x44000, 0x10, 1
TIMEOUT_S = 5
WAITING = ("request_wait_answer", "folio_wait", "wait_on_page")

libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long)


def attributes(node: int) -> bytes:
    mode, size = (stat.S_IFDIR | 0o755, 0) if node == 1 else (stat.S_IFREG | 0o666, SIZE_BYTES)
    return struct.pack("<6Q10I", node, size, size // 512, 0, 0, 0, 0, 0, 0, mode, 1, 0, 0, 0, 4096, 0)


def answer(opcode: int, node: int, body: bytes) -> bytes | int | None:
    """A reply, an errno, or None for silence."""
    match opcode:
        case 26:  # INIT
            return struct.pack("<4I2H2I2H8I", 7, 31, 0, 0, 16, 12, 1 << 16, 1, 16, 0, *[0] * 8)
        case 1:  # LOOKUP
            found = struct.pack("<4Q2I", 2, 1, 0, 0, 0, 0) + attributes(2)
            return found if body.rstrip(b"\0") == NAME else 2
        case 3:  # GETATTR
            return struct.pack("<Q2I", 0, 0, 0) + attributes(node)
        case 14:  # OPEN
            return struct.pack("<Q2I", 1, KEEP_CACHE, 0)
        case 15:  # READ
            _, offset, size = struct.unpack_from("<2QI", body)
            return bytes(max(0, min(size, SIZE_BYTES - offset)))
        case 2 | 42 | 16:  # FORGET and BATCH_FORGET, which want none, and WRITE
            return None
        case _:
            return 38


def serve(device: int) -> None:
    while True:
        request = os.read(device, 1 << 20)
        _, opcode, unique, node = struct.unpack_from("<2I2Q", request)
        reply = answer(opcode, node, request[40:])
        if reply is not None:
            body, error = (b"", reply) if isinstance(reply, int) else (reply, 0)
            os.write(device, struct.pack("<IiQ", 16 + len(body), -error, unique) + body)


def hold(path: str, what: str, ready: int, go: int) -> None:
    """One of the three: open files, and a mapping that the server has to be told of before it can be taken away."""
    os.ftruncate(os.memfd_create(f"dmabuf-{what}"), PAGESIZE)
    fds = [os.open(path, os.O_RDWR) for _ in range(3)]
    mapped = libc.mmap(None, PAGESIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fds[0], 0)
    if what == "lock":
        ctypes.memset(mapped, 1, 1)
    os.write(ready, b".")
    os.read(go, 1)
    if what == "read":
        os.pread(fds[0], 1, 50_000)
    if what == "lock":  # fs/fuse/file.c fuse_vma_close writes what is dirty, and waits
        libc.mmap(mapped, PAGESIZE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0)
    signal.pause()


def child(work: Callable[[], None]) -> int:
    pid = os.fork()
    if pid == 0:
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        work()
        os._exit(1)
    return pid


def mount(folder: str) -> int:
    device = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
    options = f"fd={device},rootmode=40000,user_id=0,group_id=0".encode()
    if (
        libc.unshare(CLONE_NEWNS)
        or libc.mount(None, b"/", None, MS_REC_PRIVATE, None)
        or libc.mount(b"heaptop-test", folder.encode(), b"fuse.heaptop-test", 0, options)
    ):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return device


def main(folder: str) -> None:
    device = mount(folder)
    server = child(lambda: serve(device))
    os.close(device)
    ready, is_ready = os.pipe()
    may_go, go = os.pipe()
    pids = {
        what: child(lambda what=what: hold(f"{folder}/file", what, is_ready, may_go))  # type: ignore[misc]
        for what in ("hold", "read", "lock")
    }
    for _ in pids:
        os.read(ready, 1)
    os.kill(server, signal.SIGSTOP)
    os.write(go, b"...")
    end = time.monotonic() + TIMEOUT_S
    for what, pid in pids.items():
        while what != "hold" and not Path(f"/proc/{pid}/wchan").read_text().startswith(WAITING):
            if time.monotonic() > end:
                sys.exit(f"{what} does not wait for the server")
    sys.stdout.write(" ".join(map(str, pids.values())) + "\n")
    sys.stdout.flush()
    sys.stdin.read()
    for pid in (*pids.values(), server):  # the server last: then who waits gets an error
        os.kill(pid, signal.SIGKILL)


if __name__ == "__main__":
    main(sys.argv[1])
