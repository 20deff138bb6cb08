"""A process with as many descriptors as one may have here (500,000 in tests/vm/guest), close together and far apart."""

import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

pytest.importorskip("heaptop.scan._scan")

from heaptop.scan.chunks import Chunks
from heaptop.scan.proc import ProcScan
from tests.scan.churn import PREFIX
from tests.scan.whole import told

COUNT_MAX = 100_000
FEW = 50
TWIN = ProcScan(is_buffer=lambda link: link.startswith(PREFIX), needle=PREFIX)


@contextmanager
def holder(count: int, where: str) -> Iterator[int]:
    """The pid of a process that has so many."""
    script = str(Path(__file__).with_name("holder.py"))
    command = [sys.executable, "-I", "-S", script, str(count), where]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
            yield process.pid
        finally:
            process.kill()


@pytest.fixture(scope="module")
def many() -> int:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return COUNT_MAX if hard == resource.RLIM_INFINITY else min(COUNT_MAX, hard - 100)


def fds_of(pid: int, *, complete: bool = False, **ways: bool) -> list[int]:
    """The descriptors of buffers that a look finds, with another process looked at after it."""
    with holder(1, "low") as other:
        chunks = Chunks(TWIN, prefixes=(PREFIX,), **ways)
        found = {one.pid: one.capture for one in chunks.each([pid, other], complete=complete)}
        assert chunks.stuck == frozenset()
    assert all(capture is not None and capture.table.error is None for capture in found.values())
    tables = [capture.table for capture in found.values() if capture is not None]
    assert len(tables[1].links) == 1
    assert len(tables[0].fdinfo) == (len(tables[0].links) if complete else 0)
    return [link.fd for link in tables[0].links]


@pytest.mark.parametrize("probes", [True, False])
def test_very_many(many: int, *, probes: bool) -> None:
    with holder(many, "low") as pid:
        found = fds_of(pid, probes=probes)
    assert len(found) == many
    assert found == sorted(found)


def test_very_many_looked_at_closely(many: int) -> None:
    with holder(many, "low") as pid:
        assert len(fds_of(pid, complete=True)) == many


@pytest.mark.parametrize("probes", [True, False])
def test_few_far_apart(*, probes: bool) -> None:
    with holder(FEW, "high") as pid:
        table = TWIN.process(pid)
        assert table is not None
        assert fds_of(pid, probes=probes) == [link.fd for link in table.table.links if link.stat is not None]


def test_the_whole_program(many: int) -> None:
    with holder(many, "low") as pid, holder(1, "low") as other:
        found = told([pid, other], "buffers")
    (one,) = [buffer for buffer in found["buffers"] if buffer["holders"][0]["pid"] == pid]
    assert one["holders"][0]["fd_count"] == many
    assert {holder["pid"] for buffer in found["buffers"] for holder in buffer["holders"]} == {pid, other}
