"""Recordings of many moments, written and read: each moment is as it was, whatever is cut, damaged or hostile."""

import contextlib
import errno
import gzip
import io
import os
import random
import tarfile
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heaptop import recording
from heaptop.assemble import assemble
from heaptop.capture import BufferInfo, Capture, ReadError
from heaptop.errors import RecordingError
from heaptop.recorder import Recorder
from heaptop.recording import journal
from heaptop.session import Session
from tests.recording.phone import NOON, Phone, lives, opened


def recorded(path: Path, looks: int = 40, seed: int = 1) -> list[Capture]:
    """Record so many looks; gives the captures."""
    phones = lives(seed, looks)
    phone = next(phones)
    recorder = Recorder(str(path), tell=print, clock=lambda: NOON, uptime=lambda: phone.up)
    session = Session(phone, lambda: NOON)
    session.observer = recorder.observe
    session.refresh()
    seen = [phone.capture()]
    for _ in phones:
        session.refresh()
        seen.append(phone.capture())
    recorder.close()
    return seen


def same(one: Capture, other: Capture) -> bool:
    return (one.files, one.links, one.processes, one.captured_at, one.processes_seen) == (
        other.files,
        other.links,
        other.processes,
        other.captured_at,
        other.processes_seen,
    )


@pytest.mark.parametrize("seed", range(3))
def test_every_moment_is_as_it_was(tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "MOMENTS_MAX", 37)  # several segments
    seen = recorded(tmp_path / "r", 150, seed)
    series = opened(tmp_path / "r")
    assert [moment.captured_at for moment in series.moments] == [capture.captured_at for capture in seen]
    assert list(series.line.at) == [capture.captured_at for capture in seen]
    assert not series.line.breaks
    order = list(range(150))
    random.Random(seed).shuffle(order)
    for index in order:
        assert same(series.capture(index), seen[index])


def test_what_did_not_change_stays_the_same_object(tmp_path: Path) -> None:
    recorded(tmp_path / "r")
    series = opened(tmp_path / "r")
    for index in range(1, 40):
        before = {process.pid: process for process in series.capture(index - 1).processes}
        kept = [process for process in series.capture(index).processes if before.get(process.pid) == process]
        assert all(before[process.pid] is process for process in kept)
    assert kept


def test_the_table_tells_without_opening(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = recorded(tmp_path / "r")

    def refuse(*_: object) -> None:
        raise AssertionError("a segment was read")

    with monkeypatch.context() as patch:
        patch.setattr("heaptop.recording.series.load", refuse)
        series = opened(tmp_path / "r")
    for moment, capture in zip(series.moments, seen, strict=True):
        shot = assemble(capture)
        assert (moment.buffers, moment.size_bytes) == (len(shot.buffers), shot.size_bytes)
    os.unlink(tmp_path / "r" / "000000.moments")
    assert opened(tmp_path / "r").moments == series.moments


def test_first_seen_is_as_the_recorder_knew_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "MOMENTS_MAX", 11)
    seen = recorded(tmp_path / "r", 60)
    series = opened(tmp_path / "r")
    first: dict[int, float] = {}
    for index, capture in enumerate(seen):
        alive = {buffer.inode for buffer in assemble(capture).buffers}
        first = {inode: first.get(inode, capture.captured_at or 0) for inode in alive}
        assert series.first_seen(index) == first


@pytest.mark.parametrize("form", ["segment", "unpacked", "unpacked segment"])
def test_a_segment_opens_alone_and_unpacked(tmp_path: Path, form: str) -> None:
    seen = recorded(tmp_path / "r")
    path = tmp_path / "r" / "000000.tar.gz"
    if form != "segment":
        with tarfile.open(path) as tar:
            tar.extractall(tmp_path / "x", filter="data")
        path = tmp_path / "x"
    if form == "unpacked segment":
        assert same(recording.read(str(path / "000000")), seen[0])
        return
    series = opened(path)
    assert [same(series.capture(index), capture) for index, capture in enumerate(seen)] == [True] * 40
    assert same(recording.read(str(path)), seen[-1])


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:xz"])
def test_a_tar_of_the_whole_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str) -> None:
    monkeypatch.setattr(journal, "MOMENTS_MAX", 15)
    seen = recorded(tmp_path / "r")
    with tarfile.open(tmp_path / "sent", mode) as tar:  # type: ignore[call-overload]
        tar.add(tmp_path / "r", "some/where")
    series = opened(tmp_path / "sent")
    assert [same(series.capture(index), capture) for index, capture in enumerate(seen)] == [True] * 40
    (tmp_path / "cut").write_bytes((tmp_path / "sent").read_bytes()[:-3000])
    with contextlib.suppress(RecordingError):
        assert len(opened(tmp_path / "cut").moments) < 41


def test_standard_tools_read_a_segment_that_was_cut(tmp_path: Path) -> None:
    recorded(tmp_path / "r")
    cut = (tmp_path / "r" / "000000.tar.gz").read_bytes()[:-30]
    (tmp_path / "cut.tar.gz").write_bytes(cut)
    (tmp_path / "x").mkdir()
    os.system(f"tar xzf {tmp_path}/cut.tar.gz -C {tmp_path}/x 2>/dev/null")
    assert len(os.listdir(tmp_path / "x")) == 40


def test_cut_at_every_byte(tmp_path: Path) -> None:
    """What is left of a segment is a beginning of it, never more and never anything else."""
    seen = recorded(tmp_path / "r", 12)
    data = (tmp_path / "r" / "000000.tar.gz").read_bytes()
    cut = tmp_path / "cut.tar.gz"
    found = []
    for length in range(0, len(data), 7):
        cut.write_bytes(data[:length])
        try:
            series = opened(cut)
        except (RecordingError, AssertionError):
            found.append(0)
            continue
        found.append(len(series.moments))
        assert same(series.capture(found[-1] - 1), seen[found[-1] - 1])
    assert found == sorted(found)
    assert set(found) == set(range(13))


def test_a_table_that_tells_of_more_than_there_is(tmp_path: Path) -> None:
    seen = recorded(tmp_path / "r", 12)
    path = tmp_path / "r" / "000000.tar.gz"
    path.write_bytes(path.read_bytes()[:-400])
    series = opened(tmp_path / "r")
    assert len(series.moments) == 12
    last = series.capture(11)
    assert last.captured_at == seen[11].captured_at
    assert isinstance(last.files["recording"], ReadError)
    assert "recording" not in series.capture(0).files
    path.write_bytes(b"")
    series._read.clear()
    assert series.capture(3).files.keys() == {"recording"}
    os.unlink(path)
    series._read.clear()
    assert series.capture(3).files["recording"] == ReadError("open", errno.ENOENT)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_noise_in_it_neither_raises_nor_hangs(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    path = tmp_path_factory.mktemp("noise") / "r"
    recorded(path, 8)
    for name in ("000000.tar.gz", "000000.moments"):
        raw = bytearray((path / name).read_bytes())
        for _ in range(data.draw(st.integers(0, 3))):
            at = data.draw(st.integers(0, len(raw) - 1))
            raw[at : at + data.draw(st.integers(0, 4))] = data.draw(st.binary(max_size=6))
        (path / name).write_bytes(raw)
    try:
        series = opened(path)
    except RecordingError:
        return
    assert list(series.line.at) == sorted(series.line.at)
    for index in range(len(series.moments)):
        assemble(series.capture(index))
        series.first_seen(index)


def test_buffers_whose_fdinfo_is_told_once(tmp_path: Path) -> None:
    """A live backend tells one fdinfo for each buffer, of now this process, now that."""

    class Sparing(Phone):
        def capture(self) -> Capture:
            whole = super().capture()
            table = {link.fd: link for link in whole.processes[self.ticks % 2].table.links}
            pid = whole.processes[self.ticks % 2].pid
            info = BufferInfo(pid, None, min(table), b"ino:\t%d\n" % self.ticks)
            bare = (one._replace(table=one.table._replace(fdinfo={})) for one in whole.processes)
            return whole._replace(processes=tuple(bare), infos={9: info} if self.ticks % 3 else {})

    phone = Sparing()
    recorder = Recorder(str(tmp_path / "r"), tell=print, clock=lambda: NOON, uptime=lambda: phone.up)
    session = Session(phone, lambda: NOON)
    session.observer = recorder.observe
    for _ in range(12):
        session.refresh()
        phone.tick()
    recorder.close()
    series = opened(tmp_path / "r")
    for index in range(12):
        told = {pid: dict(one.table.fdinfo) for one in series.capture(index).processes for pid in (one.pid,)}
        expected: dict[int, dict[int, bytes]] = {70: {}, 80: {}}
        if index % 3:
            expected[70 if index % 2 == 0 else 80] = {3: b"ino:\t%d\n" % index}
        assert told == expected


# Hostile segments


def segment(path: Path, *members: tuple[str, bytes] | tarfile.TarInfo) -> Path:
    with tarfile.open(path, "w:gz") as tar:
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                tar.addfile(member)
            else:
                info = tarfile.TarInfo(member[0])
                info.size = len(member[1])
                tar.addfile(info, io.BytesIO(member[1]))
    return path


ABOUT = b'{"captured_at": 5.0}'
FIRST = (("000000/proc/7/comm", b"a\n"), ("000000/heaptop.json", ABOUT))


def test_names_that_lead_out_and_links_are_passed_over(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"s")
    link = tarfile.TarInfo("000000/proc/7/maps")
    link.type, link.linkname = tarfile.SYMTYPE, str(tmp_path / "secret")
    hard = tarfile.TarInfo("000000/proc/7/stat")
    hard.type, hard.linkname = tarfile.LNKTYPE, "/etc/passwd"
    path = segment(
        tmp_path / "a.tar.gz",
        link,
        hard,
        ("000000/../../../proc/7/cgroup", b"x"),
        ("/000000/proc/7/status", b"x"),
        *FIRST,
        ("000001/gone.txt", b"../../secret\n/etc/passwd\nproc/7/../../x\n\\777\nproc/99/comm\n"),
        ("000001/heaptop.json", ABOUT),
    )
    series = opened(path)
    assert [dict(series.capture(index).processes[0].files) for index in (0, 1)] == [{"comm": b"a\n"}] * 2
    assert (tmp_path / "secret").read_bytes() == b"s"


def test_wrong_order_duplicates_and_missing_ones(tmp_path: Path) -> None:
    order = segment(
        tmp_path / "a.tar.gz", ("000001/proc/7/comm", b"b\n"), ("000001/heaptop.json", ABOUT), *FIRST, FIRST[0]
    )
    assert [dict(opened(order).capture(index).processes[0].files)["comm"] for index in (0, 1)] == [b"a\n", b"b\n"]
    hole = segment(tmp_path / "b.tar.gz", *FIRST, ("000002/proc/7/comm", b"c\n"), ("000002/heaptop.json", ABOUT))
    assert len(opened(hole).moments) == 1
    unfinished = segment(tmp_path / "c.tar.gz", ("000000/proc/7/comm", b"a\n"))
    with pytest.raises(RecordingError, match="breaks off in the first one"):
        opened(unfinished)


@pytest.mark.parametrize(
    "about",
    [b"", b"[]", b"{", b'{"captured_at": 1e999}', b'{"captured_at": "x", "moment": []}', b"[" * 100_000,
     b'{"moment": {"uptime_s": "1", "buffers": -1, "new": {}, "gone": ["a"], "first_seen": {"x": 1, "9": null}}}'],
)  # fmt: skip
def test_any_heaptop_json(tmp_path: Path, about: bytes) -> None:
    series = opened(segment(tmp_path / "a.tar.gz", FIRST[0], ("000000/heaptop.json", about)))
    assert series.line.at == (0.0,)
    assert series.first_seen(0) == {}
    assert assemble(series.capture(0)).captured_at == 0.0


def test_a_bomb_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("heaptop.recording.source.TOTAL_BYTES_MAX", 1 << 20)
    zeros = [(f"{number:06}/proc/7/comm", bytes(200_000)) for number in range(50)]
    abouts = [(f"{number:06}/heaptop.json", ABOUT) for number in range(50)]
    pairs = [member for pair in zip(zeros, abouts, strict=True) for member in pair]
    series = opened(segment(tmp_path / "a.tar.gz", *pairs))
    assert 1 <= len(series.moments) <= 6


def test_not_files_in_the_folder(tmp_path: Path) -> None:
    seen = recorded(tmp_path / "r", 5)
    os.mkfifo(tmp_path / "r" / "000001.tar.gz")
    os.symlink("/dev/zero", tmp_path / "r" / "000002.tar.gz")
    os.mkdir(tmp_path / "r" / "000003.tar.gz")
    os.unlink(tmp_path / "r" / "000000.moments")
    os.mkfifo(tmp_path / "r" / "000000.moments")
    series = opened(tmp_path / "r")
    assert len(series.moments) == 5
    assert same(series.capture(4), seen[4])


def test_tables_that_lie(tmp_path: Path) -> None:
    """So many steps of the clock cost no more than their number, and the line rises all the same."""
    recorded(tmp_path / "r", 3)
    header = "number\tcaptured_at\tuptime_s\tbuffers\tsize_bytes\tchanges\tmark\n"
    rows = "".join(f"{n}\t{(-1) ** n * 1e9}\t{n}\t\t\t\t\n" for n in range(200_000))
    (tmp_path / "r" / "000000.moments").write_text(f"{header}{rows}# end\n")
    began = time.process_time()
    series = opened(tmp_path / "r")
    assert time.process_time() - began < 10
    assert list(series.line.at) == sorted(series.line.at)
    series.capture(150_000)


def test_no_moment_at_all(tmp_path: Path) -> None:
    (tmp_path / "r").mkdir()
    (tmp_path / "r" / "000000.tar.gz").write_bytes(gzip.compress(b"x"))
    with pytest.raises(RecordingError, match="holds no moment"):
        opened(tmp_path / "r")
