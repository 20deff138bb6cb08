"""The journal tells what was written, wherever it was cut, and never more than it must."""

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from heaptop_emulator import journal
from heaptop_emulator.folder import RuntimeFolder
from heaptop_emulator.framework import Buffer
from heaptop_emulator.heap import Run
from heaptop_emulator.journal import Header, Journal

HEADER = Header(journal.host_boot_id(), "boot", '{"scenario": "idle"}', is_lasting=False, started_at=1.5, actors=(7, 8))


class SomePages:
    def __init__(self, *runs: Run) -> None:
        self._runs = runs

    def runs(self) -> tuple[Run, ...]:
        return self._runs

    def release(self) -> None:
        """Nothing to give back."""


def buffer(inode: int, name: bytes | None = None) -> Buffer:
    return Buffer(inode, "system", "system", 8192, os.O_RDWR, inode, SomePages(Run(inode, 1), Run(9, 1)), name)


@contextmanager
def opened(path: Path) -> Iterator[RuntimeFolder]:
    folder = RuntimeFolder.make(str(path / "heaptop"))
    try:
        yield folder
    finally:
        folder.close()


def told(folder: RuntimeFolder) -> dict[int, bytes | None]:
    memory = journal.read(folder)
    assert memory is not None
    assert memory.header.boot_id == "boot"
    return {inode: record.name for inode, record in memory.records.items()}


Steps = list[tuple[str, int, bytes]]
STEPS = st.lists(st.tuples(st.sampled_from("+-n"), st.integers(1, 6), st.binary(max_size=31)), max_size=30)


def play(books: Journal, steps: Steps) -> list[dict[int, bytes | None]]:
    """What lives after each step that can be taken."""
    alive: dict[int, Buffer] = {}
    states: list[dict[int, bytes | None]] = [{}]
    for kind, inode, name in steps:
        if kind == "+" and inode not in alive:
            alive[inode] = buffer(inode, name)
            books.add(alive[inode], 42)
        elif kind == "-" and inode in alive:
            del alive[inode]
            books.remove(inode)
        elif kind == "n" and inode in alive:
            alive[inode].name = name
            books.name(alive[inode], 42)
        else:
            continue
        states.append({each.inode: each.name for each in alive.values()})
    return states


@given(steps=STEPS, data=st.data())
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_it_tells_what_lived_at_the_last_whole_line(steps: Steps, data: st.DataObject, tmp_path: Path) -> None:
    with opened(tmp_path) as folder:
        books = Journal(folder, HEADER)
        books.begin([], 0)
        states = play(books, steps)
        assert told(folder) == states[-1]
        books.close()
        raw = (tmp_path / "heaptop" / "journal").read_bytes()
        cut = data.draw(st.integers(len(raw.split(b"\n")[0]) + 1, len(raw)))
        (tmp_path / "heaptop" / "journal").write_bytes(raw[:cut])
        assert told(folder) == states[raw[:cut].count(b"\n") - 1]


def test_all_of_a_buffer_is_told(tmp_path: Path) -> None:
    with opened(tmp_path) as folder:
        books = Journal(folder, HEADER)
        books.begin([(buffer(3, b"\xff\n\"'\\"), 41)], 17)
        memory = journal.read(folder)
        assert memory is not None
        assert (memory.header, memory.serial) == (HEADER, 17)
        (record,) = memory.records.values()
        assert (record.inode, record.heap, record.size_bytes, record.access) == (3, "system", 8192, os.O_RDWR)
        assert (record.name, record.pid, record.runs) == (b"\xff\n\"'\\", 41, (Run(3, 1), Run(9, 1)))
        books.add(buffer(20), 42)
        books.remove(20)
        books.keep()
        memory = journal.read(folder)
        assert memory is not None
        assert (memory.serial, memory.header.is_lasting) == (20, True)
        books.close()


def test_what_is_gone_takes_no_room_for_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "REWRITE_BYTES_MIN", 10_000)
    with opened(tmp_path) as folder:
        books = Journal(folder, HEADER)
        books.begin([(buffer(1), 42)], 1)
        for inode in range(2, 2000):
            books.add(buffer(inode), 42)
            books.remove(inode)
            assert (tmp_path / "heaptop" / "journal").stat().st_size < 11_000
        assert told(folder) == {1: None}
        books.close()


def test_where_it_cannot_be_written_it_is_tried_again(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    with opened(tmp_path) as folder:
        books = Journal(folder, HEADER)
        books.begin([], 0)
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
            for inode in range(1, 100):
                books.add(buffer(inode), 42)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        (said,) = capfd.readouterr().err.splitlines()
        assert said.endswith("buffers would not survive a restart")
        assert told(folder).keys() < set(range(1, 100))
        for inode in range(100, 2100):
            books.add(buffer(inode), 42)
        assert told(folder).keys() == set(range(1, 2100))
        books.close()


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\n",
        b"{}\n",
        b"[]\n",
        b"\xff\xfe\n",
        b'{"version":2}\n',
        b'{"version":1,"serial":0,"host_boot_id":"another"}\n',
        b'{"version":1,"serial":0,"host_boot_id":"%s"}\n' % HEADER.host_boot_id.encode(),
    ],
)
def test_what_is_none_is_no_journal(raw: bytes, tmp_path: Path) -> None:
    with opened(tmp_path) as folder:
        (tmp_path / "heaptop" / "journal").write_bytes(raw)
        assert journal.read(folder) is None


def test_a_damaged_line_is_no_journal(tmp_path: Path) -> None:
    with opened(tmp_path) as folder:
        books = Journal(folder, HEADER)
        books.begin([], 0)
        books.close()
        whole = (tmp_path / "heaptop" / "journal").read_bytes()
        for line in (b"x", b'["-",5]', b'["+",5]', b"[]", b'["n",1,2]', b"5"):
            (tmp_path / "heaptop" / "journal").write_bytes(whole + line + b"\n")
            assert journal.read(folder) is None
