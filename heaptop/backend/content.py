"""Looks into a buffer: its descriptor is taken from whoever holds it, mapped for reading, and copied between SYNCs.

Whoever looks holds the buffer: until `close` it stays alive though all others let go of it, and heaptop shows up as
one of its holders. Nothing here can hang its caller: START waits for fences, mmap and page faults for locks of the
exporter, so each is done in a thread that is left alone once it takes too long.
"""

import ctypes
import errno
import mmap
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from functools import partial
from typing import Final, TypeVar

from heaptop.backend import uapi
from heaptop.backend.base import FdAt, MapAt, Span, Way
from heaptop.errors import SourceError, errno_text
from heaptop.scan.patience import TIMEOUT_S

T = TypeVar("T")

_PIDFD_GETFD: Final = 438
"""The same on every architecture but alpha (5.6 on)."""
_PIDFD_THREAD: Final = os.O_EXCL
"""Takes a thread that is not its process's leader (6.9 on; before, EINVAL)."""
_CHUNK_BYTES: Final = 64 << 10
"""What a pipe holds as a rule; less is fine."""

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mmap.restype = ctypes.c_void_p
_libc.mmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long)
_libc.munmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t)
_libc.write.restype = ctypes.c_ssize_t
_libc.write.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t)
_MAP_FAILED: Final = ctypes.c_void_p(-1).value

_TRACE: Final = "run as root or with CAP_SYS_PTRACE; for your own processes kernel.yama.ptrace_scope=0 does as well"
_REACH_REMEDIES: Final = {
    errno.EPERM: _TRACE,
    errno.EACCES: _TRACE,
    errno.ENOSYS: "pidfd_getfd(2) came with Linux 5.6; a sandbox may refuse it too",
    errno.EMFILE: "raise `ulimit -n`",
}
_MAPPED_ONLY: Final = "it is held by mappings alone, and the kernel lets nobody open those of dma-bufs"
_GONE: Final = (errno.ESRCH, errno.EBADF, errno.ENOENT, errno.ESTALE)


class BufferContent:
    """A buffer that is open for reading. Its methods may be called from any thread."""

    def __init__(self, fd: int, inode: int, timeout_s: float = TIMEOUT_S) -> None:
        """Takes over the descriptor `fd`, also where this fails.

        Raises:
            OSError: it cannot be mapped.
        """
        self._fd = fd
        self._inode = inode
        self._timeout_s = timeout_s
        self._closed = False
        self._pipe: tuple[int, ...] = ()
        self._address: int | None = None
        self._busy = threading.Lock()
        try:
            self.size_bytes = os.fstat(fd).st_size or os.lseek(fd, 0, os.SEEK_END)  # up to 5.2, stat has no size
            self._pipe = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
            self._address = _mapped(fd, self.size_bytes)
        except BaseException:
            self._release()
            raise

    def read(self, spans: Sequence[Span]) -> tuple[bytes, ...]:
        """The bytes of each span, all read between one pair of SYNCs; less where the buffer ends before.

        Raises:
            SourceError: it cannot be read, takes too long, or is closed.
        """
        if not self._busy.acquire(timeout=self._timeout_s):
            raise self._hangs()
        return _patiently(partial(self._read, tuple(spans)), self._timeout_s, self._hangs)

    def close(self) -> None:
        """Let go of the buffer; where a read hangs, as soon as that ends. May be called twice."""
        self._closed = True
        if self._busy.acquire(blocking=False):
            self._release()
            self._busy.release()

    def _read(self, spans: tuple[Span, ...]) -> tuple[bytes, ...]:
        try:
            if self._closed:
                raise SourceError(f"buffer {self._inode} is closed")
            with uapi.synced(self._fd, uapi.SYNC_READ):
                return tuple(self._span(*span) for span in spans)
        except OSError as error:
            why = errno_text(error.errno or errno.EIO)
            raise SourceError(
                f"buffer {self._inode} cannot be read", why, "its exporter refuses, or is gone"
            ) from error
        finally:
            self._busy.release()
            if self._closed:
                self.close()

    def _span(self, offset: int, length: int) -> bytes:
        end = min(offset + length, self.size_bytes)
        return b"".join(self._copied(offset, end))

    def _copied(self, at: int, end: int) -> Iterator[bytes]:
        """Copied by the kernel, by way of a pipe: a page that cannot be had is EFAULT then, and not a SIGBUS."""
        assert self._address is not None
        reader, writer = self._pipe
        while at < end:
            written = _libc.write(writer, self._address + at, min(end - at, _CHUNK_BYTES))
            if written < 0:
                raise _os_error()
            at += written
            yield os.read(reader, written)

    def _release(self) -> None:
        if self._address is not None:
            _libc.munmap(self._address, self.size_bytes)
            self._address = None
        for fd in (self._fd, *self._pipe):
            if fd >= 0:
                os.close(fd)
        self._fd, self._pipe = -1, ()

    def _hangs(self) -> SourceError:
        why = f"no answer for {self._timeout_s:g} s: a fence is not signalled, or its exporter hangs"
        return SourceError(f"buffer {self._inode} cannot be read now", why, "bufinfo shows its fences; try again later")


def open_content(
    inode: int, ways: Sequence[Way], is_buffer: Callable[[bytes], bool], timeout_s: float = TIMEOUT_S
) -> BufferContent:
    """Open a buffer by the first of `ways` that leads to it. `is_buffer` knows a buffer by its link.

    Raises:
        SourceError: nobody holds it, it may not be looked into, or it cannot be mapped.
    """

    def hangs() -> SourceError:
        why = f"no answer for {timeout_s:g} s: a process that holds it, or its exporter, hangs"
        return SourceError(f"buffer {inode} cannot be opened now", why, "try again later")

    work = partial(_open, inode, tuple(ways), is_buffer, timeout_s)
    return _patiently(work, timeout_s, hangs, BufferContent.close)


def _open(inode: int, ways: tuple[Way, ...], is_buffer: Callable[[bytes], bool], timeout_s: float) -> BufferContent:
    failures: list[tuple[int, SourceError]] = []
    for way in sorted(ways, key=lambda way: (isinstance(way, MapAt), way.pid != os.getpid())):
        try:
            fd = _reach(way, inode, is_buffer)
        except OSError as error:
            failures.append(_unreachable(inode, way, error.errno or errno.EIO))
            continue
        try:
            return BufferContent(fd, inode, timeout_s)
        except OSError as error:
            failures.append(_unmappable(inode, error.errno or errno.EIO))
            if error.errno != errno.EACCES:
                break  # no other descriptor of it can be mapped either
    if not failures:
        raise SourceError(f"buffer {inode} cannot be opened", "no process is seen to hold it", "see the gaps for why")
    raise min(failures, key=lambda failure: failure[0])[1]


def _mapped(fd: int, size_bytes: int) -> int:
    """Unlike mmap.mmap this keeps no second descriptor, and lets other threads run while a driver thinks."""
    address = _libc.mmap(None, size_bytes, mmap.PROT_READ, mmap.MAP_SHARED, fd, 0)
    if address == _MAP_FAILED:
        raise _os_error()
    return int(address)


def _reach(way: Way, inode: int, is_buffer: Callable[[bytes], bool]) -> int:
    """A descriptor of our own for the buffer.

    Raises:
        OSError: ESTALE where something else is found there by now.
    """
    if isinstance(way, MapAt):
        path = f"/proc/{way.pid}/map_files/{way.start:x}-{way.end:x}"
        if not is_buffer(os.readlink(os.fsencode(path))):
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    else:
        fd = os.dup(way.fd) if way.pid == os.getpid() and way.tid is None else _taken(way)
    if os.fstat(fd).st_ino == inode and is_buffer(os.readlink(b"/proc/self/fd/%d" % fd)):
        return fd
    os.close(fd)
    raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))


def _taken(way: FdAt) -> int:
    """Another process's descriptor (pidfd_getfd(2): PTRACE_MODE_ATTACH)."""
    pidfd = os.pidfd_open(way.pid) if way.tid is None else os.pidfd_open(way.tid, _PIDFD_THREAD)
    try:
        fd = _libc.syscall(_PIDFD_GETFD, pidfd, way.fd, 0)
        if fd < 0:
            raise _os_error()
        return int(fd)
    finally:
        os.close(pidfd)


def _unreachable(inode: int, way: Way, number: int) -> tuple[int, SourceError]:
    """Why a way leads nowhere; of several reasons the one with the least number is told."""
    what = f"buffer {inode} cannot be opened"
    if number in _GONE:
        return 5, SourceError(what, "it is not there any more, or not where it was", "look again")
    if isinstance(way, MapAt):
        if number == errno.ENXIO:
            return 4, SourceError(what, _MAPPED_ONLY)
        remedy = "run as root, or with CAP_CHECKPOINT_RESTORE"
        return 3, SourceError(what, f"{_MAPPED_ONLY}; of the emulator's only root may: {errno_text(number)}", remedy)
    if way.tid is not None and number == errno.EINVAL:
        return 3, SourceError(what, f"it is in thread {way.tid}'s own table, which can be reached from Linux 6.9 on")
    why = f"process {way.pid} does not let it be taken: {errno_text(number)}"
    return 2, SourceError(what, why, _REACH_REMEDIES.get(number, ""))


def _unmappable(inode: int, number: int) -> tuple[int, SourceError]:
    what = f"buffer {inode} cannot be mapped"
    if number == errno.EACCES:
        return 1, SourceError(what, f"every descriptor that was found is write-only: {errno_text(number)}")
    why = f"its exporter lets no CPU see it (a secure heap, or memory of a device): {errno_text(number)}"
    return 0, SourceError(what, why)


def _patiently(
    work: Callable[[], T],
    timeout_s: float,
    hangs: Callable[[], SourceError],
    undo: Callable[[T], None] = lambda _: None,
) -> T:
    """What `work` gives, in a thread of its own. Where that takes too long its result is undone when it comes.

    Raises:
        SourceError: what `hangs` makes, after `timeout_s`.
    """
    future: Future[T] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:  # noqa: BLE001  (it is raised again where the result is waited for)
            future.set_exception(error)

    def give_back(done: "Future[T]") -> None:
        if done.exception() is None:
            undo(done.result())

    threading.Thread(target=run, name="heaptop-content", daemon=True).start()
    try:
        return future.result(timeout_s)
    except TimeoutError:
        if future.done():
            raise
        future.add_done_callback(give_back)
        raise hangs() from None


def _os_error() -> OSError:
    number = ctypes.get_errno()
    return OSError(number, os.strerror(number))
