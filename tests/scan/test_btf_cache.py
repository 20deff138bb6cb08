"""What is kept of a kernel's types: used only where it cannot be another's."""

import os
import stat
import struct
from pathlib import Path
from typing import NamedTuple

import pytest

from heaptop.scan import btf_cache
from heaptop.scan.btf import FUNC, BtfError
from heaptop.scan.btf_cache import KnownTypes, cache_folder
from tests.scan.test_btf import INT, Maker, small


@pytest.fixture
def vmlinux(tmp_path: Path) -> Path:
    path = tmp_path / "vmlinux"
    path.write_bytes(small().data())
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "heaptop"


def kept(folder: Path) -> Path:
    (file,) = folder.iterdir()
    return file


class Asked(NamedTuple):
    offset: int
    size: int
    from_the_cache: bool


def ask(vmlinux: Path, folder: Path) -> Asked:
    """What is not in the cache reads the file."""
    types = KnownTypes(str(vmlinux), str(folder))
    found = types.offset("inner", "first"), types.size("inner")
    with pytest.raises(BtfError):
        types.id_of("nothing", FUNC)
    is_from_the_cache = types._btf is None
    types.keep()
    return Asked(*found, is_from_the_cache)


def test_a_second_time_nothing_is_read(vmlinux: Path, folder: Path) -> None:
    assert ask(vmlinux, folder) == Asked(0, 16, from_the_cache=False)
    assert ask(vmlinux, folder) == Asked(0, 16, from_the_cache=True)
    assert stat.S_IMODE(kept(folder).stat().st_mode) == 0o600
    assert KnownTypes(str(vmlinux), str(folder)).whole().size("outer") == 8


def test_another_kernels_is_not_used(vmlinux: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ask(vmlinux, folder)
    monkeypatch.setattr(btf_cache, "_NOTES", str(vmlinux))
    assert not ask(vmlinux, folder).from_the_cache
    assert len(list(folder.iterdir())) == 2
    maker = Maker()
    number = maker.add("long", INT, 8, struct.pack("<I", 64))
    maker.struct("inner", 24, [("last", number, 0), ("first", number, 64)])
    vmlinux.write_bytes(maker.data())
    assert ask(vmlinux, folder)[:2] == (8, 24)


def test_one_whose_name_is_the_same_by_chance(vmlinux: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ask(vmlinux, folder)
    monkeypatch.setattr(btf_cache, "crc32", lambda _data: 0)
    ask(vmlinux, folder)
    monkeypatch.setattr(btf_cache, "_NOTES", str(vmlinux))
    assert not ask(vmlinux, folder).from_the_cache


@pytest.mark.parametrize("cut", [0, 1, 40, -1, -9, -12])
def test_a_damaged_file_is_made_anew(vmlinux: Path, folder: Path, cut: int) -> None:
    ask(vmlinux, folder)
    whole = kept(folder).read_bytes()
    kept(folder).write_bytes(whole[:cut])
    assert not ask(vmlinux, folder).from_the_cache
    assert kept(folder).read_bytes() == whole
    kept(folder).write_bytes(whole.replace(b"size inner 16", b"size inner 17"))
    assert ask(vmlinux, folder)[1] == 16


def test_what_others_could_have_written_is_not_trusted(vmlinux: Path, folder: Path) -> None:
    ask(vmlinux, folder)
    kept(folder).chmod(0o622)
    assert not ask(vmlinux, folder).from_the_cache
    file = kept(folder)
    elsewhere = folder.parent / "elsewhere"
    file.rename(elsewhere)
    file.symlink_to(elsewhere)
    assert not ask(vmlinux, folder).from_the_cache
    if os.geteuid() == 0:
        os.chown(kept(folder), 1234, -1)
        assert not ask(vmlinux, folder).from_the_cache
        kept(folder).unlink()
        os.chown(folder, 1234, -1)
        ask(vmlinux, folder)
        assert list(folder.iterdir()) == [], "nor is it written into somebody else's folder"


def test_where_it_cannot_be_kept(vmlinux: Path, tmp_path: Path) -> None:
    for folder in (tmp_path / "no" / "such" / "folder", Path("/proc/heaptop/cache"), vmlinux / "x"):
        assert ask(vmlinux, folder)[:2] == (0, 16)
        assert not folder.exists()


def test_one_who_was_killed_at_it(vmlinux: Path, folder: Path) -> None:
    ask(vmlinux, folder)
    file = kept(folder)
    file.rename(f"{file}.new")
    ask(vmlinux, folder)
    ask(vmlinux, folder)
    assert kept(folder) == file


def test_without_types_nothing_is_kept(tmp_path: Path, folder: Path) -> None:
    types = KnownTypes(str(tmp_path / "missing"), str(folder))
    with pytest.raises(BtfError):
        types.size("inner")
    types.keep()
    assert not folder.exists()


def test_the_users_own_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/some/where")
    assert cache_folder() == "/some/where/heaptop"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/somewhere")
    assert cache_folder() == "/somewhere/.cache/heaptop"
