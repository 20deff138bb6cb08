"""What BPF tells of processes is what /proc tells; on this kernel, where it allows that.

Stand-ins play the buffers here; tests/vm/guest/test_bpf_scan.py has real ones.
"""

import mmap
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("heaptop.scan._scan")

from heaptop.capture import ProcessCapture
from heaptop.scan import bpf_scan
from heaptop.scan.bpf_call import SharedMemory
from heaptop.scan.bpf_chunks import BpfChunks
from heaptop.scan.bpf_here import make, memory_files
from heaptop.scan.bpf_scan import BpfScan
from heaptop.scan.btf import BtfError
from heaptop.scan.chunks import MAPS, Chunks
from heaptop.scan.proc import ProcScan
from heaptop.scan.sharing import FD_SHARED, with_sharing
from heaptop.scan.told import Told
from tests.scan.actor import PREFIX
from tests.scan.churn import Actor, Churn
from tests.scan.test_bpf import open_files
from tests.scan.test_twins import actor

__all__ = ["actor"]

LINK = f"/memfd:{PREFIX}".encode()
SCAN = ProcScan("/proc", lambda link: link.startswith(LINK), LINK)
OPTIONS: dict[str, Any] = {"prefixes": (LINK,), "stand_ins": True}


def look_by_bpf(walks: bool = True) -> BpfScan:
    return make(memory_files(PREFIX.encode()), walks=walks)


@pytest.fixture(params=[True, False], ids=["walk", "passes"])
def bpf(request: pytest.FixtureRequest) -> Iterator[BpfScan]:
    try:
        found = look_by_bpf(request.param)
    except (BtfError, OSError) as why:
        pytest.skip(f"not on this kernel, or not for this user: {why}")
    if found.walks is not request.param:
        found.close()
        pytest.skip("this kernel does not offer what the quick way takes")
    with closing(found):
        yield found


@pytest.fixture
def only_where_allowed() -> None:
    skip_where_refused()


def skip_where_refused() -> None:
    """Skip the test where BPF may not be used."""
    try:
        look_by_bpf().close()
    except (BtfError, OSError) as why:
        pytest.skip(f"not on this kernel, or not for this user: {why}")


def by_proc(pid: int) -> ProcessCapture | None:
    ((_, capture, _),) = Chunks(SCAN, **OPTIONS).each([pid], complete=True)
    return capture


def assert_same(told: Told, capture: ProcessCapture | None) -> None:
    assert capture is not None
    assert told.links == tuple(link for link in capture.table.links if link.stat is not None)
    assert told.maps == capture.files[MAPS]
    assert told.comm + b"\n" == capture.files["comm"]
    assert not told.is_odd


def test_a_holder(actor: Actor, bpf: BpfScan) -> None:
    for command in ("new plain", "new new\nline", "dup 0", "dup_far 1", "map 0", "map 1", "map_private 0", "close 0"):
        actor.tell(command)
    told = bpf.look([actor.pid])
    assert told.keys() == {actor.pid}
    assert len(told[actor.pid].links) == 3
    assert told[actor.pid].maps.count(b"\n") == 3
    assert_same(told[actor.pid], by_proc(actor.pid))
    actor.tell("rename 5")
    assert bpf.look([actor.pid])[actor.pid].comm == b"churn-5"


def test_what_changes_changes_the_signature(actor: Actor, bpf: BpfScan) -> None:
    def signature() -> int:
        return bpf.look([actor.pid])[actor.pid].signature

    seen = [signature()]
    assert signature() == seen[0]
    for command in ("new one", "dup 0", "map 0", "rename 100", "rename 101", "unmap 0", "close 0", "exec"):
        actor.tell(command)
        if command == "exec":
            actor.tell("hello")
        seen.append(signature())
        assert signature() == seen[-1]
    assert len(set(seen)) == len(seen)


def test_who_is_asked_for(actor: Actor, bpf: BpfScan) -> None:
    own = os.getpid()
    actor.tell("new here")
    with subprocess.Popen(["true"]) as ended:
        pass
    told = bpf.look([actor.pid, own, 2, ended.pid])
    assert told.keys() == {actor.pid, own}, "there are kernel threads, and numbers of nobody"
    assert told[own].links == ()
    assert bpf.look([own]).keys() == {own}
    assert bpf.look([]) == {}
    assert bpf.knows(own)
    assert not bpf.knows(1 << 30)


def test_many(bpf: BpfScan, monkeypatch: pytest.MonkeyPatch) -> None:
    """More records than there was room for, and a memory whose tree has several levels."""
    shape = "import os,mmap,resource,sys; from resource import RLIMIT_NOFILE as files\n"
    shape += "resource.setrlimit(files, (2000, resource.getrlimit(files)[1]))\n"
    shape += "fd=os.memfd_create('dmabuf-many'); os.ftruncate(fd, 4096)\n"
    shape += "maps=[mmap.mmap(fd if i % 9 == 0 else -1, 4096, flags=1+i%2, prot=1+i%3%2*2) for i in range(4000)]\n"
    shape += "fds=[os.dup(fd) for _ in range(600)]; print(len(maps), flush=True); sys.stdin.read()"
    monkeypatch.setattr(bpf_scan, "_RECORDS_BYTES", mmap.PAGESIZE)
    small = look_by_bpf(bpf.walks)
    with (
        closing(small),
        subprocess.Popen([sys.executable, "-c", shape], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process,
    ):
        assert process.stdout is not None
        process.stdout.readline()
        told = small.look([process.pid])[process.pid]
        assert len(told.links) > 600
        assert told.maps.count(b"\n") > 400
        assert_same(told, by_proc(process.pid))
        process.communicate()
        assert small.look([process.pid]) == {}


def test_a_thread_with_a_table_of_its_own_is_odd(actor: Actor, bpf: BpfScan) -> None:
    actor.tell("new here")
    assert not bpf.look([actor.pid])[actor.pid].is_odd
    actor.tell("thread 3")
    assert bpf.look([actor.pid])[actor.pid].is_odd


def test_who_shares_a_table(bpf: BpfScan) -> None:
    with Churn(1) as running:
        first = running.actors[0]
        first.tell("new here")
        running.split(first, "share")
        running.split(first, "fork")
        sharing, copying = running.actors[-2:]
        told = bpf.look([first.pid, sharing.pid, copying.pid])
        assert told[first.pid].table == told[sharing.pid].table != told[copying.pid].table
        chunks = BpfChunks(SCAN, make=lambda: look_by_bpf(bpf.walks), worth=0, **OPTIONS)
        with closing(chunks):
            pids = sorted((first.pid, sharing.pid, copying.pid))
            noted = with_sharing([capture for _, capture, _ in chunks.each(pids, complete=False) if capture])
    assert [FD_SHARED in capture.files for capture in noted].count(True) == 1


def test_while_processes_come_and_go(actor: Actor, bpf: BpfScan) -> None:
    """Who does not change is told the same each time, whatever happens around."""
    for command in ("new one", "new two", "map 0", "dup 1"):
        actor.tell(command)
    expected = bpf.look([actor.pid])[actor.pid]
    storm = "import os\nwhile True:\n    [os.fork() or os._exit(0) for _ in range(20)]\n    os.waitpid(-1, os.WNOHANG)"
    storm = "import signal; signal.signal(signal.SIGCHLD, signal.SIG_IGN)\n" + storm.rpartition("\n")[0]
    processes = [subprocess.Popen([sys.executable, "-c", storm], start_new_session=True) for _ in range(2)]
    try:
        for _ in range(15):
            told = bpf.look(SCAN.pids())
            assert told[actor.pid]._replace(first=expected.first) == expected
    finally:
        for process in processes:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def test_own_mappings_that_change_meanwhile(bpf: BpfScan) -> None:
    """A memory that changes is told whole, or as odd."""
    file = os.memfd_create(f"{PREFIX}steady")
    os.ftruncate(file, mmap.PAGESIZE)
    is_over = threading.Event()

    def churn() -> None:
        while not is_over.is_set():
            with mmap.mmap(-1, 3 * mmap.PAGESIZE), mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ):
                pass

    with mmap.mmap(file, mmap.PAGESIZE):
        thread = threading.Thread(target=churn)
        thread.start()
        try:
            found = [bpf.look([os.getpid()])[os.getpid()] for _ in range(20)]
        finally:
            is_over.set()
            thread.join()
    os.close(file)
    assert {told.maps.count(b"\n") for told in found if not told.is_odd} <= {1}


def test_nothing_is_left_open(bpf: BpfScan) -> None:
    before = open_files()
    other = look_by_bpf(bpf.walks)
    other.look([os.getpid()])
    other.close()
    other.close()
    assert open_files() == before


@pytest.mark.usefixtures("only_where_allowed")
def test_nothing_is_left_by_one_who_is_killed() -> None:
    """Its programs are gone from the kernel, by their numbers."""
    code = (
        "import sys; from heaptop.scan.bpf_here import make; scan = make(); print('made', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        numbers = programs_of(process.pid)
        assert numbers
        assert all(map(is_loaded, numbers))
        process.kill()
        process.wait()
        for number in numbers:
            while is_loaded(number):
                pass  # it is freed a grace period later


def programs_of(pid: int) -> set[int]:
    found = set()
    for path in Path(f"/proc/{pid}/fdinfo").iterdir():
        with suppress(OSError):
            lines = dict(line.split(":\t", 1) for line in path.read_text().splitlines() if ":\t" in line)
            if "link_type" in lines:
                found.add(int(lines["prog_id"]))
    return found


def is_loaded(number: int) -> bool:
    from heaptop.scan.bpf_call import call

    with suppress(FileNotFoundError):
        os.close(call(13, number.to_bytes(4, "little")))  # BPF_PROG_GET_FD_BY_ID
        return True
    return False


def test_another_pid_namespace_is_none_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bpf_scan, "_FIRST_NAMESPACE", 1)
    with pytest.raises(OSError, match="namespace of its own"):
        look_by_bpf()


def test_what_is_open_when_it_fails_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    before = open_files()

    def fail(_self: SharedMemory, _count_bytes: int) -> None:
        raise MemoryError

    monkeypatch.setattr(SharedMemory, "__init__", fail)
    with pytest.raises(MemoryError):
        look_by_bpf()
    assert open_files() == before
