"""Recording for days: bounds, a full disk, two recorders, whose folder it is. What is told is what happened."""

import errno
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import pytest

from heaptop import recording
from heaptop.analysis.incident import Thresholds
from heaptop.capture import Capture
from heaptop.errors import RecordingError
from heaptop.recorder import Recorder
from heaptop.recording import journal
from heaptop.recording.journal import Bounds
from heaptop.recording.series import Series
from heaptop.session import Session
from tests.recording.phone import Phone

KIB = 1 << 10


class Recording:
    """A recorder on a phone. `look` looks so often, a second apart; what it told is in `told`."""

    def __init__(
        self, path: Path, bounds: Bounds | None = None, phone: Phone | None = None, thresholds: Thresholds | None = None
    ) -> None:
        self.path = path
        self.phone = phone or Phone()
        self.told: list[str] = []
        self.recorder = Recorder(
            str(path),
            bounds=bounds or Bounds(keep_free_bytes=0),
            thresholds=thresholds or Thresholds(),
            tell=self.told.append,
            clock=lambda: self.phone.at,
            uptime=lambda: self.phone.up,
        )
        self.session = Session(self.phone, lambda: self.phone.at)
        self.session.observer = self.recorder.observe

    def look(self, times: int = 1) -> None:
        for _ in range(times):
            self.session.refresh()
            self.phone.tick()

    def noisy(self, times: int) -> None:
        """Looks of which each adds a kibibyte that cannot be packed."""
        for _ in range(times):
            self.phone.give(70, int.from_bytes(os.urandom(6), "big"))
            self.look()
            self.phone.held[70] = {10: 4096}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.recorder.close()


def opened(path: Path) -> Series:
    series = recording.read_all(str(path))
    assert isinstance(series, Series)
    return series


def size_of(path: Path) -> int:
    return sum(os.lstat(path / name).st_size for name in os.listdir(path))


# Bounds


def test_it_keeps_within_its_size(tmp_path: Path) -> None:
    with Recording(tmp_path / "r", Bounds(24 * KIB, keep_free_bytes=0)) as one:
        for _ in range(60):
            one.noisy(10)
            assert size_of(tmp_path / "r") <= 24 * KIB
            assert one.recorder.size_bytes == size_of(tmp_path / "r")
        assert one.told == ["the recording has reached its bound: what is oldest is dropped from now on"]
        assert one.recorder.counts.moments == 600
    series = opened(tmp_path / "r")
    assert 60 < len(series.moments) < 600
    assert series.line.at[-1] == one.phone.at - 1
    assert not series.line.breaks


def test_a_bound_that_no_capture_fits(tmp_path: Path) -> None:
    with (
        Recording(tmp_path / "r", Bounds(KIB, keep_free_bytes=0)) as one,
        pytest.raises(RecordingError, match=r"one capture takes .* B; raise --max-size"),
    ):
        one.look()


def test_it_keeps_within_its_age_however_the_clock_is_set(tmp_path: Path) -> None:
    with Recording(tmp_path / "r", Bounds(max_age_s=80, keep_free_bytes=0)) as one:
        one.look(200)
        one.phone.at += 1e9
        one.look(20)
    series = opened(tmp_path / "r")
    assert 80 <= series.line.at[-1] - series.line.at[0] <= 100


def test_segments_of_an_earlier_run_count(tmp_path: Path) -> None:
    with Recording(tmp_path / "r") as one:
        one.noisy(100)
    taken = size_of(tmp_path / "r")
    with Recording(tmp_path / "r", Bounds(taken + 2 * KIB, keep_free_bytes=0), one.phone) as two:
        two.noisy(100)
        assert two.recorder.counts.dropped >= 1
    assert not (tmp_path / "r" / "000000.tar.gz").exists()
    assert not (tmp_path / "r" / "000000.moments").exists()


# A full disk


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KiB."""
    if os.geteuid() != 0:
        pytest.skip("needs root to mount one")
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", disk], check=False, capture_output=True)
    if mounted.returncode:
        pytest.skip("may not mount one")
    try:
        yield disk
    finally:
        subprocess.run(["umount", "-l", disk], check=True)


def test_a_full_disk_costs_the_oldest(small_disk: Path) -> None:
    with Recording(small_disk / "r", Bounds(128 * KIB, keep_free_bytes=0)) as one:  # more than there is
        one.noisy(800)
        assert one.recorder.counts.lost == 0
        assert one.recorder.counts.dropped > 2
    series = opened(small_disk / "r")
    assert series.line.at[-1] == one.phone.at - 1
    assert all("recording" not in series.capture(index).files for index in range(len(series.moments)))


def test_a_full_disk_is_told_and_waited_for(small_disk: Path) -> None:
    with Recording(small_disk / "r") as one:
        one.look(5)
        (small_disk / "other").write_bytes(bytes(os.statvfs(small_disk).f_bavail * 4096))
        one.look(2000)
        assert one.told[0].startswith("recording waits: No space left on device; nothing older of it is left to drop; ")
        assert len(one.told) == 1
        assert one.recorder.waiting
        os.unlink(small_disk / "other")
        one.look(10)
        assert len(one.told) == 2
        assert one.told[1] == f"recording goes on; moments lost: {one.recorder.counts.lost}"
        assert not one.recorder.waiting
    series = opened(small_disk / "r")
    (hole,) = series.line.breaks
    assert hole.why.startswith("nothing was recorded for ")
    assert len(series.moments) + one.recorder.counts.lost == 2015


def test_space_is_left_for_others(small_disk: Path) -> None:
    with Recording(small_disk / "r", Bounds(keep_free_bytes=32 * KIB)) as one:
        one.noisy(800)
        found = os.statvfs(small_disk)
        assert found.f_bavail * found.f_frsize >= 24 * KIB


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EDQUOT, errno.EROFS])
def test_writes_that_fail_in_the_middle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """Half of a moment is written, then no more: the segment ends with the moment before."""
    with Recording(tmp_path / "r") as one:
        one.look(5)
        write = os.write

        def half(fd: int, data: memoryview) -> int:
            if len(data) > 20:
                return write(fd, data[: len(data) // 2])
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr(os, "write", half)
        one.look()
        monkeypatch.undo()
        assert one.told[0].startswith(f"recording waits: {os.strerror(number)}")
        one.phone.tick(journal.RETRY_S)
        one.look(5)
    series = opened(tmp_path / "r")
    assert len(series.moments) == 10
    assert all("recording" not in series.capture(index).files for index in range(10))


def test_the_folder_is_removed(tmp_path: Path) -> None:
    with Recording(tmp_path / "r") as one:
        one.look()
        for name in os.listdir(tmp_path / "r"):
            os.unlink(tmp_path / "r" / name)
        os.rmdir(tmp_path / "r")
        with pytest.raises(RecordingError, match="it is gone; record somewhere else"):
            one.look()


def test_a_segment_is_removed_while_it_is_written(tmp_path: Path) -> None:
    with Recording(tmp_path / "r") as one:
        one.look(3)
        os.unlink(tmp_path / "r" / "000000.tar.gz")
        one.look(3)
    assert len(opened(tmp_path / "r").moments) == 3


# Whose it is


def test_it_is_its_owners_alone_and_says_what_it_holds(tmp_path: Path) -> None:
    os.umask(before := os.umask(0))
    try:
        os.umask(0)
        with Recording(tmp_path / "r", thresholds=Thresholds(size_bytes=1)) as one:
            one.look()
    finally:
        os.umask(before)
    modes = {name: stat.S_IMODE(os.lstat(tmp_path / "r" / name).st_mode) for name in os.listdir(tmp_path / "r")}
    assert set(modes.values()) == {0o600}
    assert len(modes) == 5
    assert stat.S_IMODE(os.stat(tmp_path / "r").st_mode) == 0o700
    assert "IT HOLDS THE NAMES" in (tmp_path / "r" / "README.txt").read_text()


def test_two_recorders(tmp_path: Path) -> None:
    with Recording(tmp_path / "r") as one:
        one.look()
        with pytest.raises(RecordingError, match=f"is being recorded to: by process {os.getpid()}; name another"):
            Recording(tmp_path / "r")
        one.look()
    assert len(opened(tmp_path / "r").moments) == 2
    Recording(tmp_path / "r").recorder.close()


def test_a_recorder_that_was_killed_locks_nobody_out(tmp_path: Path) -> None:
    code = f"""
import os, signal
from heaptop.recorder import Recorder
recorder = Recorder({str(tmp_path / "r")!r}, tell=print)
os.kill(os.getpid(), signal.SIGKILL)
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -9
    with Recording(tmp_path / "r") as one:
        one.look()


def test_places_that_are_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "full").mkdir(mode=0o700)
    (tmp_path / "full" / "mine").write_text("")
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    (tmp_path / "empty").mkdir(mode=0o700)
    (tmp_path / "link").symlink_to(tmp_path / "empty")
    for name, why in {
        "file": "it exists and is no folder",
        "full": "it holds something else",
        "open": "others may write to this folder",
        "link": "it is a link",
        "no/where": "No such file or directory; make the folder",
    }.items():
        with pytest.raises(RecordingError, match=why):
            Recording(tmp_path / name)
    assert os.listdir(tmp_path / "full") == ["mine"]
    Recording(tmp_path / "empty").recorder.close()


@pytest.mark.usefixtures("as_another_user")
def test_another_users_folder(tmp_path_factory: pytest.TempPathFactory) -> None:
    with pytest.raises(RecordingError, match="Permission denied; name a folder of your own"):
        Recording(Path("/heaptop-test"))
    with pytest.raises(RecordingError, match="others may write to this folder"):
        Recording(Path("/tmp"))


def test_files_of_others_are_never_touched(tmp_path: Path) -> None:
    with Recording(tmp_path / "r") as one:
        one.look()
    (tmp_path / "r" / "notes.txt").write_text("mine")
    (tmp_path / "r" / "000001.tar.gz.bak").write_text("mine")
    with Recording(tmp_path / "r", Bounds(8 * KIB, keep_free_bytes=0), one.phone) as two:
        two.noisy(300)
        assert two.recorder.counts.dropped
    assert (tmp_path / "r" / "notes.txt").read_text() == (tmp_path / "r" / "000001.tar.gz.bak").read_text() == "mine"


# Incidents and marks


def incidents(path: Path) -> list[str]:
    return sorted(name for name in os.listdir(path) if name.startswith("incident-"))


def test_an_incident_is_a_capture_of_its_own(tmp_path: Path) -> None:
    with Recording(tmp_path / "r", thresholds=Thresholds(size_bytes=1 << 20)) as one:
        one.look(3)
        one.phone.give(70, 99, 1 << 20)
        whole: Capture = one.phone.capture()
        one.look(3)
        one.recorder.mark("A")
        one.look(3)
    (name,) = incidents(tmp_path / "r")
    assert name == "incident-20231114T221323-bytes.tar.gz"
    assert one.told == [f"incident: 1.07 MiB in buffers, above 1.00 MiB: {name}"]
    capture = recording.read(str(tmp_path / "r" / name))
    assert (capture.files, capture.processes) == (whole.files, whole.processes)
    marks = {index: moment.mark for index, moment in enumerate(opened(tmp_path / "r").moments) if moment.mark}
    assert marks == {3: "incident (bytes): 1.07 MiB in buffers, above 1.00 MiB", 6: "A"}


def test_incidents_take_a_part_of_the_whole(tmp_path: Path) -> None:
    with Recording(tmp_path / "r", Bounds(32 * KIB, keep_free_bytes=0)) as one:
        one.look()
        for _ in range(40):
            one.recorder.ask("test")
            one.look()
        names = incidents(tmp_path / "r")
        assert 1 < len(names) < 40
        assert sum(os.stat(tmp_path / "r" / name).st_size for name in names) <= 8 * KIB


def test_no_room_for_an_incident(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Recording(tmp_path / "r") as one:
        one.look()

        def full(*_: object) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(one.recorder._journal._folder, "write_whole", full)
        one.recorder.ask("test")
        one.look()
        name = "incident-20231114T221321-asked.tar.gz"
        assert one.told == [f"no room for the incident capture {name}: No space left on device"]
    assert len(opened(tmp_path / "r").moments) == 2
