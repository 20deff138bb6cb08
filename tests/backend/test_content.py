"""Looking into buffers: real memfds, real processes, refusals that are the kernel's own, and nothing left behind."""

import errno
import fcntl
import os
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from heaptop.assemble import assemble
from heaptop.backend import uapi
from heaptop.backend.base import ContentReader, FdAt, MapAt, Way
from heaptop.backend.content import BufferContent, open_content
from heaptop.backend.emulated import EmulatedBackend
from heaptop.backend.fill import fill, parse_pattern
from heaptop.backend.reach import OwnEmulator
from heaptop.backend.select import ReadOnly, open_backend
from heaptop.errors import SourceError
from tests.support import CAPTURES

SIZE_BYTES = 3 * 4096
ME = os.getpid()

TELL_AND_WAIT = "print(fd, flush=True); sys.stdin.read()"


def is_ours(link: bytes) -> bool:
    return link.startswith(b"/memfd:content")


@pytest.fixture
def fd() -> Iterator[int]:
    number = os.memfd_create("content", os.MFD_CLOEXEC)
    os.ftruncate(number, SIZE_BYTES)
    os.pwrite(number, bytes(range(256)) * (SIZE_BYTES // 256), 0)
    yield number
    os.close(number)


def opened(fd: int, *, timeout_s: float = 30.0) -> BufferContent:
    return open_content(os.fstat(fd).st_ino, [FdAt(ME, fd)], is_ours, timeout_s)


def references(name: str) -> int:
    """Descriptors and mappings of files of this name that this process has."""
    links = [os.readlink(path) for path in Path("/proc/self/fd").iterdir() if path.is_symlink()]
    return sum(name in link for link in links) + Path("/proc/self/maps").read_text().count(name)


@contextmanager
def holder(program: str, pass_fds: Sequence[int] = ()) -> Iterator[tuple[int, int]]:
    """Another process that runs this and tells the number `fd`; its pid and that number."""
    with subprocess.Popen(
        [sys.executable, "-c", f"import ctypes, mmap, os, sys\n{program}\n{TELL_AND_WAIT}"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        pass_fds=pass_fds,
    ) as process:
        assert process.stdout is not None
        assert select.select([process.stdout], [], [], 30)[0]
        yield process.pid, int(process.stdout.readline())
        process.kill()


def test_spans_are_what_is_in_the_buffer(fd: int) -> None:
    content = opened(fd)
    assert content.size_bytes == SIZE_BYTES
    assert content.read([(0, 3), (4096 + 7, 2), (SIZE_BYTES - 1, 100), (SIZE_BYTES, 1), (1 << 60, 1)]) == (
        b"\0\1\2",
        b"\7\10",
        b"\xff",
        b"",
        b"",
    )
    os.pwrite(fd, b"new", 0)
    assert content.read([(0, 3)]) == (b"new",), "it is read anew each time"
    content.close()


def test_nothing_is_left(fd: int) -> None:
    before = references("content")
    content = opened(fd)
    content.read([(0, 1)])
    assert references("content") > before
    content.close()
    content.close()
    assert references("content") == before
    with pytest.raises(SourceError, match="closed"):
        content.read([(0, 1)])


def test_reads_stand_between_syncs_and_interruptions_are_repeated(fd: int, monkeypatch: pytest.MonkeyPatch) -> None:
    flags: list[int] = []

    def ioctl(_fd: int, request: int, argument: bytes) -> int:
        assert request == 0x40086200
        flags.append(int.from_bytes(argument, sys.byteorder))
        if len(flags) < 4:
            raise OSError([errno.EINTR, errno.EAGAIN][len(flags) % 2], "again")
        return 0

    monkeypatch.setattr(fcntl, "ioctl", ioctl)
    content = opened(fd)
    assert content.read([(0, 1), (1, 1)]) == (b"\0", b"\1")
    assert flags == [1, 1, 1, 1, 5]
    content.close()


def test_interruptions_come_to_an_end(fd: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def ioctl(*_: object) -> int:
        raise OSError(errno.EAGAIN, "again")

    monkeypatch.setattr(fcntl, "ioctl", ioctl)
    content = opened(fd)
    with pytest.raises(SourceError, match="EAGAIN"):
        content.read([(0, 1)])
    content.close()


def test_a_fence_that_never_signals_holds_nobody_up(fd: int, monkeypatch: pytest.MonkeyPatch) -> None:
    signalled = threading.Event()

    @contextmanager
    def synced(*_: int) -> Iterator[None]:
        signalled.wait()
        yield

    monkeypatch.setattr(uapi, "synced", synced)
    before = references("content")
    content = opened(fd, timeout_s=0.05)
    for _ in range(2):
        with pytest.raises(SourceError, match="a fence is not signalled"):
            content.read([(0, 1)])
    readers = [thread for thread in threading.enumerate() if thread.name == "heaptop-content"]
    assert len(readers) == 1, "no second one waits behind the first"
    content.close()
    assert references("content") > before, "the read that hangs still needs it"
    signalled.set()
    readers[0].join(30)
    assert references("content") == before


def test_an_open_that_hangs_is_given_up_and_undone(fd: int, monkeypatch: pytest.MonkeyPatch) -> None:
    let_go = threading.Event()
    real_dup = os.dup

    def dup(number: int) -> int:
        let_go.wait()
        return real_dup(number)

    monkeypatch.setattr(os, "dup", dup)
    before = references("content")
    with pytest.raises(SourceError, match="hangs"):
        opened(fd, timeout_s=0.05)
    (opener,) = (thread for thread in threading.enumerate() if thread.name == "heaptop-content")
    let_go.set()
    opener.join(30)
    assert references("content") == before


def test_a_page_that_cannot_be_had_is_an_error_and_no_signal(fd: int) -> None:
    content = opened(fd)
    os.ftruncate(fd, 4096)
    with pytest.raises(SourceError, match="EFAULT"):
        content.read([(0, SIZE_BYTES)])
    assert content.read([(0, 2)]) == (b"\0\1",)
    content.close()


def test_a_write_only_descriptor_says_so_and_another_serves(fd: int) -> None:
    inode = os.fstat(fd).st_ino
    writer = os.open(f"/proc/self/fd/{fd}", os.O_WRONLY | os.O_CLOEXEC)
    with pytest.raises(SourceError, match=r"write-only: EACCES"):
        open_content(inode, [FdAt(ME, writer)], is_ours)
    content = open_content(inode, [FdAt(ME, writer), FdAt(ME, fd)], is_ours)
    assert content.read([(1, 1)]) == (b"\1",)
    content.close()
    os.close(writer)


def test_what_cannot_be_mapped_says_so(tmp_path: Path) -> None:
    folder = os.open(tmp_path, os.O_RDONLY | os.O_CLOEXEC)
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(SourceError, match=r"cannot be mapped: its exporter .*: ENODEV"):
        open_content(os.fstat(folder).st_ino, [FdAt(ME, folder)], lambda _: True)
    assert len(os.listdir("/proc/self/fd")) == before
    os.close(folder)


def test_another_file_by_the_same_number_is_not_looked_into(fd: int, tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(SourceError, match="not there any more"):
        open_content(os.fstat(fd).st_ino + 1, [FdAt(ME, fd)], is_ours)
    with (tmp_path / "file").open("wb") as other, pytest.raises(SourceError, match="not there any more"):
        open_content(os.fstat(other.fileno()).st_ino, [FdAt(ME, other.fileno())], is_ours)
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize("way", [FdAt(ME, 10_000), MapAt(ME, 4096, 8192)])
def test_what_is_gone_is_gone(way: Way) -> None:
    with pytest.raises(SourceError, match="not there any more"):
        open_content(1, [way], is_ours)


def test_a_process_that_ended() -> None:
    with subprocess.Popen(["true"]) as ended:
        pass
    with pytest.raises(SourceError, match="not there any more"):
        open_content(1, [FdAt(ended.pid, 3)], is_ours)


def test_nobody_holds_it() -> None:
    with pytest.raises(SourceError, match="no process is seen to hold it"):
        open_content(1, [], is_ours)


def test_another_process_by_its_descriptor() -> None:
    program = "fd = os.memfd_create('content'); os.truncate(fd, 8192); os.pwrite(fd, b'theirs', 4096)"
    with holder(program) as (pid, number):
        inode = os.stat(f"/proc/{pid}/fd/{number}").st_ino
        content = open_content(inode, [FdAt(pid, number)], is_ours)
        os.kill(pid, signal.SIGKILL)
        assert content.read([(4096, 6)]) == (b"theirs",), "who looks holds it"
        content.close()


MAP_ONLY = """
made = os.memfd_create('content')
os.truncate(made, 8192)
os.pwrite(made, b'mapped', 0)
libc = ctypes.CDLL(None)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t] + [ctypes.c_int] * 3 + [ctypes.c_long]
fd = libc.mmap(None, 8192, 1, 1, made, 0)
os.close(made)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: map_files")
def test_another_process_by_its_mapping() -> None:
    with holder(MAP_ONLY) as (pid, start):
        way = MapAt(pid, start, start + 8192)
        inode = os.stat(f"/proc/{pid}/map_files/{way.start:x}-{way.end:x}").st_ino
        content = open_content(inode, [way], is_ours)
        assert content.read([(0, 6)]) == (b"mapped",)
        content.close()


def refused(way: Way, number: int, monkeypatch: pytest.MonkeyPatch, call: str) -> str:
    def refuse(*_: object, **__: object) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, call, refuse)
    with pytest.raises(SourceError) as caught:
        open_content(1, [way], lambda _: True)
    return str(caught.value)


def test_the_kernel_opens_no_mapping_of_a_dma_buf(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "readlink", lambda _: b"/dmabuf:")
    assert "held by mappings alone" in refused(MapAt(1, 0, 4096), errno.ENXIO, monkeypatch, "open")


def test_a_mapping_of_the_emulators_needs_rights(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "run as root" in refused(MapAt(1, 0, 4096), errno.EPERM, monkeypatch, "readlink")


def test_a_threads_own_table_before_6_9(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "thread 7's own table" in refused(FdAt(1, 3, 7), errno.EINVAL, monkeypatch, "pidfd_open")


def test_a_kernel_without_pidfds(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "Linux 5.6" in refused(FdAt(1, 3), errno.ENOSYS, monkeypatch, "pidfd_open")


def attempt(as_user: Callable[[], None], inode: int, way: Way) -> str:
    """What a forked process of other rights is told."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            as_user()
            open_content(inode, [way], is_ours)
            os.write(writer, b"it was let in")
        except SourceError as error:
            os.write(writer, str(error).encode())
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as file:
        said = file.read().decode()
    os.waitpid(child, 0)
    return said


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_a_plain_user_is_told_what_it_takes(fd: int) -> None:
    def become_nobody() -> None:
        if os.geteuid() == 0:
            os.setgroups([])
            os.setresgid(65534, 65534, 65534)
            os.setresuid(65534, 65534, 65534)

    no_dump = f"fd = {fd}; ctypes.CDLL(None).prctl(4, 0)"  # PR_SET_DUMPABLE: nobody without CAP_SYS_PTRACE gets in
    with holder(no_dump, [fd]) as (pid, number):
        said = attempt(become_nobody, os.fstat(fd).st_ino, FdAt(pid, number))
    assert f"process {pid} does not let it be taken: EPERM" in said
    assert "run as root or with CAP_SYS_PTRACE" in said


@pytest.fixture(scope="module")
def emulator() -> Iterator[EmulatedBackend]:
    backend = EmulatedBackend(OwnEmulator("steady"))
    yield backend
    backend.close()


def test_the_emulator_shows_what_was_filled_in(emulator: EmulatedBackend) -> None:
    given = emulator.allocate("system", 64 << 10)
    fill(given.fd, given.size_bytes, parse_pattern("count"))
    content = emulator.open_content(given.inode, [FdAt(ME, given.fd)])
    assert content.read([(4096, 8)]) == ((1024).to_bytes(4, "little") + (1025).to_bytes(4, "little"),)
    content.close()
    os.close(given.fd)


def test_the_emulators_processes_are_looked_into(emulator: EmulatedBackend) -> None:
    buffers = assemble(emulator.capture()).buffers
    (scanout,) = (buffer for buffer in buffers if buffer.name == "scanout")
    (owner,) = scanout.holders
    ways: list[list[Way]] = [[FdAt(owner.process.pid, ref.fd) for ref in owner.fds]]
    if os.geteuid() == 0:
        ways.append([MapAt(owner.process.pid, ref.start, ref.start + ref.length_bytes) for ref in owner.maps])
    for some in ways:
        content = emulator.open_content(scanout.inode, some)
        assert content.read([(0, 4)]) == (b"ZZZZ",)
        content.close()


def test_who_can_be_looked_into(capture_dir: Callable[[str], Path]) -> None:
    assert isinstance(open_backend("kernel").backend, ContentReader)
    assert isinstance(open_backend("kernel", readonly=True).backend, ContentReader)
    assert isinstance(open_backend("kernel", readonly=True).backend, ReadOnly)
    replay = open_backend(f"replay:{capture_dir(CAPTURES[0])}").backend
    assert not isinstance(replay, ContentReader)
    assert not isinstance(open_backend("kernel", root=str(capture_dir(CAPTURES[0]))).backend, ContentReader)
