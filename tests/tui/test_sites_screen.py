"""The icicle of call sites in the app: by keys and mouse, while the source goes on."""

import json
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot
from textual.widgets import Input

from heaptop.call_stack import CallStack, NamedFrame, Origin
from heaptop.model import Buffer, FdRef, Holder, ProcessId
from heaptop.session import Update
from heaptop.tui.app import HeaptopApp
from heaptop.tui.sites_screen import SitesScreen
from heaptop.tui.views.buffers import BuffersView
from heaptop.tui.widgets.line import Line
from tests.tui.stage import KIB, ready, snapshot, staged, until, update

NARROW, WIDE = (80, 24), (120, 40)
HOLDER = Holder(ProcessId(812, 1), "player", (FdRef(3),))


def stack(*functions: str) -> CallStack:
    """Innermost first, each on a line of its own."""
    return CallStack(tuple(NamedFrame(name, f"/src/{name}.py", 10 + len(name)) for name in functions))


STACKS = {
    "keep": stack("grab", "keep", "loop", "main"),
    "use": stack("grab", "use", "loop", "main"),
    "boot": stack("logo", "main"),
}


def buffer(inode: int, of: str | None, size_bytes: int = 64 * KIB) -> Buffer:
    origin = None if of is None else Origin(STACKS[of], 812, 812, "player", 0.0)
    return Buffer(inode, size_bytes, "system", f"b{inode}", 1, 0, (), (), (HOLDER,), "system", origin=origin)


def seen(kept: int, *, used: bool = True) -> Update:
    buffers = [buffer(100 + number, "keep") for number in range(kept)]
    if used:
        buffers += [buffer(1, "use", 256 * KIB), buffer(2, "boot", 16 * KIB)]
    return update(snapshot(buffers=buffers))


def app(*updates: Update) -> HeaptopApp:
    return staged(*(updates or (seen(4),)))


async def opened(pilot: Pilot[int], *keys: str) -> SitesScreen:
    on = await ready(pilot, "c")
    screen = on.screen
    assert isinstance(screen, SitesScreen)
    await until(pilot, lambda: screen.icicle.root is not None)
    await pilot.press(*keys)
    await pilot.pause()
    return screen


def lines(screen: SitesScreen) -> list[str]:
    icicle = screen.icicle
    return [icicle.render_line(y).text.rstrip() for y in range(icicle.size.height)]


def state(screen: SitesScreen) -> str:
    return screen.query_one("#sites-state", Line).text.strip()


def title(screen: SitesScreen) -> str:
    return screen.query_one("#sites-title", Line).text.strip()


async def test_the_tree_and_the_cursor() -> None:
    async with app().run_test(size=NARROW) as pilot:
        screen = await opened(pilot)
        assert "live by bytes · 6 buffers, 528 KiB" in title(screen)
        shown = lines(screen)
        assert shown[0].startswith("│all")
        assert shown[1].startswith("│main (main.py:14)")
        assert shown[2].startswith("│loop (loop.py:14)")
        assert "│l…" in shown[2]
        assert "│keep (keep.py:14)" in shown[3]
        assert "│use (use.py:13)" in shown[3]
        await pilot.press("down", "down", "down")
        assert state(screen).startswith("256 KiB · ")
        await pilot.press("right")
        assert state(screen).startswith("256 KiB · ")
        names = {state(screen).rpartition("% ")[2].strip()}
        await pilot.press("left")
        names.add(state(screen).rpartition("% ")[2].strip())
        assert names == {"keep (keep.py:14)", "use (use.py:13)"}
        await pilot.press("enter")
        assert lines(screen)[3].startswith(("│keep (keep.py:14)", "│use (use.py:13)"))
        assert len([line for line in lines(screen) if line]) == 5
        await pilot.press("escape")
        assert "│l…" in lines(screen)[2]
        await pilot.press("escape")
        await until(pilot, lambda: not isinstance(pilot.app.screen, SitesScreen))


async def test_by_mouse() -> None:
    async with app().run_test(size=NARROW) as pilot:
        screen = await opened(pilot)
        await pilot.click(screen.icicle, offset=(3, 2))
        await pilot.pause()
        assert "loop (loop.py:14)" in state(screen)
        await pilot.click(screen.icicle, offset=(3, 3), times=2)
        await pilot.pause()
        assert screen.icicle.zoom
        assert screen.icicle.path == screen.icicle.zoom


async def test_live_suspects_and_peak() -> None:
    async with app(seen(4), seen(1, used=False)).run_test(size=NARROW) as pilot:
        screen = await opened(pilot)
        await pilot.press("f5")
        on = pilot.app
        assert isinstance(on, HeaptopApp)
        on.refresh_now()
        await until(pilot, lambda: "1 buffer, 64.0 KiB" in title(screen))
        await pilot.press("t")
        await until(pilot, lambda: "no buffer is suspected" in state(screen))
        await pilot.press("t")
        await until(pilot, lambda: "at the peak by bytes · 6 buffers, 528 KiB" in title(screen))
        await pilot.press("b")
        await until(pilot, lambda: "by buffers" in title(screen))


async def test_a_filter_and_where_the_buffer_is() -> None:
    async with app().run_test(size=NARROW) as pilot:
        screen = await opened(pilot, "slash")
        pilot.app.screen.query_one(Input).value = "USE"
        await pilot.press("enter")
        await until(pilot, lambda: "1 buffer, 256 KiB · /USE" in title(screen))
        await pilot.press("down", "down", "down", "down", "o")
        on = pilot.app
        assert isinstance(on, HeaptopApp)
        await until(pilot, lambda: isinstance(on.view, BuffersView))
        view = on.view
        assert isinstance(view, BuffersView)
        await until(pilot, lambda: isinstance(view.table.cursor_row, Buffer) and view.table.cursor_row.inode == 1)


async def test_a_filter_that_matches_nothing_says_so() -> None:
    async with app().run_test(size=NARROW) as pilot:
        screen = await opened(pilot, "slash")
        pilot.app.screen.query_one(Input).value = "nothing like it"
        await pilot.press("enter")
        await until(pilot, lambda: state(screen) == "nothing matches the filter")
        await pilot.press("escape")
        await until(pilot, lambda: "6 buffers" in title(screen))


async def test_the_cursor_stays_where_it_is() -> None:
    async with app(seen(1), seen(9)).run_test(size=NARROW) as pilot:
        screen = await opened(pilot, "down", "down", "down")
        before = screen.icicle.path
        assert isinstance(pilot.app, HeaptopApp)
        pilot.app.refresh_now()
        await until(pilot, lambda: "11 buffers" in title(screen))
        assert screen.icicle.path == before


@pytest.mark.parametrize("end", ["json", "txt", "html", "svg"])
async def test_export(end: str, tmp_path: Path) -> None:
    path = tmp_path / f"sites.{end}"
    async with app().run_test(size=NARROW) as pilot:
        await opened(pilot, "w")
        pilot.app.screen.query_one(Input).value = str(path)
        await pilot.press("enter")
        await until(pilot, path.exists)
    text = path.read_text()
    assert "keep" in text
    if end == "json":
        assert json.loads(text)["profiles"][0]["endValue"] == 528 * KIB


async def test_a_path_of_no_kind_writes_nothing(tmp_path: Path) -> None:
    async with app().run_test(size=NARROW) as pilot:
        await opened(pilot, "w")
        pilot.app.screen.query_one(Input).value = str(tmp_path / "sites.pdf")
        await pilot.press("enter")
        await pilot.pause()
        assert list(tmp_path.iterdir()) == []


async def test_nothing_was_watched() -> None:
    plain = [one._replace(origin=None) for one in seen(2).snapshot.buffers]
    async with app(update(snapshot(buffers=plain))).run_test(size=NARROW) as pilot:
        screen = await opened(pilot)
        assert "heaptop run" in state(screen)


@pytest.mark.parametrize("size", [NARROW, WIDE], ids=lambda size: f"{size[0]}x{size[1]}")
def test_icicle(size: tuple[int, int], snap_compare: Any) -> None:
    async def before(pilot: Pilot[int]) -> None:
        await opened(pilot, "down", "down", "down")

    assert snap_compare(app(), terminal_size=size, run_before=before)
