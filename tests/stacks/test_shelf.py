"""Where programs' call stacks lie: found while their writer lives, and gone with it, however it ended."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from heaptop.errors import SourceError
from heaptop.stacks.shelf import CAPTURED, EMULATOR, KERNEL, Shelf, locate, read_all

WRITER = """
import sys
from heaptop.stacks.shelf import Shelf
shelf = Shelf("kernel", sys.argv[1])
shelf.rewrite(b"begun\\n")
shelf.write(b"and more\\n")
print("ready", flush=True)
sys.stdin.read()
shelf.close()
"""


def test_a_writer_is_read_while_it_lives(tmp_path: Path) -> None:
    shelf = Shelf(EMULATOR, str(tmp_path / "own"))
    try:
        shelf.rewrite(b"begun\n")
        shelf.write(b"more\n")
        assert read_all(EMULATOR, str(tmp_path / "own")) == {f"{CAPTURED}/{os.getpid()}": b"begun\nmore\n"}
        shelf.rewrite(b"anew\n")
        assert read_all(EMULATOR, str(tmp_path / "own")) == {f"{CAPTURED}/{os.getpid()}": b"anew\n"}
        assert read_all(KERNEL, str(tmp_path / "own")) == {}
    finally:
        shelf.close()
        shelf.close()
    assert read_all(EMULATOR, str(tmp_path / "own")) == {}
    shelf.write(b"late\n")


@pytest.mark.parametrize("is_killed", [True, False])
def test_what_a_writer_leaves(tmp_path: Path, is_killed: bool) -> None:
    folder = str(tmp_path)
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, folder], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert writer.stdin is not None
    assert writer.stdout is not None
    with writer, writer.stdin, writer.stdout:
        assert writer.stdout.readline() == "ready\n"
        assert read_all(KERNEL, folder) == {f"{CAPTURED}/{writer.pid}": b"begun\nand more\n"}
        if is_killed:
            writer.kill()
            writer.wait()
        else:
            writer.communicate("")
    assert read_all(KERNEL, folder) == {}
    assert os.listdir(tmp_path / "stacks" / KERNEL) == []


def test_the_folder_is_its_owners_alone(tmp_path: Path) -> None:
    (tmp_path / "stacks").mkdir(mode=0o755)
    shelf = Shelf(KERNEL, str(tmp_path))
    shelf.close()
    assert (tmp_path / "stacks").stat().st_mode & 0o777 == 0o700
    (tmp_path / "file").touch()
    with pytest.raises(SourceError, match="set XDG_RUNTIME_DIR"):
        Shelf(KERNEL, str(tmp_path / "file"))
    (tmp_path / "link").symlink_to(tmp_path)
    with pytest.raises(SourceError):
        Shelf(KERNEL, str(tmp_path / "link"))


def test_no_folder_is_nothing(tmp_path: Path) -> None:
    assert read_all(KERNEL, str(tmp_path / "none")) == {}


def test_where_it_is(tmp_path: Path) -> None:
    assert locate({"XDG_RUNTIME_DIR": str(tmp_path)}, os.getuid()) == f"{tmp_path}/heaptop"
    assert locate({"XDG_RUNTIME_DIR": "relative"}, 12345) == "/tmp/heaptop-12345"
