"""Finding kernels, and making initrds for them."""

import lzma
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.vm import kernels
from tests.vm.cpio import archive


@pytest.fixture(autouse=True)
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("HEAPTOP_VM_KERNELS", str(tmp_path / "given"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "own"))
    return tmp_path


def place(folder: Path, name: str, *files: str) -> Path:
    home = folder / f"kernel-{name}-x86_64"
    home.mkdir(parents=True)
    for file in files:
        (home / file).touch()
    return home


def test_the_given_folder_comes_first(cache: Path) -> None:
    place(kernels.own_folder(), "6.12", "bzImage")
    given = place(cache / "given", "6.12", "bzImage", "modules.gz")
    place(kernels.own_folder(), "7.2", "bzImage")
    place(kernels.own_folder(), "unfinished")
    assert kernels.names() == ("6.12", "7.2")
    assert kernels.find("6.12") == kernels.Kernel("6.12", given / "bzImage", given / "modules.gz")
    assert kernels.find("7.2").modules is None


def test_what_to_do_where_there_is_none() -> None:
    with pytest.raises(kernels.MissingError, match=r"make vm-kernel KERNEL=5\.99"):
        kernels.find("5.99")


def test_what_to_do_where_a_program_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(kernels.MissingError, match="run sudo apt-get install qemu-system-x86"):
        kernels.install("qemu-system-x86_64", "qemu-system-x86")


def test_modules_come_after_what_they_need(tmp_path: Path) -> None:
    def module(path: str, depends: str) -> None:
        content = b"ELF\0license=GPL\0depends=" + depends.encode() + b"\0name=x\0"
        place_at = tmp_path / path
        place_at.parent.mkdir(exist_ok=True)
        place_at.write_bytes(lzma.compress(content) if path.endswith(".xz") else content)

    module("net/9pnet_virtio.ko.xz", "9pnet")
    module("net/9pnet.ko", "")
    module("fs/9p.ko", "9pnet,netfs,built-in")
    module("fs/netfs.ko", "")
    order = [path.name for path in kernels.load_order(("9pnet_virtio", "9p", "overlay"), tmp_path)]
    assert order == ["9pnet.ko", "9pnet_virtio.ko.xz", "netfs.ko", "9p.ko"]


@pytest.mark.skipif(shutil.which("cpio") is None, reason="no cpio here to read it")
def test_the_archive_is_one(tmp_path: Path) -> None:
    packed = archive({"init": b"first", "mods/list": b"", "mods/x.ko": b"\0" * 5})
    subprocess.run(["cpio", "--extract", "--quiet"], cwd=tmp_path, input=packed, check=True)
    files = {str(path.relative_to(tmp_path)): path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert files == {"init": b"first", "mods/list": b"", "mods/x.ko": b"\0" * 5}
    assert (tmp_path / "init").stat().st_mode & 0o777 == 0o755
