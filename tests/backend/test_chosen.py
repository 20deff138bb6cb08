"""Sources that are switched off, of a recording as of a kernel."""

from pathlib import Path

import pytest

from heaptop import recording
from heaptop.assemble import assemble
from heaptop.backend.chosen import without
from heaptop.backend.replay import ReplayBackend
from heaptop.capture import Capture, Reading
from heaptop.sources import PROCESSES, SOURCES, source_of
from tests.support import archive


@pytest.fixture(scope="module")
def whole() -> Capture:
    return recording.read(str(archive("7.2.13-x86_64")))


@pytest.mark.parametrize("name", SOURCES)
def test_one_is_off(whole: Capture, name: str) -> None:
    left = without(whole, frozenset({name}))
    assert left.off == {name}
    assert not [path for path in (*left.files, *left.links) if source_of(path) == name]
    assert {path for path in whole.files if source_of(path) != name} == left.files.keys()
    tables = [table for each in left.processes for table in (each.table, *(task.table for task in each.tasks))]
    assert any(table.links for table in tables) is (name != "fd")
    assert any(table.fdinfo for table in tables) is (name != "fdinfo")
    assert any("maps" in each.files for each in left.processes) is (name != "maps")
    assert any(each.tasks for each in left.processes) is (name != "tasks")
    gaps = [gap for gap in assemble(left).gaps if gap.why == "switched off by --source"]
    assert [gap.what for gap in gaps] == [name]


def test_nothing_is_off(whole: Capture) -> None:
    assert without(whole, frozenset()) is whole


def test_without_any_of_processes_there_is_no_pass(whole: Capture) -> None:
    left = without(whole, PROCESSES)
    assert (left.processes, left.processes_seen) == ((), None)


def test_only_bufinfo(whole: Capture) -> None:
    """It tells of every buffer by itself; that nobody holds them is not said of those who were not asked."""
    shot = assemble(without(whole, frozenset(SOURCES) - {"bufinfo"}))
    full = assemble(whole)
    assert [(b.inode, b.size_bytes) for b in shot.buffers] == [(b.inode, b.size_bytes) for b in full.buffers]
    assert shot.processes == ()


def test_only_fdinfo_tells_identity_size_and_holder(whole: Capture) -> None:
    shot = assemble(without(whole, frozenset(SOURCES) - {"fdinfo"}))
    full = {buffer.inode: buffer for buffer in assemble(whole).buffers}
    assert shot.buffers
    for buffer in shot.buffers:
        assert (buffer.size_bytes, buffer.name) == (full[buffer.inode].size_bytes, full[buffer.inode].name)
        assert [len(holder.fds) for holder in buffer.holders]


def test_a_recording_keeps_what_was_off_and_old(whole: Capture, tmp_path: Path) -> None:
    older = {"sys/kernel/debug/cma/reserved/bitmap": Reading(1.5, 0.25)}
    left = without(whole, frozenset({"bufinfo", "tasks"}))._replace(older=older)
    recording.write(left, str(tmp_path / "cut"))
    again = ReplayBackend(str(tmp_path / "cut")).capture()
    assert (again.off, dict(again.older)) == (left.off, dict(left.older))
    assert assemble(again).gaps == assemble(left).gaps
    more = ReplayBackend(str(tmp_path / "cut"), off=frozenset({"maps"})).capture()
    assert more.off == {"bufinfo", "tasks", "maps"}
