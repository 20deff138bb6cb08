"""Looking at processes by BPF gives the captures that /proc gives; where it fails, /proc is asked."""

import errno
import os
import threading
from collections.abc import Callable
from contextlib import closing

import pytest

pytest.importorskip("heaptop.scan._scan")

from heaptop.assemble import processes
from heaptop.capture import FdLink, ProcessCapture
from heaptop.scan import bpf_chunks
from heaptop.scan._reader import LATER
from heaptop.scan.bpf_chunks import HOLDS_S, BpfChunks
from heaptop.scan.bpf_scan import BpfScan
from heaptop.scan.btf import BtfError
from heaptop.scan.chunks import MAPS, Chunks, Found
from heaptop.scan.holders import Way
from heaptop.scan.told import Told
from tests.scan.churn import Actor
from tests.scan.test_bpf_scan import OPTIONS, SCAN, look_by_bpf, only_where_allowed
from tests.scan.test_twins import actor

__all__ = ["actor", "only_where_allowed"]


def chunks(make_it: Callable[[], BpfScan] = look_by_bpf, worth: int = 0, timeout_s: float = 5) -> BpfChunks:
    return BpfChunks(SCAN, timeout_s, make=make_it, worth=worth, **OPTIONS)


def each(by: Chunks, *pids: int, complete: bool = False, hurried: bool = False) -> list[Found]:
    return list(by.each(pids, complete=complete, hurried=hurried))


@pytest.mark.usefixtures("only_where_allowed")
@pytest.mark.parametrize(("complete", "hurried"), [(False, False), (False, True), (True, False)])
def test_captures_are_those_of_proc(actor: Actor, complete: bool, hurried: bool) -> None:
    for command in ("new one", "new two", "map 0", "dup 1"):
        actor.tell(command)
    looking = chunks()
    with closing(looking):
        ((pid, capture, table),) = each(looking, actor.pid, complete=complete, hurried=hurried)
        ((_, expected, _),) = each(Chunks(SCAN, **OPTIONS), actor.pid, complete=complete, hurried=hurried)
        assert looking.way == Way("BPF")
    assert pid == actor.pid
    assert table
    assert capture is not None
    assert expected is not None
    if hurried:
        assert processes.view(capture) == processes.view(expected)
        assert capture.files.keys() == {"comm", LATER, MAPS}
    else:
        assert without_times(capture) == without_times(expected)


@pytest.mark.usefixtures("only_where_allowed")
def test_in_a_time_namespace_proc_tells_when_it_began(actor: Actor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bpf_chunks, "_FIRST_TIME_NAMESPACE", 1)
    actor.tell("new one")
    looking = chunks()
    with closing(looking):
        ((_, capture, _),) = each(looking, actor.pid, hurried=True)
    assert capture is not None
    if os.path.exists("/proc/self/ns/time"):
        assert capture.files.keys() == {"stat", LATER, MAPS}


def without_times(capture: ProcessCapture | None) -> ProcessCapture:
    assert capture is not None
    files = {name: raw for name, raw in capture.files.items() if name not in {"stat", "status"}}
    return capture._replace(files={**files, "stat": b"", "status": b""} if "status" in capture.files else files)


@pytest.mark.usefixtures("only_where_allowed")
def test_what_is_as_before_is_the_very_same(actor: Actor) -> None:
    actor.tell("new one")
    looking = chunks()
    with closing(looking):
        ((_, hurried, _),) = each(looking, actor.pid, hurried=True)
        ((_, plain, _),) = each(looking, actor.pid)
        assert plain is not None
        assert hurried is not None
        assert "status" in plain.files.keys() - hurried.files.keys()
        ((_, complete, _),) = each(looking, actor.pid, complete=True)
        for ways in ({}, {"hurried": True}, {"complete": True}):
            ((_, again, _),) = each(looking, actor.pid, **ways)
            assert again is complete
        actor.tell("dup 0")
        ((_, after, _),) = each(looking, actor.pid, complete=True)
        assert after is not None
        assert len(buffers_of(after)) == 2


@pytest.mark.usefixtures("only_where_allowed")
def test_what_bpf_does_not_look_at_is_read_again_in_time(actor: Actor) -> None:
    actor.tell("new one")
    now = 100.0
    looking = BpfChunks(SCAN, make=look_by_bpf, worth=0, clock=lambda: now, **OPTIONS)
    with closing(looking):
        ((_, first, _),) = each(looking, actor.pid, complete=True)
        now += HOLDS_S - 1
        assert each(looking, actor.pid, complete=True)[0].capture is first
        now += 1
        assert each(looking, actor.pid, complete=True)[0].capture is not first


def buffers_of(capture: ProcessCapture) -> list[FdLink]:
    return [link for link in capture.table.links if link.stat is not None]


@pytest.mark.usefixtures("only_where_allowed")
def test_fdinfo_is_composed_as_the_kernel_prints_it(actor: Actor) -> None:
    for command in ("new one", "dup 0", "inherit 0", "new two", "dup_far 1"):
        actor.tell(command)
    looking = chunks()
    with closing(looking):
        ((_, capture, _),) = each(looking, actor.pid)
        assert capture is not None
        wanted = [(actor.pid, 0, link.fd, link.stat.inode) for link in buffers_of(capture) if link.stat is not None]
        expected = Chunks(SCAN, **OPTIONS).infos(wanted)
        assert looking.infos(wanted) == expected
        assert looking._is_fdinfo_known is True
        assert [looking._info(*one) for one in wanted] == expected
        other = (*wanted[0][:3], wanted[0][3] + 1)
        assert looking.infos([other, (actor.pid, actor.pid, *wanted[0][2:])]) == [None, expected[0]]


@pytest.mark.usefixtures("only_where_allowed")
def test_fdinfo_that_is_printed_in_another_way_is_read(actor: Actor, monkeypatch: pytest.MonkeyPatch) -> None:
    actor.tell("new one")
    looking = chunks()
    with closing(looking):
        ((_, capture, _),) = each(looking, actor.pid)
        assert capture is not None
        ((fd, inode),) = ((link.fd, link.stat.inode) for link in buffers_of(capture) if link.stat is not None)
        monkeypatch.setattr(looking, "_info", lambda *_: b"something else")
        assert looking.infos([(actor.pid, 0, fd, inode)]) == Chunks(SCAN, **OPTIONS).infos([(actor.pid, 0, fd, inode)])
        assert looking._is_fdinfo_known is False


@pytest.mark.usefixtures("only_where_allowed")
def test_threads_with_tables_are_read_in_proc(actor: Actor) -> None:
    for command in ("new one", "thread 3"):
        actor.tell(command)
    looking = chunks()
    with closing(looking):
        ((_, capture, _),) = each(looking, actor.pid)
    assert capture is not None
    assert len(capture.tasks) == 1


def test_where_it_is_refused_proc_is_asked_for_good(actor: Actor) -> None:
    asked = []

    def refuse() -> BpfScan:
        asked.append(1)
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    actor.tell("new one")
    looking = chunks(refuse)
    for _ in range(3):
        ((_, capture, _),) = each(looking, actor.pid)
        assert capture is not None
        assert len(buffers_of(capture)) == 1
    assert asked == [1]
    assert looking.way.name in {"PROCMAP_QUERY", "the text of maps"}
    assert looking.way.why == "Operation not permitted"


def test_where_it_hangs_proc_is_asked_for_good(actor: Actor) -> None:
    is_over = threading.Event()

    def hang() -> BpfScan:
        is_over.wait()
        raise BtfError("too late")

    actor.tell("new one")
    looking = chunks(hang, timeout_s=0.05)
    for _ in range(2):
        ((_, capture, _),) = each(looking, actor.pid)
        assert capture is not None
    assert looking.way.why == "no answer in time"
    is_over.set()


def test_one_that_fails_later_is_given_up(actor: Actor, monkeypatch: pytest.MonkeyPatch) -> None:
    looking = chunks()
    each(looking, actor.pid)
    if looking.way.name != "BPF":
        pytest.skip(looking.way.why)
    actor.tell("new one")

    def fail(_self: BpfScan, _pids: object) -> dict[int, Told]:
        raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))

    monkeypatch.setattr(BpfScan, "look", fail)
    ((_, capture, _),) = each(looking, actor.pid)
    assert capture is not None
    assert looking.way.why == "Device or resource busy"


def test_programs_are_made_once_they_are_worth_it(actor: Actor) -> None:
    made = []

    def note() -> BpfScan:
        made.append(1)
        raise BtfError("none here")

    looking = chunks(note, worth=3)
    each(looking, actor.pid)
    each(looking, actor.pid)
    assert made == []
    each(looking, actor.pid)
    assert made == [1]
