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


def test_without_names_by_one_key(backend: FakeBackend, run: Run, tmp_path: Path) -> None:
    backend.capture_given = recording.read(str(archive(CAPTURES[0])))
    comms = []
    for number in range(2):
        path = str(tmp_path / f"{number}.tar")
        ran = run("capture", path, "--anonymise", "--key", str(tmp_path / "key"))
        assert ran.code == 0
        assert "note: names are replaced" in ran.err
        assert "note: left out, as they may hold names: config, " in ran.err
        comms.append([process.files["comm"] for process in recording.read(path).processes])
    assert comms[0] == comms[1]
    assert all(str(comm).startswith("b'proc-") for comm in comms[0])
    assert (tmp_path / "key").stat().st_mode & 0o777 == 0o600
    run("capture", str(tmp_path / "other.tar"), "--anonymise")
    other = recording.read(str(tmp_path / "other.tar"))
    assert other.processes[0].files["comm"] != comms[0][0]


def test_keys_that_cannot_be_taken(backend: FakeBackend, run: Run, tmp_path: Path) -> None:
    (tmp_path / "short").write_text("x")
    for arguments in (("--key", "k"), ("--anonymise", "--key", str(tmp_path / "short")), ("--anonymise", "--key", "/")):
        assert run("capture", str(tmp_path / "c.tar"), *arguments).code == 2
    assert not (tmp_path / "c.tar").exists()
