"""A file of the user's choice: no other one is lost, and no half of it is left."""

import os
from pathlib import Path

import pytest

from heaptop.errors import HeaptopError, UsageError
from heaptop.recording.file import write_file


def test_a_new_file_is_its_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_file(str(path), b"data")
    assert path.read_bytes() == b"data"
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("other", ["file", "folder", "link"])
def test_what_exists_stays(other: str, tmp_path: Path) -> None:
    path = tmp_path / other
    if other == "file":
        path.write_text("precious")
    elif other == "folder":
        path.mkdir()
    else:
        path.symlink_to("nowhere")
    with pytest.raises(UsageError, match="it exists"):
        write_file(str(path), b"data")
    assert os.listdir(tmp_path) == [other]


def test_force_replaces_whole(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old and longer")
    write_file(str(path), b"new", force=True)
    assert path.read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["file"]


def test_force_does_not_replace_a_folder(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(HeaptopError, match="EISDIR"):
        write_file(str(tmp_path / "folder"), b"new", force=True)
    assert os.listdir(tmp_path) == ["folder"]


@pytest.mark.parametrize("path", ["no/file", "a\0b"])
def test_what_cannot_be_written(path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(HeaptopError, match="cannot write"):
        write_file(path, b"data")
    assert os.listdir(tmp_path) == []


def test_nothing_is_left_of_what_does_not_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(HeaptopError, match="ENOSPC"):
        write_file(str(tmp_path / "file"), b"data", force=True)
    assert os.listdir(tmp_path) == []
