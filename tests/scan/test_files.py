"""Reading files of the kernel: text, errno, or nothing."""

import errno
import os
from pathlib import Path

import pytest

from heaptop.capture import ReadError
from heaptop.scan import files
from heaptop.scan.files import read_file


def test_text() -> None:
    text = read_file("/proc/version")
    assert isinstance(text, bytes)
    assert text == Path("/proc/version").read_bytes()


def test_below_an_open_folder() -> None:
    folder = os.open("/proc/self", os.O_PATH)
    try:
        assert read_file("comm", folder) == Path("/proc/self/comm").read_bytes()
    finally:
        os.close(folder)


def test_what_is_not_there() -> None:
    assert read_file("/proc/none") is None
    assert read_file("/proc/version/x") is None


def test_errors() -> None:
    assert read_file("/proc/self/mem") == ReadError("read", errno.EIO)
    assert read_file("/proc") == ReadError("read", errno.EISDIR)


def test_a_fifo_does_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    assert read_file(str(tmp_path / "fifo")) == b""


def test_huge(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "FILE_BYTES_MAX", 1 << 20)
    assert read_file("/dev/zero") == ReadError("read", errno.EFBIG)
