"""Very many processes, with and without what they share, and some that come and go while they are looked at.

Some hundreds here; `python -m tests.scan.crowd` makes 20,000.
"""

import os
import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

pytest.importorskip("heaptop.scan._scan")

from heaptop.assemble import Assembler, processes
from heaptop.scan import threads
from heaptop.scan.incremental import IncrementalScan
from tests.scan.churn import differences, snapshot_of
from tests.scan.crowd import forget_program, pids_of, program, scan_of, standing
from tests.scan.test_bpf_scan import skip_where_refused
from tests.scan.whole import told

COUNT = 400
KINDS = ["-", "f", "m", "fm"]


@pytest.fixture(scope="module", autouse=True)
def _built() -> Iterator[None]:
    try:
        program()
    except FileNotFoundError:
        pytest.skip("no C compiler here")
    yield
    forget_program()


@pytest.fixture(params=[False, True], ids=["proc", "BPF"])
def bpf(request: pytest.FixtureRequest) -> bool:
    """Whether it is BPF that looks."""
    if request.param:
        skip_where_refused()
    return bool(request.param)


class Compared:
    """Counts how often two processes are compared."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.count = 0
        self._kcmp = threads._kcmp
        patch.setattr(threads, "_kcmp", self)

    def __call__(self, one: int, other: int, what: int) -> int:
        self.count += 1
        return self._kcmp(one, other, what)

    def since(self) -> int:
        count, self.count = self.count, 0
        return count


def references(scan: IncrementalScan) -> dict[int, int]:
    """By inode, how many references all holders have, what is shared once."""
    counts: Counter[int] = Counter()
    for process in scan.look().processes:
        for inode, holding in processes.holdings(processes.view(process), frozenset()).items():
            counts[inode] += holding.references or 0
    return dict(counts)


def mapped(pid: int) -> int:
    """How many mappings of buffers a process has."""
    return Path(f"/proc/{pid}/maps").read_text().count("/memfd:dmabuf-")


@pytest.mark.parametrize("shared", KINDS)
def test_each_costs_the_same(shared: str, monkeypatch: pytest.MonkeyPatch, *, bpf: bool) -> None:
    """All who look alike are compared in N log N; where nobody ran, nobody is."""
    compared = Compared(monkeypatch)
    with standing(COUNT, shared, 2) as parent, closing(scan_of(parent, bpf=bpf)) as scan:
        assembler = Assembler()
        first = snapshot_of(scan, assembler)
        assert len(first.processes) == COUNT + 1
        assert compared.since() < 2 * 2 * COUNT * COUNT.bit_length()
        while compared.since():  # some are still on their way to where they wait
            assert snapshot_of(scan, assembler).buffers == first.buffers


@pytest.mark.parametrize(("shared", "before", "holders"), [("-", 8, 1), ("f", 5, 4), ("m", 5, 4), ("fm", 2, 4)])
@pytest.mark.parametrize("is_by_parent", [True, False])
def test_a_change_by_one_is_seen_at_all_that_share(
    shared: str, before: int, holders: int, *, is_by_parent: bool, bpf: bool
) -> None:
    """And what they share is counted once. A descriptor that is not shared is its opener's alone, a mapping too."""
    with standing(3, shared, 1) as parent, closing(scan_of(parent, bpf=bpf)) as scan:
        assembler = Assembler()
        (old,) = snapshot_of(scan, assembler).buffers
        assert references(scan) == {old.inode: before}
        pid = pids_of(parent)[0 if is_by_parent else -1]
        os.kill(pid, signal.SIGUSR1)
        while mapped(pid) < 2:
            pass
        after = snapshot_of(scan, assembler)
        assert differences(after, snapshot_of(scan_of(parent), Assembler())) == []
        assert {buffer.inode == old.inode: len(buffer.holders) for buffer in after.buffers} == {True: 4, False: holders}
        (new,) = {buffer.inode for buffer in after.buffers} - {old.inode}
        assert references(scan) == {old.inode: before, new: 2}  # one descriptor, one mapping


def test_some_come_and_go_meanwhile(*, bpf: bool) -> None:
    """Pids that are gone when their turn comes are no trouble, and those that stay are seen each time."""
    with standing(50, "-", 1, every_us=0) as parent, closing(scan_of(parent, bpf=bpf)) as scan:
        assembler = Assembler()
        for _ in range(30):
            snapshot = snapshot_of(scan, assembler)
            assert len(snapshot.processes) >= 51
            assert not any("could not be read" in gap.what for gap in snapshot.gaps)


def test_the_whole_program() -> None:
    with standing(COUNT, "-", 1, every_us=500):
        found = told(None, "heaps")
    assert not any("no answer" in gap["why"] for gap in found["gaps"])
