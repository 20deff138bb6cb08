"""The content screen over real memfds: what it shows, what it writes, and that the buffer is let go."""

import os
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot
from textual.widgets import Input, Select

from heaptop.backend.base import Allocation, Content, FdAt, Way
from heaptop.backend.content import open_content
from heaptop.errors import SourceError
from heaptop.model import Buffer, FdRef, Holder, Process, ProcessId
from heaptop.tui.app import HeaptopApp
from heaptop.tui.content_screen import ContentScreen
from heaptop.tui.widgets.line import Line
from tests.analysis.test_png import decoded
from tests.tui.stage import FakeAllocator, FakeBackend, ready, snapshot, staged, until, update

NARROW, WIDE = (80, 24), (120, 40)
WIDTH, HEIGHT = 320, 240
SIZE_BYTES = 155_648
"""The picture's, in whole pages."""
INODE = 4242


def gradient() -> bytes:
    """RGB565, 320x240: red grows to the right, blue downwards; three bars of full colours on top."""
    words = []
    for y in range(HEIGHT):
        for x in range(WIDTH):
            bar = (0xF800, 0x07E0, 0xFFFF)[x * 3 // WIDTH]
            words.append(bar if y < HEIGHT // 4 else (x * 31 // WIDTH) << 11 | (y * 31 // HEIGHT))
    return b"".join(word.to_bytes(2, "little") for word in words)


class Reader(FakeBackend):
    """A source whose one buffer is a memfd of this process, shown under an inode that is always the same."""

    def __init__(self, data: bytes, size_bytes: int = SIZE_BYTES) -> None:
        self.fd = os.memfd_create("content", os.MFD_CLOEXEC)
        os.ftruncate(self.fd, size_bytes)
        os.pwrite(self.fd, data, 0)
        self.asked: list[tuple[int, tuple[Way, ...]]] = []
        self.refusal: SourceError | None = None
        self.gate: threading.Event | None = None

    def open_content(self, inode: int, ways: Sequence[Way]) -> Content:
        self.asked.append((inode, tuple(ways)))
        if self.gate is not None:
            self.gate.wait()
        if self.refusal is not None:
            raise self.refusal
        return open_content(os.fstat(self.fd).st_ino, [FdAt(os.getpid(), self.fd)], lambda _: True)


def maps() -> int:
    """How often a content of these tests is mapped."""
    return Path("/proc/self/maps").read_text().count("/memfd:content")


@pytest.fixture
def reader() -> Iterator[Reader]:
    backend = Reader(gradient())
    yield backend
    os.close(backend.fd)


def app(backend: FakeBackend, name: str = "cam-preview") -> HeaptopApp:
    holder = Holder(ProcessId(812, 1), "cam", fds=(FdRef(7),))
    buffer = Buffer(INODE, SIZE_BYTES, "system", name, 1, 0, None, None, (holder,))
    return staged(update(snapshot(buffers=[buffer])), backend=backend)


async def looked_into(pilot: Pilot[int], *keys: str) -> ContentScreen:
    """The content screen with its first page, then these keys."""
    on = await ready(pilot, "2", "x")
    screen = on.screen
    assert isinstance(screen, ContentScreen)
    await until(pilot, lambda: "opening" not in state(screen))
    for key in keys:
        await pilot.press(key)
        await settled(pilot, screen)
    return screen


async def settled(pilot: Pilot[int], screen: ContentScreen) -> None:
    await pilot.pause()
    await until(pilot, lambda: not screen._is_reading)


def state(screen: ContentScreen) -> str:
    return screen.query_one("#content-state", Line).text.strip()


def hex_line(screen: ContentScreen, y: int) -> str:
    return screen.hex.render_line(y).text.rstrip()


async def test_hex_first(reader: Reader) -> None:
    async with app(reader).run_test(size=NARROW) as pilot:
        screen = await looked_into(pilot)
        assert reader.asked == [(INODE, (FdAt(812, 7),))]
        assert hex_line(screen, 0) == " 00000000  00 f8 00 f8 00 f8 00 f8  00 f8 00 f8 00 f8 00 f8  ................"
        assert state(screen) == "0x0 to 0x14f of 0x26000, 0.2 %"
        title = screen.query_one("#content-title", Line).text
        assert title.startswith(" content inode 4242 · cam-preview ")
        assert len(title) == 80
        assert "g go to" in screen.query_one("#content-footer", Line).text


async def test_paging(reader: Reader) -> None:
    async with app(reader).run_test(size=NARROW) as pilot:
        screen = await looked_into(pilot)
        for keys, first in (
            (["pagedown"], "00000150"),
            (["down", "j"], "00000170"),
            (["pageup"], "00000020"),
            (["pageup"], "00000000"),
            (["end"], "00025eb0"),
            (["pagedown"], "00025eb0"),
            (["up", "k"], "00025e90"),
            (["home"], "00000000"),
        ):
            await pilot.press(*keys)
            await settled(pilot, screen)
            assert hex_line(screen, 0)[1:9] == first
            assert len(hex_line(screen, 20)) > 70, "the page is full"


async def test_go_to(reader: Reader) -> None:
    async with app(reader).run_test(size=NARROW) as pilot:
        screen = await looked_into(pilot)
        for typed, first in (("0x1008", "00001000"), ("64K", "00010000"), ("1G", "00025eb0")):
            await pilot.press("g", *["backspace"] * 10, *typed, "enter")
            await settled(pilot, screen)
            assert hex_line(screen, 0)[1:9] == first
        await pilot.press("g", "z", "enter")
        await settled(pilot, screen)
        assert "is no offset" in state(screen)
        assert hex_line(screen, 0)[1:9] == "00025eb0"


async def test_it_is_read_anew(reader: Reader) -> None:
    async with app(reader).run_test(size=NARROW) as pilot:
        screen = await looked_into(pilot)
        os.pwrite(reader.fd, b"fresh", 0)
        await pilot.press("r")
        await settled(pilot, screen)
        assert "fresh" in hex_line(screen, 0)


async def test_the_buffer_is_let_go(reader: Reader) -> None:
    fds = len(os.listdir("/proc/self/fd"))
    async with app(reader).run_test(size=NARROW) as pilot:
        screen = await looked_into(pilot)
        assert maps() == 1
        inside = len(os.listdir("/proc/self/fd"))
        await pilot.press("escape")
        await until(pilot, lambda: not isinstance(pilot.app.screen, ContentScreen))
        assert maps() == 0
        assert len(os.listdir("/proc/self/fd")) == inside - 3
        await looked_into(pilot)
    assert maps() == 0, "also when the app ends"
    assert screen._content is not None
    assert len(os.listdir("/proc/self/fd")) <= fds + 1


async def test_what_comes_late_is_given_back(reader: Reader) -> None:
    reader.gate = threading.Event()
    async with app(reader).run_test(size=NARROW) as pilot:
        await ready(pilot, "2", "x")
        await until(pilot, lambda: reader.asked)
        await pilot.press("escape")
        await until(pilot, lambda: not isinstance(pilot.app.screen, ContentScreen))
        reader.gate.set()
        await until(pilot, lambda: maps() == 0)


async def test_a_refusal_is_told_and_offers_only_the_way_out(reader: Reader) -> None:
    reader.refusal = SourceError("buffer 4242 cannot be mapped", "its exporter lets no CPU see it")
    async with app(reader).run_test(size=NARROW) as pilot:
        screen = await looked_into(pilot, "p", "g", "w", "pagedown", "end")
        assert state(screen) == "buffer 4242 cannot be mapped: its exporter lets no CPU see it"
        assert screen.query_one("#content-footer", Line).text.strip() == "Esc close"
        assert not screen.is_pictured
        await pilot.press("q")
        await until(pilot, lambda: not isinstance(pilot.app.screen, ContentScreen))


async def test_a_read_that_fails_is_told(reader: Reader) -> None:
    async with app(reader).run_test(size=NARROW) as pilot:
        screen = await looked_into(pilot)
        os.ftruncate(reader.fd, 4096)
        await pilot.press("end")
        await settled(pilot, screen)
        assert "EFAULT" in state(screen)
        await pilot.press("home")
        await settled(pilot, screen)
        assert "0x0 to" in state(screen)


async def test_a_picture_by_guess(reader: Reader) -> None:
    async with app(reader).run_test(size=NARROW) as pilot:
        screen = await looked_into(pilot, "p")
        assert screen.form.picture(SIZE_BYTES).format == "rgb565"
        assert state(screen).startswith("guess 1 of ")
        strip = screen.picture.render_line(0)
        colours = [segment.style.color for segment in strip if segment.style and "▀" in segment.text]
        assert [colour.triplet.rgb for colour in colours if colour and colour.triplet] == [
            "rgb(255,0,0)",
            "rgb(0,255,0)",
            "rgb(255,255,255)",
        ]
        assert strip.text.count("▀") == 53


async def test_the_footer_can_be_clicked(reader: Reader) -> None:
    async with app(reader).run_test(size=NARROW) as pilot:
        screen = await looked_into(pilot)
        footer = screen.query_one("#content-footer", Line).text
        await pilot.click("#content-footer", offset=(footer.index("hex/picture"), 0))
        await settled(pilot, screen)
        assert screen.is_pictured
        await pilot.click("#content-footer", offset=(2, 0))
        await until(pilot, lambda: not isinstance(pilot.app.screen, ContentScreen))


async def test_the_next_guess_and_back(reader: Reader) -> None:
    async with app(reader).run_test(size=NARROW) as pilot:
        screen = await looked_into(pilot, "p", "n")
        assert state(screen).startswith("guess 2 of ")
        await pilot.press("N", "N")
        await settled(pilot, screen)
        count = state(screen).rpartition(" ")[2]
        assert state(screen) == f"guess {count} of {count}"


async def test_a_picture_by_hand(reader: Reader) -> None:
    async with app(reader).run_test(size=NARROW) as pilot:
        screen = await looked_into(pilot, "p")
        screen.query_one("#content-format", Select).value = "rgba"
        screen.query_one("#content-width", Input).value = "16"
        await settled(pilot, screen)
        assert state(screen) == "as typed"
        screen.query_one("#content-stride", Input).value = "8"
        await settled(pilot, screen)
        assert state(screen) == "stride 8: a row of 16 pixels of rgba takes 64 bytes"
        screen.query_one("#content-width", Input).focus()
        await pilot.press("escape")
        assert screen.picture.has_focus, "Esc leaves the form first"
        await pilot.press("n")
        await settled(pilot, screen)
        assert state(screen).startswith("guess 1 of ")


async def test_write_a_png(reader: Reader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    async with app(reader).run_test(size=NARROW) as pilot:
        await looked_into(pilot, "p", "w", "enter")
        path = tmp_path / "buffer-4242.png"
        await until(pilot, lambda: path.exists() and path.stat().st_size)
        await until(pilot, lambda: any("picture written" in str(note.message) for note in pilot.app._notifications))
        width, height, pixels = decoded(path.read_bytes())
        assert (width, height) == (WIDTH, HEIGHT)
        assert pixels[:3] == b"\xff\0\0"
        before = path.read_bytes()
        await pilot.press("w", "enter")
        await until(pilot, lambda: any("it exists" in str(note.message) for note in pilot.app._notifications))
        assert path.read_bytes() == before


@pytest.mark.parametrize("variable", ["NO_COLOR", "LC_ALL"])
async def test_shades_where_there_are_no_colours(
    variable: str, reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, "C")
    async with app(reader).run_test(size=NARROW) as pilot:
        screen = await looked_into(pilot, "p")
        text = screen.picture.render_line(0).text
        assert text.isascii()
        assert text.rstrip().endswith("@")


async def test_hostile_names(reader: Reader) -> None:
    async with app(reader, "[/x]\n\x1b[31m").run_test(size=NARROW) as pilot:
        screen = await looked_into(pilot)
        assert r"[/x]\n\x1b[31m" in screen.query_one("#content-title", Line).text


async def test_any_size_of_screen_and_of_buffer() -> None:
    for size_bytes in (1, 17, 4096):
        backend = Reader(b"x", size_bytes)
        async with app(backend).run_test(size=NARROW) as pilot:
            screen = await looked_into(pilot, "end", "p", "n", "p", "home")
            assert hex_line(screen, 0).startswith(" 00000000  78")
            for size in ((40, 10), (20, 5), (200, 60)):
                await pilot.resize_terminal(*size)
                await settled(pilot, screen)
        os.close(backend.fd)


async def test_not_offered_where_nothing_can_be_looked_into() -> None:
    async with app(FakeBackend()).run_test(size=NARROW) as pilot:
        on = await ready(pilot, "2", "x")
        assert not isinstance(on.screen, ContentScreen)
        assert "x content" not in on.query_one("#footer", Line).text


async def test_from_the_processes(reader: Reader) -> None:
    process = Process(ProcessId(812, 1), "cam", 0, None, None, None, SIZE_BYTES, SIZE_BYTES, (INODE,))
    holder = Holder(process.id, "cam", fds=(FdRef(7),))
    buffer = Buffer(INODE, SIZE_BYTES, "system", "cam", 1, 0, None, None, (holder,))
    seen = snapshot(buffers=[buffer], processes=[process])
    async with staged(update(seen), backend=reader).run_test(size=NARROW) as pilot:
        on = await ready(pilot, "3", "x")
        assert not isinstance(on.screen, ContentScreen), "a process has no content"
        await pilot.press("right", "down", "x")
        await until(pilot, lambda: isinstance(on.screen, ContentScreen))
        await until(pilot, lambda: reader.asked)


class ReadingAllocator(FakeAllocator):
    """Heaps whose buffers can be looked into."""

    def __init__(self) -> None:
        super().__init__()
        self.ways: tuple[Way, ...] = ()

    def open_content(self, _inode: int, ways: Sequence[Way]) -> Content:
        self.ways = tuple(ways)
        return open_content(os.fstat(self.fds[0]).st_ino, ways, lambda _: True)


async def test_from_the_lab_by_its_own_descriptor() -> None:
    backend = ReadingAllocator()
    async with staged(update(snapshot()), backend=backend).run_test(size=WIDE) as pilot:
        on = await ready(pilot, "6")
        fd = backend.allocate("system", 8192).fd
        os.pwrite(fd, b"mine", 0)
        on.held.add(Allocation(fd, "system", 77, 8192, None, 0.0))
        await pilot.press("escape", "x")
        await until(pilot, lambda: isinstance(on.screen, ContentScreen))
        screen = on.screen
        assert isinstance(screen, ContentScreen)
        await until(pilot, lambda: "mine" in hex_line(screen, 0))
        assert backend.ways == (FdAt(os.getpid(), fd),)


async def in_hex(pilot: Pilot[int]) -> None:
    await looked_into(pilot, "pagedown")


async def as_picture(pilot: Pilot[int]) -> None:
    await looked_into(pilot, "p")


@pytest.mark.parametrize("size", [NARROW, WIDE], ids=["80x24", "120x40"])
def test_hex(size: tuple[int, int], reader: Reader, snap_compare: Any) -> None:
    os.pwrite(reader.fd, bytes(range(256)), 0x200)
    os.pwrite(reader.fd, bytes(64), 0x300)
    assert snap_compare(app(reader), terminal_size=size, run_before=in_hex)


@pytest.mark.parametrize("size", [NARROW, WIDE], ids=["80x24", "120x40"])
def test_picture(size: tuple[int, int], reader: Reader, snap_compare: Any) -> None:
    assert snap_compare(app(reader), terminal_size=size, run_before=as_picture)
