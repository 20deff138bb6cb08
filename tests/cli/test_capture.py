"""`heaptop capture`: what it says, and that it overwrites nothing."""

import csv
import io
import json
from pathlib import Path

import pytest

from heaptop import recording
from tests.cli.conftest import FakeBackend, Run, Use
from tests.report.samples import SNAPSHOT
from tests.support import CAPTURES, archive


@pytest.fixture
def backend(use: Use) -> FakeBackend:
    return use(FakeBackend())


def test_it_says_what_it_wrote_on_stderr(use: Use, run: Run, tmp_path: Path) -> None:
    backend = use(FakeBackend("emulator:steady"))
    path = tmp_path / "capture"
    ran = run("capture", str(path))
    assert (ran.code, ran.out) == (0, "")
    assert ran.err.splitlines()[:2] == [
        f"heaptop: wrote {path}: 5 buffers (66.5 MiB), 2 processes",
        "note: it holds the names of processes and buffers; look before you share it",
    ]
    assert path.is_dir()
    assert backend.closed == 1


def test_json_is_the_whole_document_of_that_capture(backend: FakeBackend, run: Run, tmp_path: Path) -> None:
    document = json.loads(run("capture", str(tmp_path / "c.tar"), "--json").out)
    assert {"heaps", "exporters", "buffers", "processes", "totals", "cma", "memory"} <= document.keys()
    assert backend.looks == 99


def test_csv_is_its_buffers(backend: FakeBackend, run: Run, tmp_path: Path) -> None:
    rows = list(csv.reader(io.StringIO(run("capture", str(tmp_path / "c.tar"), "--csv").out, newline="")))
    assert len(rows) == 1 + len(SNAPSHOT.buffers)


def test_nothing_is_overwritten(backend: FakeBackend, run: Run, tmp_path: Path) -> None:
    path = tmp_path / "c.tar.gz"
    path.write_text("mine")
    ran = run("capture", str(path))
    assert (ran.code, ran.out) == (4, "")
    assert path.read_text() == "mine"
    assert [child.name for child in tmp_path.iterdir()] == ["c.tar.gz"]


def test_what_it_wrote_can_be_read(backend: FakeBackend, run: Run, tmp_path: Path) -> None:
    path = tmp_path / "c.tar.gz"
    backend.capture_given = recording.read(str(archive(CAPTURES[0])))
    assert run("capture", str(path)).code == 0
    assert recording.read(str(path)).processes == backend.capture_given.processes
