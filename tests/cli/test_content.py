"""`heaptop content`: what it prints and writes, and what it refuses."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from heaptop.backend.base import FdAt, Way
from heaptop.cli.parser import parse
from heaptop.errors import SourceError, UsageError
from heaptop.model import FdRef, Holder, ProcessId
from tests.analysis.test_png import decoded
from tests.cli.conftest import FakeBackend, Run, Use
from tests.report.samples import SNAPSHOT

INODE = 4711
RED, GREEN = b"\xff\0\0\xff", b"\0\xff\0\xff"


@dataclass
class Memory:
    """A buffer's content, in memory."""

    data: bytes
    closed: int = 0

    @property
    def size_bytes(self) -> int:
        return len(self.data)

    def read(self, spans: Sequence[tuple[int, int]]) -> tuple[bytes, ...]:
        return tuple(self.data[offset : offset + length] for offset, length in spans)

    def close(self) -> None:
        self.closed += 1


@dataclass
class FakeReader(FakeBackend):
    """A backend with one buffer to look into."""

    memory: Memory = field(default_factory=lambda: Memory(b""))
    refusal: SourceError | None = None
    opened: list[tuple[int, tuple[Way, ...]]] = field(default_factory=list)

    def open_content(self, inode: int, ways: Sequence[Way]) -> Memory:
        self.opened.append((inode, tuple(ways)))
        if self.refusal is not None:
            raise self.refusal
        return self.memory


@pytest.fixture
def reader(use: Use, monkeypatch: pytest.MonkeyPatch) -> FakeReader:
    holder = Holder(ProcessId(812, 1), "cam", fds=(FdRef(7), FdRef(8, tid=813)))
    buffer = SNAPSHOT.buffers[0]._replace(inode=INODE, holders=(holder,))
    monkeypatch.setattr("heaptop.cli.content.assemble", lambda _: SNAPSHOT._replace(buffers=(buffer,)))
    backend = FakeReader(memory=Memory(bytes(range(256)) * 32))
    use(backend)
    return backend


def test_a_hex_dump(reader: FakeReader, run: Run) -> None:
    ran = run("content", str(INODE))
    assert ran.code == 0
    lines = ran.out.splitlines()
    assert len(lines) == 16
    assert lines[4] == "00000040  40 41 42 43 44 45 46 47  48 49 4a 4b 4c 4d 4e 4f  |@ABCDEFGHIJKLMNO|"
    assert reader.opened == [(INODE, (FdAt(812, 7), FdAt(812, 8, 813)))]
    assert (reader.memory.closed, reader.closed) == (1, 1)


@pytest.mark.parametrize(
    ("arguments", "first", "count"),
    [
        (["--offset", "0x1ff0", "--length", "1M"], "00001ff0", 1),
        (["--offset", "4K", "--length", "17"], "00001000", 2),
        (["--length", "1"], "00000000", 1),
    ],
)
def test_a_part(arguments: list[str], first: str, count: int, reader: FakeReader, run: Run) -> None:
    lines = run("content", str(INODE), *arguments).out.splitlines()
    assert (lines[0][:8], len(lines)) == (first, count)


def test_much_is_printed_piece_by_piece(reader: FakeReader, run: Run) -> None:
    reader.memory.data = bytes((1 << 20) + 32)
    lines = run("content", str(INODE), "--length", "2M").out.splitlines()
    assert len(lines) == (1 << 16) + 2
    assert lines[-1].startswith("00100010")


def test_behind_the_end(reader: FakeReader, run: Run) -> None:
    ran = run("content", str(INODE), "--offset", "8K")
    assert (ran.code, ran.out, ran.err) == (2, "", "heaptop: --offset 8192: the buffer ends at 8192\n")
    assert reader.memory.closed == 1


def test_a_picture(reader: FakeReader, run: Run, tmp_path: Path) -> None:
    reader.memory.data = b"....." + RED + GREEN + b".." + GREEN + RED
    path = tmp_path / "p.png"
    told = ["--format", "rgba", "--width", "2", "--height", "2", "--stride", "10", "--offset", "5"]
    ran = run("content", str(INODE), "--png", str(path), *told)
    assert (ran.code, ran.out) == (0, "")
    assert ran.err == f"heaptop: rgba 2x2, stride 10, offset 5, written to {path}\n"
    assert decoded(path.read_bytes()) == (2, 2, b"\xff\0\0\0\xff\0\0\xff\0\xff\0\0")
    assert path.stat().st_mode & 0o777 == 0o600
    assert reader.memory.closed == 1


def test_what_is_not_told_is_guessed(reader: FakeReader, run: Run, tmp_path: Path) -> None:
    reader.memory.data = bytes(320 * 240 * 3 // 2)
    ran = run("content", str(INODE), "--png", str(tmp_path / "p.png"), "--format", "nv12")
    assert "nv12 320x240, stride 320, offset 0" in ran.err


def test_no_file_is_lost(reader: FakeReader, run: Run, tmp_path: Path) -> None:
    path = tmp_path / "p.png"
    path.write_text("precious")
    ran = run("content", str(INODE), "--png", str(path))
    assert ran.code == 2
    assert "it exists" in ran.err
    assert path.read_text() == "precious"
    assert run("content", str(INODE), "--png", str(path), "--force").code == 0
    assert path.read_bytes().startswith(b"\x89PNG")
    assert os.listdir(tmp_path) == ["p.png"]


def test_a_path_that_cannot_be_written(reader: FakeReader, run: Run, tmp_path: Path) -> None:
    ran = run("content", str(INODE), "--png", str(tmp_path / "no" / "p.png"))
    assert ran.code == 3
    assert "ENOENT" in ran.err


def test_a_picture_that_does_not_fit(reader: FakeReader, run: Run, tmp_path: Path) -> None:
    ran = run("content", str(INODE), "--png", str(tmp_path / "p.png"), "--width", "1920", "--height", "1080")
    assert ran.code == 2
    assert "the picture is too large" in ran.err
    assert os.listdir(tmp_path) == []


def test_what_may_not_be_looked_into(reader: FakeReader, run: Run) -> None:
    reader.refusal = SourceError("buffer 4711 cannot be mapped", "its exporter lets no CPU see it")
    ran = run("content", str(INODE))
    assert (ran.code, ran.out) == (3, "")
    assert ran.err == "heaptop: buffer 4711 cannot be mapped: its exporter lets no CPU see it\n"
    assert reader.closed == 1


def test_a_buffer_that_is_not_there(reader: FakeReader, run: Run) -> None:
    ran = run("content", "1")
    assert ran.code == 2
    assert "no buffer 1 is seen on fake" in ran.err
    assert reader.opened == []


def test_a_recording_has_none(use: Use, run: Run) -> None:
    use(FakeBackend())
    ran = run("content", "1")
    assert ran.code == 2
    assert "only the running kernel and the emulator do" in ran.err


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ([], "required: INODE"),
        (["x"], "'x' is not a number"),
        (["-1"], "is not a number"),
        (["1", "--offset", "-4"], "cannot be negative"),
        (["1", "--offset", "0x"], "is not a number"),
        (["1", "--length", "0"], "at least 1 byte"),
        (["1", "--png", "p", "--format", "nv21"], "did you mean nv12?"),
        (["1", "--png", "p", "--length", "1"], "--length says nothing to a picture"),
        (["1", "--width", "1"], "--width says nothing to a hex dump"),
        (["1", "--json"], "unrecognized arguments: --json"),
        (["1", "--png", "p", "--width", "99999999999999999999"], "is not a number"),
    ],
)
def test_what_cannot_be_taken(arguments: list[str], why: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse(["content", *arguments])
    assert why in str(caught.value)


def test_numbers_are_decimal_or_hex() -> None:
    options = parse(["content", "0x3e", "--offset", "0", "--length", "4K"])
    assert (options.inode, options.offset, options.length) == (62, 0, 4096)
    assert parse(["content", "062"]).inode == 62
