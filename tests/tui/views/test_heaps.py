from typing import Any

from heaptop.analysis.diff import diff
from heaptop.model import Buffer, ExporterTotal, FdRef, Heap, Holder, ProcessId, Snapshot, Source
from heaptop.session import Mark
from heaptop.tui.app import HeaptopApp
from heaptop.tui.views.heaps import HeapsView
from heaptop.tui.widgets.detail import DetailPane
from tests.tui.stage import KIB, MIB, area, ready, said, snapshot, staged, until, update

HOSTILE = "[/x]a,b\nsystem\x1b[31m"
CAMERA = Holder(ProcessId(812, 1), "cameraserver", (FdRef(3),))


def buffers(system: int) -> list[Buffer]:
    held = [Buffer(n, 2 * MIB, "system", "cam", 1, 0, (), (), (CAMERA,), "system") for n in range(1, system + 1)]
    return [*held, Buffer(99, 512 * KIB, "drm", None, 1, 1, (), (), ())]


def seen(system: int = 12, *, area_heaps: tuple[str, ...] = ("reserved", "default_cma_region")) -> Snapshot:
    told = {"buffers": (Source.BUFINFO,), "size_bytes": (Source.BUFINFO,), "name": (Source.DEV,)}
    return snapshot(
        heaps=[
            Heap("system", "system", system, system * 2 * MIB, None, (250, 0), 0o100600, told),
            *(Heap(name, name, 0, 0, "reserved", (250, 1), 0o100600, told) for name in area_heaps),
            Heap(HOSTILE, None, None, None, None),
        ],
        exporters=[
            ExporterTotal("system", system, system * 2 * MIB, is_heap=True),
            ExporterTotal("drm", 1, 512 * KIB, is_heap=False),
        ],
        buffers=buffers(system),
        cma=[area()],
    )


def app(*snapshots: Snapshot) -> HeaptopApp:
    trend = {"system": tuple(range(0, 60, 2)), "reserved": (0,) * 30}
    return staged(*(update(one, trend, {"drm": (5, 5, 5)}) for one in snapshots or (seen(),)))


WIDE, NARROW = (120, 40), (80, 24)


def view_of(app: HeaptopApp) -> HeapsView:
    view = app.view
    assert isinstance(view, HeapsView)
    return view


def lines(app: HeaptopApp) -> list[str]:
    table = view_of(app).table
    return [table.render_line(y).text.rstrip() for y in range(1 + len(table.rows))]


async def test_rows_by_size_and_hostile_names_made_printable() -> None:
    async with app().run_test(size=NARROW) as pilot:
        shown = lines(await ready(pilot, "1"))
        assert shown[1].startswith("system ")
        assert "24.0 MiB" in shown[1]
        assert "98 %" in shown[1]
        assert shown[2].startswith("reserved  (CMA) ")
        assert shown[4].startswith("[/x]a,b\\nsystem\\x1b[")
        assert shown[5] == "Other exporters"
        assert shown[6].startswith("drm ")


async def test_sums_below() -> None:
    async with app().run_test(size=NARROW) as pilot:
        on = await ready(pilot, "1")
        assert said(on, "#heaps-sums").splitlines() == [
            "Pools  ~   CMA  1.45 MiB of 4.00 MiB, largest hole 1.47 MiB",
            "reserved and default_cma_region share one CMA area: it is counted once",
        ]
        assert lines(on)[7] == "Held by"
        assert lines(on)[9].split()[:5] == ["?", "kernel", "only", "1", "512"]


async def test_enter_shows_what_only_the_kernel_holds() -> None:
    async with app().run_test(size=NARROW) as pilot:
        on = await ready(pilot, "1", "end", "enter")
        assert on.filter is not None
        assert on.filter.text == "orphan"


async def test_enter_shows_the_buffers_of_the_heap() -> None:
    async with app().run_test(size=NARROW) as pilot:
        on = await ready(pilot, "1", "down", "enter")
        assert on.view is not None
        assert on.view.number == 2
        assert on.filter is not None
        assert on.filter.text == 'heap="reserved"'


async def test_enter_on_the_section_does_nothing() -> None:
    async with app().run_test(size=NARROW) as pilot:
        on = await ready(pilot, "1", "end", "up", "up", "enter")
        assert view_of(on).table.cursor_key == ("title", "Held by")
        assert on.filter is None


async def test_a_refresh_keeps_the_cursor_on_its_heap() -> None:
    reordered = seen(area_heaps=("a-new-heap", "reserved", "default_cma_region"))
    async with app(seen(), reordered).run_test(size=NARROW) as pilot:
        on = await ready(pilot, "1", "down")
        assert view_of(on).table.cursor_key == ("heap", "reserved")
        await pilot.press("f5")
        await until(pilot, lambda: len(view_of(on).table.rows) == 10)
        assert view_of(on).table.cursor_key == ("heap", "reserved")


async def test_details_stand_at_the_right_where_there_is_room() -> None:
    async with app().run_test(size=WIDE) as pilot:
        on = await ready(pilot, "1")
        pane = on.query_one(DetailPane)
        assert pane.display
        assert "size     25,165,824 bytes, 24.0 MiB  bufinfo" in pane.text
        await pilot.press("down")
        await pilot.pause()
        assert "also the area of default_cma_region" in pane.text


async def test_i_opens_the_details_on_a_narrow_screen_and_escape_closes_them() -> None:
    async with app().run_test(size=NARROW) as pilot:
        on = await ready(pilot, "1")

        def shown() -> bool:
            return on.query_one(DetailPane).display

        assert not shown()
        await pilot.press("i")
        assert shown()
        await pilot.press("escape")
        assert not shown()
        assert view_of(on).table.has_focus


async def test_a_title_sorts() -> None:
    async with app().run_test(size=NARROW) as pilot:
        on = await ready(pilot, "1")
        await pilot.click("Table", offset=(1, 0))
        await pilot.pause()
        assert [line.split()[0] for line in lines(on)[1:4]] == [
            "[/x]a,b\\nsystem\\x1b[31m",
            "default_cma_region",
            "reserved",
        ]


async def test_no_heap_is_explained() -> None:
    async with app(snapshot()).run_test(size=NARROW) as pilot:
        on = await ready(pilot, "1")
        table = view_of(on).table
        text = " ".join(table.render_line(y).text.strip() for y in range(1, 6))
        assert "CONFIG_DMABUF_HEAPS" in text


async def test_it_fits_any_screen() -> None:
    async with app().run_test(size=WIDE) as pilot:
        await ready(pilot, "1")
        for size in ((60, 20), (40, 10), (41, 11), (20, 5), (200, 60)):
            await pilot.resize_terminal(*size)
            await pilot.pause()


def test_heaps_at_80x24(snap_compare: Any) -> None:
    assert snap_compare(app(), terminal_size=NARROW, run_before=lambda pilot: ready(pilot, "1"))


def test_heaps_at_120x40(snap_compare: Any) -> None:
    assert snap_compare(app(), terminal_size=WIDE, run_before=lambda pilot: ready(pilot, "1", "down"))


async def test_since_the_mark_heaps_say_by_how_much() -> None:
    before, now = seen(3), seen(12)
    one = staged(update(now)._replace(since_mark=diff(before, now)), update(now)._replace(since_mark=diff(now, now)))
    async with one.run_test(size=WIDE) as pilot:
        shown = await ready(pilot, "1")
        shown.shown.mark = Mark("A", before, 0.0)
        await pilot.press("d")
        rows = [row.split() for row in lines(shown)[1:]]
        assert [row[:4] for row in rows] == [
            ["system", "+9", "+18.0", "MiB"],
            ["Held", "by"],
            ["processes", "+9", "+18.0", "MiB"],
        ]
        await pilot.press("f5")
        await until(pilot, lambda: not lines(shown)[1:])
        assert "no heap has changed since the mark" in view_of(shown).table.empty_text
