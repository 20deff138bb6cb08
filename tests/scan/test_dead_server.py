"""Processes that hold files of a server which answers no more, and one whose memory is locked meanwhile: a look goes
past them, tells of the one that cannot be read, and the program ends as always.
"""

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import pytest

pytest.importorskip("heaptop.scan._scan")

from heaptop.capture import FdTable, ReadError
from heaptop.scan.chunks import Chunks
from heaptop.scan.incremental import IncrementalScan
from heaptop.scan.patience import Patience
from heaptop.scan.proc import ProcScan
from tests.scan.churn import PREFIX, chunks_of
from tests.scan.listed import ListedClocks
from tests.scan.test_bpf_scan import only_where_allowed
from tests.scan.whole import told

__all__ = ["only_where_allowed"]

HERE = Path(__file__).parent
TIMEOUT_S = 0.2
SCAN = ProcScan(is_buffer=lambda link: link.startswith(PREFIX), needle=PREFIX)


class Victims(NamedTuple):
    holding: int
    reading: int
    locked: int


@pytest.fixture
def victims(tmp_path: Path) -> Iterator[Victims]:
    command = [sys.executable, "-I", "-S", str(HERE / "dead_server.py"), str(tmp_path)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        pids = process.stdout.readline().split()
        if not pids:
            _, why = process.communicate()
            pytest.skip(f"no FUSE here: {why.splitlines()[-1]}")
        yield Victims(*map(int, pids))
        process.communicate("")


def readers() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name == "heaptop-reader"}


def test_a_look_goes_past_them(victims: Victims) -> None:
    """Again and again, with one thread that hangs in all."""
    before = readers()
    chunks = Chunks(SCAN, TIMEOUT_S, prefixes=(PREFIX,), stand_ins=True)
    scan = IncrementalScan(chunks, ListedClocks(lambda: sorted(victims)))
    for _ in range(5):
        scan.attend()
        found = {each.pid: each for each in scan.look().processes}
        assert found.keys() == set(victims)
        assert found[victims.locked].table == FdTable(error=ReadError("read", 110))
        for pid in (victims.holding, victims.reading):
            assert [link.stat is not None for link in found[pid].table.links] == [True]
        assert len(readers() - before) == 1


@pytest.mark.usefixtures("only_where_allowed")
def test_bpf_goes_past_them(victims: Victims) -> None:
    """It sees what they hold, also of the one of whom /proc says nothing, again and again."""
    before = readers()
    with closing(chunks_of(bpf=True, timeout_s=TIMEOUT_S)) as chunks:
        scan = IncrementalScan(chunks, ListedClocks(lambda: sorted(victims)))
        for _ in range(5):
            found = {each.pid: each for each in scan.look().processes}
            assert [len(found[pid].table.links) for pid in victims] == [1, 1, 1]
            assert len(readers() - before) <= 1
    assert found[victims.locked].files["cmdline"] == ReadError("read", 110)
    assert isinstance(found[victims.reading].files["cmdline"], bytes)


def test_details_that_hang(victims: Victims) -> None:
    """A process that was looked at when its memory was not locked yet."""
    before = readers()
    chunks = Chunks(SCAN, TIMEOUT_S, prefixes=(PREFIX,), stand_ins=True)
    details = chunks.details(sorted(victims))
    assert details[victims.locked]["cmdline"] == ReadError("read", 110)
    assert details[victims.reading]["comm"] == b"python\n"
    assert chunks.stuck == {victims.locked}
    assert victims.locked not in chunks.details(sorted(victims))
    assert victims.locked not in {found.pid for found in chunks.each(sorted(victims), complete=True)}
    assert len(readers() - before) == 1


def test_the_plain_twin_goes_past_them(victims: Victims) -> None:
    before = readers()
    patience = Patience(SCAN.process, TIMEOUT_S)
    for _ in range(2):
        found, hanging = patience.each(sorted(victims))
        assert hanging == (victims.locked,)
        assert found.keys() == {victims.holding, victims.reading}
        assert len(readers() - before) == 1


@pytest.mark.parametrize("verb", ["buffers", "processes"])
def test_the_whole_program(victims: Victims, verb: str) -> None:
    """Though a thread hangs for ever, it ends with all that can be told."""
    found = told(victims, verb)
    if verb == "buffers":
        pids = {holder["pid"] for buffer in found["buffers"] for holder in buffer["holders"]}
    else:
        pids = {process["pid"] for process in found["processes"]}
    assert pids == {victims.holding, victims.reading}
    assert [gap["why"] for gap in found["gaps"] if "descriptors of" in gap["what"]] == ["no answer in time"]
