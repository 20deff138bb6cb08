"""The app over recordings of real kernels: every heap and area of them is on the screen."""

from heaptop.backend.select import open_backend
from heaptop.tui.app import HeaptopApp
from heaptop.tui.views.cma import CmaView
from heaptop.tui.views.heaps import HeapsView
from tests.support import archive
from tests.tui.stage import ready, said


async def test_heaps_and_cma_of_real_kernels(capture_name: str) -> None:
    app = HeaptopApp(open_backend(f"replay:{archive(capture_name)}").backend, interval_s=None)
    async with app.run_test(size=(120, 40)) as pilot:
        await ready(pilot)
        assert app.update is not None
        snapshot = app.update.snapshot
        heaps = app.view
        assert isinstance(heaps, HeapsView)
        assert {row.name for row in heaps.table.rows if row.kind == "heap"} == {heap.name for heap in snapshot.heaps}
        assert [row.size_bytes for row in heaps.table.rows if row.name == "kernel only"] == [
            sum(buffer.size_bytes or 0 for buffer in snapshot.buffers if buffer.is_orphan)
        ]
        await pilot.press("4")
        await pilot.pause()
        view = app.view
        assert isinstance(view, CmaView)
        if not snapshot.cma:
            assert said(app, "#cma-said").startswith("No CMA area is known here.")
            return
        assert view.area == snapshot.cma[0]
        assert snapshot.cma[0].used_pages is not None
        drawn = "".join(view.map.render_line(y).text for y in range(view.map.size.height))
        cell_pages = view.map.cell_pages
        assert drawn.count("█") * cell_pages <= snapshot.cma[0].used_pages
        assert sum(map(drawn.count, "◉░▒▓█")) * cell_pages >= snapshot.cma[0].used_pages
        assert said(app, "#cma-answer").startswith(("Yes", "No"))
