"""Bug reports and dumps as recordings: found by what is in them, bounded, nothing extracted."""

import gzip
import io
import zipfile
from pathlib import Path

import pytest

from heaptop import recording
from heaptop.capture import ReadError
from heaptop.errors import RecordingError
from heaptop.recording import dump

DUMPS = Path(__file__).parent.parent / "dumps"
REPORT = (DUMPS / "bugreport.txt").read_bytes()


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("dmabuf_dump.txt", dump.DMABUF_DUMP),
        ("dmabuf_dump-a.txt", dump.DMABUF_DUMP),
        ("dmabuf_dump-b.txt", dump.DMABUF_DUMP),
        ("dmabuf_dump.csv", dump.DMABUF_DUMP),
        ("ion-system", dump.ION + "ion-system"),
        ("mtk-fds.txt", dump.MEDIATEK),
        ("mtk-all.txt", dump.MEDIATEK),
        ("rk.txt", dump.ROCKCHIP),
    ],
)
def test_a_text_goes_where_it_belongs(name: str, path: str) -> None:
    capture = recording.read(str(DUMPS / name))
    assert set(capture.files) == {path}
    assert capture.files[path] == (DUMPS / name).read_bytes()


def test_a_bug_report_by_its_sections(tmp_path: Path) -> None:
    files = recording.read(str(DUMPS / "bugreport.txt")).files
    assert set(files) == {dump.DMABUF_DUMP, dump.DMESG, "proc/meminfo", dump.VERSION}
    assert isinstance(text := files[dump.DMABUF_DUMP], bytes)
    assert b"surfaceflinger:828" in text
    assert b"per-buffer stats" in text
    assert b"PSI" not in text
    packed = tmp_path / "report.gz"
    packed.write_bytes(gzip.compress(REPORT))
    assert recording.read(str(packed)).files == files


def test_lines_that_end_as_on_other_systems(tmp_path: Path) -> None:
    path = tmp_path / "dump.txt"
    path.write_bytes((DUMPS / "rk.txt").read_bytes().replace(b"\n", b"\r\n"))
    assert recording.read(str(path)).files[dump.ROCKCHIP] == (DUMPS / "rk.txt").read_bytes()


def bundle(members: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, text in members.items():
            packed.writestr(name, text)
    return file.getvalue()


def test_a_zip(tmp_path: Path) -> None:
    path = tmp_path / "bugreport.zip"
    members = {
        "main_entry.txt": b"bugreport-x.txt\n",
        "bugreport-x.txt": REPORT,
        "../../evil.txt": REPORT,
        "FS/proc/vmstat": b"cma_alloc_success 5\n",
        "FS/data/secret": b"x",
        "FS/../../proc/meminfo": b"x",
    }
    path.write_bytes(bundle(members))
    files = recording.read(str(path)).files
    assert files["proc/vmstat"] == b"cma_alloc_success 5\n"
    assert isinstance(meminfo := files["proc/meminfo"], bytes)
    assert meminfo.startswith(b"MemTotal")
    assert not list(tmp_path.rglob("evil*"))


@pytest.mark.parametrize("cut", [40, 200, 500])
def test_a_zip_that_is_cut(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "bugreport.zip"
    path.write_bytes(bundle({"bugreport-x.txt": REPORT})[:cut])
    with pytest.raises(RecordingError):
        recording.read(str(path))


def test_a_bomb_is_left_at_the_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dump, "TEXT_BYTES_MAX", 1 << 20)
    path = tmp_path / "bomb.zip"
    path.write_bytes(bundle({"bugreport-x.txt": REPORT, "y.txt": bytes(8 << 20), "z.txt": b"\n" * (8 << 20)}))
    capture = recording.read(str(path))
    assert isinstance(capture.files["recording"], ReadError)
    assert dump.DMABUF_DUMP in capture.files


def test_a_text_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dump, "SECTION_BYTES_MAX", 1 << 20)
    path = tmp_path / "dump.txt"
    path.write_bytes((DUMPS / "rk.txt").read_bytes() + b"x\n" * (1 << 20))
    capture = recording.read(str(path))
    assert isinstance(capture.files["recording"], ReadError)
    assert dump.ROCKCHIP in capture.files


def test_a_section_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dump, "SECTION_BYTES_MAX", 1000)
    section = b"------ X (dmabuf_dump) ------\n" + b"y\n" * 10_000
    found = dump.of_text(io.BytesIO(section), "x")
    assert isinstance(kept := found[dump.DMABUF_DUMP], bytes)
    assert 0 < len(kept) <= 1000
    assert isinstance(found["recording"], ReadError)


def test_a_file_in_a_zip_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dump, "SECTION_BYTES_MAX", 1000)
    path = tmp_path / "bugreport.zip"
    path.write_bytes(bundle({"FS/proc/vmstat": b"nr_free_cma 1\n" * 10_000}))
    files = recording.read(str(path)).files
    assert isinstance(kept := files["proc/vmstat"], bytes)
    assert 0 < len(kept) <= 1000
    assert isinstance(files["recording"], ReadError)


def test_a_line_may_be_long() -> None:
    """A CMA area of 2 GiB has a bitmap of 16,384 numbers in one line."""
    bitmap = b" ".join([b"4294967295"] * 16_384) + b"\n"
    section = b"------ CMA (/sys/kernel/debug/cma/reserved/bitmap) ------\n" + bitmap
    assert dump.of_text(io.BytesIO(section), "x") == {"sys/kernel/debug/cma/reserved/bitmap": bitmap}


@pytest.mark.parametrize(
    ("title", "path"),
    [
        (b"DMABUF (/d/dma_buf/bufinfo: 2024-05-01 12:00:00)", dump.BUFINFO),
        (b"DMABUF (/sys/kernel/debug/dma_buf/bufinfo)", dump.BUFINFO),
        (b"ION (/sys/kernel/debug/ion/heaps/system: 2024)", dump.ION + "system"),
        (b"MTK (cat /proc/dma_heap/all_heaps)", dump.MEDIATEK),
        (b"Dmabuf dump (/product/bin/dmabuf_dump)", dump.DMABUF_DUMP),
        (b"KERNEL LOG (dmesg)", dump.DMESG),
        (b"X (/d/../proc/meminfo)", None),
        (b"X (/etc/passwd)", None),
    ],
)
def test_titles(title: bytes, path: str | None) -> None:
    found = dump.of_text(io.BytesIO(b"------ " + title + b" ------\nx\n"), "x")
    assert set(found) == ({path} if path else set())


def test_files_within_a_section() -> None:
    text = b"------ ION HEAPS (for f in $(ls /d/ion); do) ------\n--- /d/ion/heaps/system\nx\n--- /d/other\ny\n"
    assert dump.of_text(io.BytesIO(text), "x") == {dump.ION + "system": b"x\n"}


def test_a_dump_as_a_recording_of_its_own(tmp_path: Path) -> None:
    """What a bug report tells can be kept as a recording."""
    capture = recording.read(str(DUMPS / "bugreport.txt"))
    path = tmp_path / "kept.tar"
    recording.write(capture, str(path))
    assert recording.read(str(path)).files == capture.files
