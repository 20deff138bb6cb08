"""Folders of buffers in sysfs: each is read once, and those with attachments each time."""

import shutil
from collections.abc import Iterator
from pathlib import Path

from heaptop.backend.buffer_folders import FOLDER
from heaptop.backend.kernel import KernelBackend
from heaptop.capture import Capture


def make(root: Path, inode: int, size: int, exporter: str = "system") -> Path:
    folder = root / FOLDER / str(inode)
    folder.mkdir(parents=True)
    (folder / "size").write_text(f"{size}\n")
    (folder / "exporter_name").write_text(f"{exporter}\n")
    return folder


def told(capture: Capture) -> dict[str, object]:
    return {path.removeprefix(f"{FOLDER}/"): raw for path, raw in capture.files.items() if path.startswith(FOLDER)}


def looks(root: Path) -> Iterator[Capture]:
    backend = KernelBackend(str(root), off=frozenset({"fd", "fdinfo", "maps", "tasks"}))
    while True:
        yield backend.capture()


def test_what_comes_and_goes(tmp_path: Path) -> None:
    make(tmp_path, 5, 4096)
    captures = looks(tmp_path)
    first = next(captures)
    assert told(first) == {"5/size": b"4096\n", "5/exporter_name": b"system\n"}
    make(tmp_path, 6, 8192, "mtk_mm")
    second = next(captures)
    assert told(second).keys() == {"5/size", "5/exporter_name", "6/size", "6/exporter_name"}
    assert all(second.files[path] is first.files[path] for path in first.files if path.startswith(f"{FOLDER}/5"))
    shutil.rmtree(tmp_path / FOLDER / "5")
    assert told(next(captures)) == {"6/size": b"8192\n", "6/exporter_name": b"mtk_mm\n"}
    shutil.rmtree(tmp_path / FOLDER)
    assert told(next(captures)) == {}
    assert told(first).keys() == {"5/size", "5/exporter_name"}


def test_attachments_are_read_each_time(tmp_path: Path) -> None:
    attachments = make(tmp_path, 5, 4096) / "attachments"
    attachments.mkdir()
    captures = looks(tmp_path)
    assert next(captures).links == {}
    (attachments / "1").mkdir()
    (attachments / "1" / "device").symlink_to("../../../devices/gpu")
    assert next(captures).links == {f"{FOLDER}/5/attachments/1/device": b"../../../devices/gpu"}


def test_one_that_is_half_gone_is_read_again(tmp_path: Path) -> None:
    folder = make(tmp_path, 5, 4096)
    (folder / "size").unlink()
    captures = looks(tmp_path)
    assert told(next(captures)) == {"5/exporter_name": b"system\n"}
    (folder / "size").write_text("4096\n")
    assert told(next(captures)).keys() == {"5/size", "5/exporter_name"}
