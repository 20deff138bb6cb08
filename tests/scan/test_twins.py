"""The compiled pass and its plain twin find the same in the same processes."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

pytest.importorskip("heaptop.scan._scan")

from heaptop.assemble import assemble
from heaptop.capture import Capture, FdLink, ProcessCapture, Raw
from heaptop.scan.chunks import Chunks
from heaptop.scan.incremental import IncrementalScan, Rounds, with_close_look
from heaptop.scan.proc import ProcScan
from heaptop.scan.refs import refs_of
from tests.scan.actor import PREFIX
from tests.scan.churn import ACTOR, NOTHING_ROUND, Actor
from tests.scan.listed import ListedClocks

NEEDLE = f"/memfd:{PREFIX}".encode()
TWIN = ProcScan("/proc", lambda link: link.startswith(NEEDLE), NEEDLE)
WAYS = [
    pytest.param({}, id="quick"),
    pytest.param({"asks": False}, id="text of maps"),
    pytest.param({"probes": False}, id="listing"),
]


@pytest.fixture
def actor() -> Iterator[Actor]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", str(ACTOR), str(theirs.fileno())], pass_fds=[theirs.fileno()]
        )
    found = Actor(process.pid, ours, process)
    yield found
    found.close()


@dataclass(frozen=True)
class Told:
    """What both must tell of a process."""

    links: tuple[FdLink, ...]
    maps: bytes
    files: dict[str, Raw]
    tasks: int


def told(capture: ProcessCapture | None) -> Told | None:
    if capture is None:
        return None
    links = tuple(link._replace(link_mode=0) for link in capture.table.links if link.stat is not None)
    whole = capture.files.get("maps.buffers", capture.files.get("maps"))
    assert isinstance(whole, bytes)
    lines = b"".join(line + b"\n" for line in whole.splitlines() if NEEDLE in line)
    files = {name: capture.files[name] for name in ("comm", "cmdline", "cgroup", "oom_score_adj")}
    return Told(links, lines, files, len(capture.tasks))


def quick(pid: int, *, closely: bool = False, **ways: bool) -> ProcessCapture | None:
    ((found, capture, _),) = Chunks(TWIN, prefixes=(NEEDLE,), **ways).each([pid], complete=closely)
    assert found == pid
    return capture


@pytest.mark.parametrize("ways", WAYS)
def test_a_holder(actor: Actor, ways: dict[str, bool]) -> None:
    for command in ("new plain", "new new\nline", "dup 0", "dup_far 1", "map 0", "map 1", "close 0"):
        actor.tell(command)
    found = told(quick(actor.pid, **ways))
    assert found is not None
    assert len(found.links) == 3
    assert found == told(TWIN.process(actor.pid))
    assert b"new\\012line" in found.maps


@pytest.mark.parametrize("ways", WAYS)
def test_a_mapping_alone(actor: Actor, ways: dict[str, bool]) -> None:
    for command in ("new mapped", "map 0", "close 0"):
        actor.tell(command)
    found = told(quick(actor.pid, **ways))
    assert found is not None
    assert found.links == ()
    assert found == told(TWIN.process(actor.pid))


@pytest.mark.parametrize("ways", WAYS)
def test_nothing_held(actor: Actor, ways: dict[str, bool]) -> None:
    actor.tell("hello")
    assert quick(actor.pid, **ways) is None


def test_ended() -> None:
    done = subprocess.Popen(["true"])
    done.wait()
    assert quick(done.pid) is None


def test_threads_with_a_table_of_their_own_are_left_to_the_twin(actor: Actor) -> None:
    actor.tell("new shared")
    actor.tell("thread 1")
    found = told(quick(actor.pid))
    assert found is not None
    assert found.tasks == 1
    assert found == told(TWIN.process(actor.pid))


@pytest.mark.parametrize("asks", [True, False])
def test_looked_at_closely(actor: Actor, *, asks: bool) -> None:
    for command in ("new buffer", "dup 0", "map_private 0"):
        actor.tell(command)
    hasty, close, twin = quick(actor.pid), quick(actor.pid, closely=True, asks=asks), TWIN.process(actor.pid)
    assert hasty is not None
    assert close is not None
    assert twin is not None
    assert hasty.table.fdinfo == {}
    assert close.table.fdinfo == twin.table.fdinfo
    assert len(close.table.fdinfo) == 2
    assert told(close) == told(twin)
    assert close.files["maps.libraries"] == b""


@pytest.mark.parametrize("asks", [True, False])
def test_libraries_are_lines_of_maps(actor: Actor, *, asks: bool) -> None:
    actor.tell("new buffer")
    scan = Chunks(TWIN, prefixes=(NEEDLE,), asks=asks)
    words = (b"libc.so", b"libc-2")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("heaptop.scan.chunks.LIBRARY_WORDS", words)
        ((_, close, _),) = scan.each([actor.pid], complete=True)
    assert close is not None
    libraries = close.files["maps.libraries"]
    with open(f"/proc/{actor.pid}/maps", "rb") as file:
        lines = file.read().splitlines(keepends=True)
    assert libraries == b"".join(line for line in lines if b" r-xp " in line and any(word in line for word in words))
    assert libraries


def test_a_ring_is_told_with_its_fdinfo(actor: Actor) -> None:
    code = (
        "import ctypes; print(ctypes.CDLL(None).syscall(425, 4, ctypes.create_string_buffer(248)), flush=True); input()"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        fd = int(process.stdout.readline())
        if fd < 0:
            pytest.skip("no io_uring here")
        capture = quick(process.pid)
        process.kill()
    assert capture is not None
    assert [link.target for link in capture.table.links] == [b"anon_inode:[io_uring]"]
    assert list(capture.table.fdinfo) == [fd]


def test_every_process_of_this_machine() -> None:
    """Nothing is refused to one and not to the other."""
    pids = [pid for pid in TWIN.pids() if pid != os.getpid()]
    found = {pid: capture for pid, capture, _ in Chunks(TWIN, prefixes=(NEEDLE,)).each(pids, complete=False)}
    assert found.keys() == set(pids)
    unreadable = {pid for pid, capture in found.items() if capture is not None and capture.table.error is not None}
    assert unreadable <= {
        pid for pid in pids if (twin := TWIN.process(pid)) is not None and twin.table.error is not None
    }


def test_a_descriptor_table_of_any_size(actor: Actor) -> None:
    """What is probed and what is listed is the same, with holes and without."""
    for number in range(40):
        actor.tell(f"new {number}")
    for number in range(0, 30, 2):
        actor.tell(f"close {number}")
    actor.tell("dup_far 3")
    tables = [told(quick(actor.pid, probes=probes)) for probes in (True, False)]
    assert tables[0] == tables[1] == told(TWIN.process(actor.pid))


def test_one_fdinfo_for_each_buffer(actor: Actor) -> None:
    for command in ("new one", "new two", "dup 0", "dup 1"):
        actor.tell(command)
    scan = IncrementalScan(Chunks(TWIN, prefixes=(NEEDLE,)), ListedClocks(lambda: [actor.pid]), NOTHING_ROUND)
    seen = scan.look()
    assert len(seen.infos) == 2
    (capture,) = seen.processes
    assert seen.infos.keys() == refs_of(capture).keys()
    for inode, info in seen.infos.items():
        assert isinstance(info.raw, bytes)
        assert f"ino:\t{inode}\n".encode() in info.raw
    assert scan.look().processes is seen.processes
    assert scan.look().infos is seen.infos


def test_the_first_look_leaves_details_to_the_next(actor: Actor) -> None:
    actor.tell("new one")
    chunks = Chunks(TWIN, prefixes=(NEEDLE,), stand_ins=True)
    scan = IncrementalScan(chunks, ListedClocks(lambda: [actor.pid], lambda _: [7]), Rounds(0, 0))
    (hurried,), (later,) = scan.look().processes, scan.look().processes
    assert {"stat", "details.later", "maps.buffers"} == hurried.files.keys()
    plain = TWIN.process(actor.pid)
    assert plain is not None
    for name in ("comm", "cmdline", "cgroup", "oom_score_adj"):
        assert later.files[name] == plain.files[name]
    assert "details.later" not in later.files
    assert later.table is hurried.table
    first, second = (assemble(Capture("kernel", 0, {}, {}, (each,))) for each in (hurried, later))
    assert first.processes[0].comm == second.processes[0].comm
    assert (first.processes[0].cmdline, first.gaps) == (None, second.gaps)
    assert second.processes[0].cmdline


def test_a_pid_that_is_used_again(actor: Actor) -> None:
    """Another process under the same number: its run time tells."""
    actor.tell("new first")
    times = {actor.pid: 5}
    scan = IncrementalScan(
        Chunks(TWIN, prefixes=(NEEDLE,)), ListedClocks(lambda: [actor.pid], lambda _: [times[actor.pid]])
    )
    before = scan.look()
    actor.tell("new second")
    times[actor.pid] = 3
    after = scan.look()
    assert (len(before.infos), len(after.infos)) == (1, 2)


def test_who_stands_still_is_looked_at_in_turn(actor: Actor) -> None:
    actor.tell("new first")
    scan = IncrementalScan(Chunks(TWIN, prefixes=(NEEDLE,)), ListedClocks(lambda: [actor.pid], lambda _: [7]))
    scan.look()
    actor.tell("new second")
    assert len(scan.look().infos) == 2


@pytest.mark.parametrize("asks", [True, False])
def test_flags_that_a_close_look_found_stay_with_their_descriptors(actor: Actor, *, asks: bool) -> None:
    """Until they are those of another one; who is looked at in turn is looked at closely."""
    for command in ("new one", "new two"):
        actor.tell(command)
    chunks = Chunks(TWIN, prefixes=(NEEDLE,), stand_ins=True, asks=asks)
    scan = IncrementalScan(chunks, ListedClocks(lambda: [actor.pid]), NOTHING_ROUND)
    (first,) = scan.look().processes
    scan.attend([actor.pid])
    (close,) = scan.look().processes
    assert (len(first.table.fdinfo), len(close.table.fdinfo)) == (0, 2)
    assert with_close_look(close, first).table == close.table
    assert with_close_look(close, first).files["maps.libraries"] == close.files["maps.libraries"]
    other = first._replace(table=first.table._replace(links=first.table.links[1:]))
    assert with_close_look(close, other).table.fdinfo.keys() == {link.fd for link in other.table.links}
    program = first._replace(files={**first.files, "comm": b"another\n"})
    assert with_close_look(close, program) is program


@pytest.mark.parametrize("asks", [True, False])
def test_private_mappings_keep_a_look_close(actor: Actor, *, asks: bool) -> None:
    actor.tell("new one")
    actor.tell("map_private 0")
    chunks = Chunks(TWIN, prefixes=(NEEDLE,), stand_ins=True, asks=asks)
    scan = IncrementalScan(chunks, ListedClocks(lambda: sorted([actor.pid, os.getpid()])), Rounds(1, 0, 0))
    looks = []
    for _ in range(9):  # it is its turn in every fourth one
        actor.tell("hello")  # it runs
        looks.append([each.files["maps.buffers"] for each in scan.look().processes if each.pid == actor.pid])
    (private,) = looks[-1]
    assert isinstance(private, bytes)
    assert b"r--p" in private
    assert looks[-4:] == [[private]] * 4
