"""Writing recordings: nothing is lost, and nothing half-written is ever at the path."""

import errno
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path
from types import MappingProxyType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heaptop import recording
from heaptop.capture import Capture, FdLink, FdStat, FdTable, ProcessCapture, Raw, ReadError, TaskCapture
from heaptop.errors import RecordingError
from heaptop.recording import atomic
from tests.support import archive

SUFFIXES = ["", ".tar", ".tar.gz", ".tgz", ".tar.xz"]
SMALL = Capture("kernel", 1.5, {"proc/version": b"Linux\n"}, {}, (), 7)

awkward = st.sampled_from(["comm", "fd", "task", "fdinfo", "7", "links.txt", "a.error"])
any_bytes = st.binary(min_size=1, max_size=40).map(lambda raw: raw.decode("utf-8", "surrogateescape"))
part = (awkward | any_bytes).filter(lambda text: not set(text) & {"/", "\0"} and text not in (".", ".."))
error = st.builds(
    ReadError,
    st.sampled_from(["open", "read", "readlink"]),
    st.one_of(st.sampled_from(sorted(errno.errorcode)), st.integers(500, 600)),
)
raw = st.one_of(st.binary(max_size=60), error)
size = st.integers(0, 2**64)
fd_stat = st.builds(
    FdStat, st.tuples(st.integers(0, 4095), st.integers(0, 2**20)), size, size, st.integers(0, 0o177777), size, size
)
fd_link = st.builds(
    FdLink, st.integers(0, 2**31 - 1), st.binary(max_size=60), st.none() | fd_stat, st.integers(0, 0o177777)
)
table = st.builds(
    FdTable,
    st.lists(fd_link, max_size=4, unique_by=lambda link: link.fd).map(
        lambda links: tuple(sorted(links, key=lambda link: link.fd))
    ),
    st.dictionaries(st.integers(0, 2**31 - 1), raw, max_size=3),
    st.none() | error,
)


def storable(names: st.SearchStrategy[str]) -> st.SearchStrategy[dict[str, Raw]]:
    """Files whose names can exist side by side: none is a folder of another, none looks like an error."""
    return st.dictionaries(names.filter(lambda name: not name.endswith(".error")), raw, max_size=4).filter(
        lambda files: not any(a != b and (b + "/").startswith(a + "/") for a in files for b in files)
    )


own = storable(
    part.filter(
        lambda name: name not in ("fd", "fd.json", "fd.links", "fdinfo", "task") and not name.endswith(".error")
    )
)
task = st.builds(TaskCapture, st.integers(1, 2**22), own, table)
process = st.builds(
    ProcessCapture,
    st.integers(1, 2**22),
    own,
    table,
    st.lists(task, max_size=2, unique_by=lambda t: t.tid).map(lambda ts: tuple(sorted(ts, key=lambda t: t.tid))),
)
system = st.lists(part, min_size=1, max_size=4).map(lambda parts: "sys/" + "/".join(parts))
capture_values = st.builds(
    Capture,
    st.just("kernel"),
    st.none() | st.floats(0, 2**40),
    storable(system).map(lambda files: files | {"proc/version": b"Linux\n", "dev.ls": b""}),
    st.dictionaries(system, st.binary(max_size=60), max_size=3),
    st.lists(process, max_size=3, unique_by=lambda p: p.pid).map(lambda ps: tuple(sorted(ps, key=lambda p: p.pid))),
    st.none() | st.integers(0, 10**6),
    off=st.just(frozenset[str]()),
    older=st.just(MappingProxyType({})),
    infos=st.just(MappingProxyType({})),
)


@given(capture=capture_values, suffix=st.sampled_from(["", ".tar"]))
def test_what_is_written_is_read(tmp_path_factory: pytest.TempPathFactory, capture: Capture, suffix: str) -> None:
    path = str(tmp_path_factory.mktemp("round") / f"r{suffix}")
    recording.write(capture, path)
    assert recording.read(path) == capture._replace(source=f"replay:{path}")


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_real_captures_survive(tmp_path: Path, capture_name: str, suffix: str) -> None:
    capture = recording.read(str(archive(capture_name)))
    path = tmp_path / f"r{suffix}"
    recording.write(capture, str(path))
    assert path.is_dir() == (suffix == "")
    assert recording.read(str(path))._replace(source="") == capture._replace(source="")


def test_damage_is_handed_on(tmp_path: Path) -> None:
    damaged = SMALL._replace(files={"proc/version": b"", "recording": ReadError("tar", errno.EIO)})
    recording.write(damaged, str(tmp_path / "r"))
    assert recording.read(str(tmp_path / "r")).files["recording"] == ReadError("tar", errno.EIO)


@pytest.mark.parametrize(
    "files",
    [
        {"sys/a\0b": b""},
        {"sys//a": b""},
        {"sys/../a": b""},
        {"/sys/a": b""},
        {"sys/a/": b""},
        {"sys/" + "x" * 256: b""},
        {"sys/\ud800": b""},
        {"sys/a.error": b""},
        {"elsewhere/a": b""},
        {"links.txt": b""},
        {"heaptop.json": b""},
        {"proc/1/comm": b""},
    ],
)
def test_impossible_paths_are_refused(tmp_path: Path, files: dict[str, Raw]) -> None:
    with pytest.raises(RecordingError, match="no file of a recording can be called"):
        recording.write(SMALL._replace(files=files), str(tmp_path / "r"))
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("name", ["fd", "fd.json", "fdinfo/3", "task/2/comm", "a/../b", "maps.error"])
def test_impossible_process_files_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(RecordingError, match="no file of a recording can be called"):
        recording.write(SMALL._replace(processes=(ProcessCapture(1, {name: b""}),)), str(tmp_path / "r.tar"))
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("suffix", ["", ".tar"])
def test_only_the_owner_may_read(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"r{suffix}"
    previous = os.umask(0)
    try:
        recording.write(SMALL, str(path))
    finally:
        os.umask(previous)
    for found in [path, *path.rglob("*")]:
        assert stat.S_IMODE(found.stat().st_mode) == (0o700 if found.is_dir() else 0o600)


@pytest.mark.parametrize("suffix", ["", ".tar"])
@pytest.mark.parametrize("kind", ["file", "folder", "dangling link"])
def test_nothing_is_overwritten(tmp_path: Path, suffix: str, kind: str) -> None:
    path = tmp_path / f"r{suffix}"
    match kind:
        case "file":
            path.write_bytes(b"mine")
        case "folder":
            path.mkdir()
        case _:
            path.symlink_to("nowhere")
    with pytest.raises(RecordingError, match="it exists; name a new path or remove it first"):
        recording.write(SMALL, f"{path}/" if kind == "folder" else str(path))
    assert os.listdir(tmp_path) == [path.name]


@pytest.mark.parametrize("suffix", ["", ".tar"])
def test_a_path_taken_meanwhile_is_kept(tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / f"r{suffix}"
    monkeypatch.setattr(atomic, "_sweep", lambda folder: path.write_bytes(b"mine"))
    with pytest.raises(RecordingError):
        recording.write(SMALL, str(path))
    assert path.read_bytes() == b"mine"
    assert os.listdir(tmp_path) == [path.name]


def test_no_folder_for_it(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match="No such file or directory; make the folder that it is to be in first"):
        recording.write(SMALL, str(tmp_path / "missing" / "r"))


def test_no_permission(tmp_path: Path, as_another_user: None) -> None:
    with pytest.raises(RecordingError, match="Permission denied; write to a folder of your own"):
        recording.write(SMALL, str(tmp_path / "r"))


@pytest.mark.parametrize("suffix", ["", ".tar.gz"])
def test_a_full_disk_leaves_nothing(tmp_path: Path, suffix: str) -> None:
    """RLIMIT_FSIZE stands for the full disk: a real failing write in a real process."""
    code = (
        "import resource, signal, sys; from heaptop import recording; from heaptop.capture import Capture\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (9000, 9000))\n"
        "import os; c = Capture('kernel', 1.5, {'proc/a': os.urandom(20000)}, {}, ())\n"
        "try: recording.write(c, sys.argv[1])\n"
        "except recording.RecordingError as error: print(error)"
    )
    path = tmp_path / f"r{suffix}"
    done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, check=True)
    assert done.stdout == f"cannot write the recording {path}: File too large\n"
    assert os.listdir(tmp_path) == []


KILLED = """
import os, signal, sys
from heaptop import recording
capture = recording.read(sys.argv[1])
steps = int(sys.argv[3])
def count(event, arguments):
    global steps
    if event in ("open", "os.rename", "os.link", "os.mkdir", "os.remove"):
        steps -= 1
        if steps == 0:
            os.kill(os.getpid(), signal.SIGKILL)
sys.addaudithook(count)
recording.write(capture, sys.argv[2])
"""


@pytest.mark.parametrize("suffix", ["", ".tar"])
@pytest.mark.parametrize("steps", [1, 2, 3, 4, 5, 7, 20, 150, 400])
def test_killed_at_any_moment(tmp_path: Path, suffix: str, steps: int) -> None:
    path = tmp_path / f"r{suffix}"
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, archive("7.2.13-x86_64"), path, str(steps)], capture_output=True, check=False
    )
    assert killed.returncode in (0, -signal.SIGKILL), killed.stderr
    if killed.returncode != 0:
        assert not path.exists() or recording.read(str(path)).processes
    left = set(os.listdir(tmp_path)) - {path.name}
    assert all(name.startswith(atomic.PREFIX) for name in left)
    recording.write(SMALL, str(tmp_path / "next"))
    assert set(os.listdir(tmp_path)) - {path.name} == {"next"}


def test_a_living_writer_is_left_alone(tmp_path: Path) -> None:
    theirs = tmp_path / f"{atomic.PREFIX}1.theirs"
    theirs.mkdir()
    with atomic._locked(str(theirs)):
        recording.write(SMALL, str(tmp_path / "r"))
        assert theirs.exists()
    recording.write(SMALL, str(tmp_path / "s"))
    assert not theirs.exists()
