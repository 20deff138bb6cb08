"""Slow files: read apart, and seldom enough to cost little."""

import errno
import threading

from heaptop.capture import Raw, ReadError, Reading
from heaptop.scan.pace import CHEAP_S, SHARE, Paced


class Disk:
    """A file that takes `cost_s` to read and says how often it was; its clock moves only so."""

    def __init__(self, cost_s: float) -> None:
        self.cost_s = cost_s
        self.now_s = 100.0
        self.reads = 0

    def clock(self) -> float:
        return self.now_s

    def read(self, path: str) -> Raw | None:
        self.reads += 1
        self.now_s += self.cost_s
        return f"{path} {self.reads}".encode()


def test_a_quick_file_is_read_each_time() -> None:
    disk = Disk(CHEAP_S)
    paced = Paced(disk.read, clock=disk.clock)
    assert [paced.each(["a"]) for _ in range(3)] == [({"a": b"a %d" % number}, {}) for number in (1, 2, 3)]


def test_a_slow_file_rests() -> None:
    disk = Disk(0.25)
    paced = Paced(disk.read, clock=disk.clock)
    assert paced.each(["a"]) == ({"a": b"a 1"}, {})
    disk.now_s += 0.75
    assert paced.each(["a"]) == ({"a": b"a 1"}, {"a": Reading(1.0, 0.25)})
    disk.now_s += 11.5
    assert paced.each(["a"]) == ({"a": b"a 2"}, {})


def test_a_slow_file_costs_its_share_and_no_more() -> None:
    disk = Disk(0.4)
    paced = Paced(disk.read, clock=disk.clock)
    for _ in range(400):
        paced.each(["a"])
        disk.now_s += 0.5
    assert disk.reads * disk.cost_s / (disk.now_s - 100.0) <= SHARE * 1.05
    assert disk.reads >= 8


def test_each_file_has_its_own_pace_and_is_forgotten_with_its_path() -> None:
    disk = Disk(0.25)
    paced = Paced(disk.read, clock=disk.clock)
    paced.each(["a"])
    texts, older = paced.each(["b", "a"])
    assert texts == {"a": b"a 1", "b": b"b 2"}
    assert older.keys() == {"a"}
    paced.each([])
    assert paced.each(["a"]) == ({"a": b"a 3"}, {})


def test_what_hangs_has_no_older_text() -> None:
    """It would be taken for an answer."""
    disk, gate = Disk(0.0), threading.Event()

    def read(path: str) -> Raw | None:
        if disk.reads:
            gate.wait()
        return disk.read(path)

    paced = Paced(read, timeout_s=0.02, clock=disk.clock)
    paced.each(["a"])
    assert paced.each(["a"]) == ({"a": ReadError("read", errno.ETIMEDOUT)}, {})
    gate.set()


def test_a_file_that_is_not_there() -> None:
    assert Paced(lambda _: None).each(["a"]) == ({}, {})
