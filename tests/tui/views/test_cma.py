from typing import Any

import pytest
from textual.widgets import Input, OptionList

from heaptop.model import Buffer, CmaArea, CmaRange, FdRef, Gap, Holder, PageRun, ProcessId, Snapshot
from heaptop.tui.app import HeaptopApp
from heaptop.tui.renderables.cma_map import Bit
from heaptop.tui.views.buffers import BuffersView
from heaptop.tui.views.cma import CmaView
from heaptop.tui.widgets.cma_map import CmaMap
from tests.tui.stage import area, ready, said, snapshot, staged, until, update

WIDE, NARROW = (120, 40), (80, 24)
RANGES = CmaArea(
    "linux,[/x]\n", 96, 0, 40, 32, (CmaRange(0x100, 64, b"\xff" * 4 + b"\0" * 4), CmaRange(0x900, 32, b"\xff\0\0\0"))
)


def app(*areas: CmaArea, gaps: tuple[Gap, ...] = ()) -> HeaptopApp:
    return staged(update(snapshot(cma=areas, gaps=gaps)))


def view_of(app: HeaptopApp) -> CmaView:
    view = app.view
    assert isinstance(view, CmaView)
    return view


def lines(app: HeaptopApp) -> list[str]:
    drawn = view_of(app).map
    return [text for y in range(drawn.size.height) if (text := drawn.render_line(y).text.rstrip())]


async def test_the_whole_area_is_in_sight() -> None:
    async with app(area()).run_test(size=NARROW) as pilot:
        on = await ready(pilot, "4")
        assert lines(on)[0] == "0x5be00 ◉" + "█" * 31 + "·" * 32
        assert lines(on)[1] == "0x5be80 " + "█" * 4 + "·" * 60
        assert len(lines(on)) == 8
        assert said(on, "#cma-scale") == "cell 2 pages"
        assert said(on, "#cma-cursor").startswith("pfn 0x5be00 · page 0 · used · whose ~ · +0 in a run of 64 pages")
        assert said(on, "#cma-orders") == "Free runs by order 6:1 7:1 8:1  largest 1.47 MiB"


async def test_zoom_down_to_pages_and_up_to_one_row() -> None:
    async with app(area(count_pages=4096)).run_test(size=NARROW) as pilot:
        on = await ready(pilot, "4", "plus", "plus", "plus", "plus", "plus")
        assert said(on, "#cma-scale") == "cell 1 page"
        assert view_of(on).map.virtual_size.height == 64
        await pilot.press(*["minus"] * 9)
        assert view_of(on).map.virtual_size.height == 1
        assert said(on, "#cma-scale") == "cell 64 pages"
        await pilot.press("0")
        assert said(on, "#cma-scale") == "cell 8 pages"


async def test_zoom_keeps_the_cursor_on_its_page() -> None:
    async with app(area(count_pages=4096)).run_test(size=NARROW) as pilot:
        on = await ready(pilot, "4", "down", "down", "right")
        before = view_of(on).map.cursor
        await pilot.press("plus", "plus", "minus")
        assert view_of(on).map.cursor == before


async def test_the_cursor_moves_by_keys() -> None:
    async with app(area()).run_test(size=NARROW) as pilot:
        on = await ready(pilot, "4", "l", "l", "j", "h", "down", "k")
        assert view_of(on).map.cursor == Bit(0, 2 * (64 + 1))
        await pilot.press("end")
        assert view_of(on).map.cursor == Bit(0, 1023)
        await pilot.press("home", "pagedown")
        assert view_of(on).map.cursor == Bit(0, 2 * 64 * 7)
        await pilot.press("pageup", "left", "up")
        assert view_of(on).map.cursor == Bit(0, 0)


async def test_n_goes_from_run_to_run() -> None:
    async with app(area()).run_test(size=NARROW) as pilot:
        on = await ready(pilot, "4", "n")
        assert view_of(on).map.cursor == Bit(0, 64)
        await pilot.press("n", "n")
        assert view_of(on).map.cursor == Bit(0, 136)
        await pilot.press("N")
        assert view_of(on).map.cursor == Bit(0, 128)
        await pilot.press(*["n"] * 9)
        assert view_of(on).map.cursor == Bit(0, 812)


async def test_n_goes_on_in_the_next_range() -> None:
    async with app(RANGES).run_test(size=NARROW) as pilot:
        on = await ready(pilot, "4", "n", "n")
        assert view_of(on).map.cursor == Bit(1, 0)
        await pilot.press("N")
        assert view_of(on).map.cursor == Bit(0, 63)


async def test_a_click_asks_a_cell() -> None:
    async with app(area()).run_test(size=NARROW) as pilot:
        on = await ready(pilot, "4")
        await pilot.click("CmaMap", offset=(1 + len("0x5be00 ") + 3, 2))
        await pilot.pause()
        assert view_of(on).map.cursor == Bit(0, 2 * (2 * 64 + 3))
        await pilot.click("CmaMap", offset=(2, 2))
        assert view_of(on).map.cursor == Bit(0, 2 * (2 * 64 + 3)), "a label is no cell"


async def test_the_wheel_scrolls_and_with_ctrl_zooms() -> None:
    async with app(area(count_pages=4096)).run_test(size=NARROW) as pilot:
        on = await ready(pilot, "4", "plus", "plus", "plus")
        drawn = view_of(on).map
        assert await pilot._post_mouse_events([wheel_down()], widget="CmaMap", offset=(20, 2))
        await pilot.pause()
        assert drawn.scroll_offset.y == 3
        assert await pilot._post_mouse_events([wheel_down()], widget="CmaMap", offset=(20, 2), control=True)
        await pilot.pause()
        assert said(on, "#cma-scale") == "cell 2 pages"
        assert drawn.cursor.bit == 5 * 64 + 11


def wheel_down() -> Any:
    from textual.events import MouseScrollDown

    return MouseScrollDown


async def test_areas_are_switched_and_stay_on_a_refresh() -> None:
    one, two = area(name="a"), area(((0, 8),), name="b", base_pfn=0x100)
    changed = area(((0, 16),), name="b", base_pfn=0x100)
    stage = staged(update(snapshot(cma=(one, two))), update(snapshot(cma=(area(name="0"), one, changed))))
    async with stage.run_test(size=NARROW) as pilot:
        on = await ready(pilot, "4", "right_square_bracket", "right")
        assert view_of(on).area == two
        prompts = [str(option.prompt) for option in on.query_one("#cma-areas", OptionList).options]
        assert [prompt[:3] for prompt in prompts] == ["  a", "▸ b"]
        assert lines(on)[0].startswith("0x100 █◉██·")
        await pilot.press("f5")
        await until(pilot, lambda: view_of(on).area == changed)
        assert view_of(on).map.cursor == Bit(0, 2)
        assert lines(on)[0].startswith("0x100 █◉██████·")
        await pilot.press("right_square_bracket")
        assert view_of(on).area == area(name="0")
        await pilot.press("left_square_bracket")
        assert view_of(on).area == changed


async def test_ranges_have_headings_and_hostile_names_are_printable() -> None:
    async with app(RANGES).run_test(size=NARROW) as pilot:
        on = await ready(pilot, "4")
        assert lines(on) == [
            "range 0  256 KiB at pfn 0x100",
            "0x100 ◉███████████████████████████████································",
            "range 1  128 KiB at pfn 0x900",
            "0x900 ████████························",
        ]
        prompt = on.query_one("#cma-areas", OptionList).get_option_at_index(0).prompt
        assert str(prompt).startswith("Area linux,[/x]\\n  384 KiB at pfn 0x100 in 2 ranges")


async def ask(on: HeaptopApp, pilot: Any, size: str, align: str = "1M") -> str:
    on.query_one("#cma-size", Input).value = size
    on.query_one("#cma-align", Input).value = align
    await pilot.pause()
    return said(on, "#cma-answer")


async def test_will_it_fit() -> None:
    async with app(area()).run_test(size=NARROW) as pilot:
        on = await ready(pilot, "4")
        assert said(on, "#cma-answer") == "No: largest aligned hole 1.00 MiB."
        assert await ask(on, pilot, "1M") == "Yes: at pfn 0x5bf00."
        assert said(on, "#cma-nearest") == "○ marks the 1 free run with room for it"
        assert sum(text.count("○") for text in lines(on)) == (512 - 136) // 2
        assert await ask(on, pilot, "2M") == "No: largest aligned hole 1.00 MiB."
        assert said(on, "#cma-nearest") == "Nearest: pfn 0x5be00, in the way 72 pages, 288 KiB"
        assert sum(text.count("○") for text in lines(on)) == 0


@pytest.mark.parametrize("size", ["0", "-4M", "12Q", "", " "])
async def test_a_wrong_size_says_why(size: str) -> None:
    async with app(area()).run_test(size=WIDE) as pilot:
        on = await ready(pilot, "4")
        assert "like" in await ask(on, pilot, size)
        assert said(on, "#cma-nearest") == ""


async def test_enter_asks_and_goes_to_the_place() -> None:
    async with app(area()).run_test(size=NARROW) as pilot:
        on = await ready(pilot, "4", "enter", "1", "M", "enter")
        assert on.query_one("#cma-size", Input).value == "1M"
        assert view_of(on).map.has_focus
        assert view_of(on).map.cursor == Bit(0, 256)
        await pilot.press("enter", "tab")
        assert on.query_one("#cma-align", Input).has_focus
        await pilot.press("escape")
        assert view_of(on).map.has_focus
        assert view_of(on).map.cursor == Bit(0, 256)


async def test_no_bitmap_shows_figures_and_why() -> None:
    gap = Gap("debugfs", "EACCES", "run as root")
    async with app(area(readable=False), gaps=(gap,)).run_test(size=NARROW) as pilot:
        on = await ready(pilot, "4")
        assert not view_of(on).map.display
        text = said(on, "#cma-said")
        assert "used                        372 pages, 1.45 MiB" in text
        assert "~ debugfs: EACCES\n  run as root" in text
        assert said(on, "#cma-answer") == "No: it is larger than what is there."


async def test_no_cma_is_explained() -> None:
    async with app().run_test(size=NARROW) as pilot:
        on = await ready(pilot, "4", "enter", "right_square_bracket", "escape")
        assert said(on, "#cma-said").startswith("No CMA area is known here.")
        assert not on.query_one("#cma-ask").display


async def test_areas_come_and_go() -> None:
    stage = staged(update(snapshot()), update(snapshot(cma=(area(),))), update(snapshot()))
    async with stage.run_test(size=NARROW) as pilot:
        on = await ready(pilot, "4", "f5")
        await until(pilot, lambda: view_of(on).area is not None)
        assert view_of(on).map.display
        await pilot.press("f5")
        await until(pilot, lambda: view_of(on).area is None)
        assert not view_of(on).map.display


def lying(inode: int, pfn: int, count_pages: int, name: str | None = "cam-raw") -> Buffer:
    """A buffer of cameraserver's with one run."""
    holder = Holder(ProcessId(812, 1), "camera[/x]", (FdRef(3),))
    runs = (PageRun(pfn, count_pages),)
    return Buffer(inode, count_pages << 12, "reserved", name, 1, 0, (), (), (holder,), "reserved", runs=runs)


async def test_whose_the_page_under_the_cursor_is() -> None:
    stage = staged(update(snapshot(cma=(area(),), buffers=(lying(7, 0x5BE00, 32), lying(8, 0x5BE20, 2, None)))))
    async with stage.run_test(size=NARROW) as pilot:
        on = await ready(pilot, "4")
        assert said(on, "#cma-cursor").startswith("pfn 0x5be00 · page 0 · used · cam-raw (camera[/x]) · +0 in a run")
        view_of(on).map.go_to(Bit(0, 33))
        await pilot.pause()
        assert " · used · inode 8 (camera[/x]) · " in said(on, "#cma-cursor")
        view_of(on).map.go_to(Bit(0, 40))
        await pilot.pause()
        assert " · used · of no known dma-buf · " in said(on, "#cma-cursor")
        view_of(on).map.go_to(Bit(0, 70))
        await pilot.pause()
        assert " · free · +6 in a run" in said(on, "#cma-cursor")


async def test_the_buffer_under_the_cursor_stands_out() -> None:
    stage = staged(update(snapshot(cma=(area(),), buffers=(lying(7, 0x5BE00, 32), lying(8, 0x5BE20, 2)))))
    async with stage.run_test(size=NARROW) as pilot:
        on = await ready(pilot, "4")
        shown = view_of(on).map
        assert owned_cells(shown) == "█" * 15  # two pages a cell, and the cursor stands on the first
        shown.go_to(Bit(0, 33))
        await pilot.pause()
        assert owned_cells(shown) == ""
        shown.go_to(Bit(0, 70))
        await pilot.pause()
        assert owned_cells(shown) == ""


def owned_cells(shown: CmaMap) -> str:
    """The cells of the first line that are drawn as the buffer's under the cursor, without the cursor."""
    style = shown.looks["owner"]
    return "".join(part.text for part in shown.render_line(0) if part.style and part.style.color == style.color)[1:]


async def test_who_lies_where_and_who_is_in_the_way() -> None:
    buffers = (lying(7, 0x5BE00, 32), lying(8, 0x5BE20, 2, None), lying(9, 0x5BE22, 30, "raw"))
    stage = staged(update(snapshot(cma=(area(),))), update(snapshot(cma=(area(),), buffers=buffers)))
    async with stage.run_test(size=NARROW) as pilot:
        on = await ready(pilot, "4")
        assert not on.query_one("#cma-owners").display
        await pilot.press("end", "f5")
        await until(pilot, lambda: on.query_one("#cma-owners").display)
        assert said(on, "#cma-owners").startswith("A camera[/x] 256 KiB  █ of no known dma-buf 1.20 MiB")
        assert lines(on)[0] == "0x5be00 A" + "█" * 15 + "AA" + "█" * 14 + "·" * 32
        assert await ask(on, pilot, "2M") == "No: largest aligned hole 1.00 MiB."
        assert said(on, "#cma-nearest") == (
            "Nearest: pfn 0x5be00, in the way 3 buffers, 288 KiB: cam-raw, raw, inode 8, "
            "and 32.0 KiB of no known dma-buf"
        )


async def test_to_the_buffer_under_the_cursor() -> None:
    stage = staged(update(snapshot(cma=(area(),), buffers=(lying(7, 0x5BE00, 32), lying(8, 0x5BE20, 2)))))
    async with stage.run_test(size=WIDE) as pilot:
        on = await ready(pilot, "4")
        view_of(on).map.go_to(Bit(0, 32))
        await pilot.press("o")
        await until(pilot, lambda: isinstance(on.view, BuffersView))
        assert isinstance(on.view, BuffersView)
        row = on.view.table.cursor_row
        assert isinstance(row, Buffer)
        assert row.inode == 8


async def test_a_map_that_cannot_say_whose() -> None:
    async with app(area()).run_test(size=WIDE) as pilot:
        on = await ready(pilot, "4", "o")
        await until(pilot, lambda: any("BTF" in note.message for note in on._notifications))
        assert isinstance(on.view, CmaView)


async def test_a_million_pages_are_drawn_line_by_line() -> None:
    huge = area(tuple((first, 100) for first in range(0, 1 << 20, 5000)), count_pages=1 << 20, base_pfn=0x100000)
    async with app(huge).run_test(size=(200, 60)) as pilot:
        on = await ready(pilot, "4", *["plus"] * 12, "end")
        assert said(on, "#cma-scale").endswith("cell 1 page")
        assert "pfn 0x1fffff" in said(on, "#cma-cursor")
        assert view_of(on).map.virtual_size.height == -(-(1 << 20) // 176)


async def test_it_fits_any_screen() -> None:
    async with app(area(), RANGES).run_test(size=WIDE) as pilot:
        await ready(pilot, "4")
        for size in ((60, 20), (40, 10), (41, 11), (20, 5), (200, 60)):
            await pilot.resize_terminal(*size)
            await pilot.press("plus", "down", "right_square_bracket")


async def test_another_theme_gives_other_colours() -> None:
    async with app(area()).run_test(size=NARROW) as pilot:
        on = await ready(pilot, "4")
        dark = view_of(on).map.render_line(0)
        on.theme = "heaptop-light"
        await pilot.pause()
        light = view_of(on).map.render_line(0)
        assert dark.text == light.text
        assert [segment.style for segment in dark] != [segment.style for segment in light]


def seen() -> Snapshot:
    used = [(n * 1637 % 16000, 5 + n * n % 190) for n in range(60)]
    flags = 0
    for first, count in used:
        flags |= ((1 << count) - 1) << first
    runs_ = [(n, 1) for n in range(16384) if flags >> n & 1]
    return snapshot(cma=(area(runs_, count_pages=16384), RANGES))


def owned() -> Snapshot:
    """Buffers of several holders, some of them fragments, and pages of nobody known."""
    one = seen()
    holders = [(Holder(ProcessId(800 + n, 1), comm, (FdRef(3),)),) for n, comm in enumerate(HOLDERS)]
    base = one.cma[0].base_pfn or 0
    buffers = []
    for n in range(60):
        first, count = n * 1637 % 16000, 5 + n * n % 190
        if n % 7:
            runs_ = (PageRun(base + first, count),)
            who = holders[n % len(HOLDERS)] if n % 11 else ()
            buffers.append(Buffer(n, count << 12, "reserved", f"b{n}", 1, 0, (), (), who, "reserved", runs=runs_))
    return one._replace(buffers=tuple(buffers))


HOLDERS = ("cameraserver", "codec", "surfaceflinger", "app")


@pytest.mark.parametrize("theme", ["heaptop-dark", "heaptop-ansi16"])
def test_owners_at_80x24(snap_compare: Any, theme: str) -> None:
    stage = staged(update(owned()), theme=theme)
    assert snap_compare(stage, terminal_size=NARROW, run_before=lambda pilot: ready(pilot, "4", "plus"))


def test_cma_at_80x24(snap_compare: Any) -> None:
    stage = staged(update(seen()))
    assert snap_compare(stage, terminal_size=NARROW, run_before=lambda pilot: ready(pilot, "4", "down", "right"))


def test_cma_at_120x40(snap_compare: Any) -> None:
    stage = staged(update(seen()))
    assert snap_compare(
        stage, terminal_size=WIDE, run_before=lambda pilot: ready(pilot, "4", "enter", *"800K", "enter")
    )
