"""The lists as text."""

import pytest

from heaptop.model import CmaRange, Gap, Heap
from heaptop.report import text
from heaptop.report.table import Look, width_of
from heaptop.report.totals import totals
from tests.report.samples import AREA, EMPTY, EVIL, SNAPSHOT, buffer


def test_buffers() -> None:
    lines = text.buffers(SNAPSHOT, Look()).splitlines()
    assert lines[0] == "replay:sample (6.12.117): 5 buffers, 66.5 MiB"
    assert lines[1].split() == ["Ino", "Size", "Name", "Exporter", "Held", "by", "fd", "map", "hid"]
    assert lines[2].startswith(r"?  11  512 KiB evil\nsize:\t999\x1b[31m[/x]\xff system   nobody seen")
    assert r"cameraserver(812) evil\nsize:" in lines[3]
    assert "(unnamed)" in lines[4]
    assert lines[5].split() == ["?", "90", "~", "~", "~", "nobody", "seen", "0", "0", "~"]


def test_on_a_terminal_holders_are_counted() -> None:
    assert "cameraserver +1" in text.buffers(SNAPSHOT, Look(width=120))


@pytest.mark.parametrize("draw", text.LISTS.values(), ids=text.LISTS)
@pytest.mark.parametrize("width", [20, 40, 80, 200])
def test_nothing_raw_reaches_the_terminal(draw: text.Draw, width: int) -> None:
    for look in (Look(), Look(width=width, unicode=True)):
        drawn = draw(SNAPSHOT, look)
        assert all(char.isprintable() or char == "\n" for char in drawn)


@pytest.mark.parametrize("width", [20, 40, 80, 200])
def test_a_table_fits_its_terminal(width: int) -> None:
    lines = text.buffers(SNAPSHOT, Look(width=width)).splitlines()
    assert all(width_of(line) <= width for line in lines)


def test_heaps() -> None:
    lines = text.heaps(SNAPSHOT, Look()).splitlines()
    assert lines[0].endswith("2 heaps, 5 buffers, 66.5 MiB")
    assert lines[2].split() == ["reserved", "1", "64.0", "MiB", "96", "%", "reserved"]
    assert lines[4] == "Other exporters"
    assert lines[-1] == "held by processes 66.0 MiB, kernel only 512 KiB in 2 buffers, pools ~"


def test_nothing_held_is_no_division_by_zero() -> None:
    assert "0 %" in text.heaps(SNAPSHOT._replace(buffers=()), Look())


def test_processes_end_with_the_totals_of_dmabuf_dump() -> None:
    assert text.processes(SNAPSHOT, Look()).splitlines()[-1] == (
        "dmabuf total: 66.5 MiB  kernel_rss: 512 KiB  userspace_rss: 68.0 MiB  userspace_pss: 66.0 MiB"
    )


def test_totals_count_unknown_sizes_as_nothing() -> None:
    sums = totals(EMPTY._replace(buffers=(buffer(1), buffer(2, size_bytes=7))))
    assert (sums.total_bytes, sums.kernel_rss_bytes, sums.kernel_buffers) == (7, 7, 2)


def test_cma_maps() -> None:
    lines = text.cma(SNAPSHOT, Look(unicode=True)).splitlines()
    assert lines[1].startswith("reserved  256 KiB at pfn 0x5be00, used 160 KiB (62 %), largest free run 80.0 KiB")
    assert lines[2] == "  pages since boot: 400 allocated, 60 failed, ~ released"
    assert lines[3] == "  |" + "█" * 28 + "·" * 20 + "█" * 12 + "·" * 4 + "|"
    assert lines[4] == "  1 cell = 1 page from pfn 0x5be00; free runs by order 2:1 4:1"
    assert lines[6] == "video@60000000  ~ at pfn ~, used ~, largest free run ~, order_per_bit ~"


def test_a_map_in_ascii_fits_a_narrow_terminal() -> None:
    lines = text.cma(SNAPSHOT, Look(width=20)).splitlines()
    assert lines[3] == "  |@@@@@@@.....@@@.|"


def test_a_cell_is_empty_or_full_only_if_all_of_it_is() -> None:
    bitmap = b"\x01" + b"\xff" * 6 + b"\x7f"
    area = AREA._replace(ranges=(CmaRange(0, 64, bitmap),))
    drawing = text.cma(SNAPSHOT._replace(cma=(area,)), Look(width=12)).splitlines()[3]
    assert drawing == "  |-@@@@@@#|"


def test_the_last_cell_may_be_short() -> None:
    area = AREA._replace(count_pages=100, ranges=(CmaRange(0, 100, b"\xff" * 12 + b"\x0f"),))
    drawing = text.cma(SNAPSHOT._replace(cma=(area,)), Look(width=12)).splitlines()[3]
    assert drawing == "  |@@@@@@@@|"


def test_a_range_without_a_bitmap_has_no_map() -> None:
    area = AREA._replace(ranges=(CmaRange(0, 64, None),))
    assert "|" not in text.cma(SNAPSHOT._replace(cma=(area,)), Look())


def test_a_heap_whose_buffers_cannot_be_told() -> None:
    drawn = text.heaps(SNAPSHOT._replace(heaps=(Heap("system", "heap_helpers", None, None, None),)), Look())
    assert drawn.splitlines()[2].split() == ["system", "~", "~", "~"]


def test_notes() -> None:
    assert (
        text.note(Gap("bufinfo", "permission denied", "run as root")) == "note: bufinfo: permission denied; run as root"
    )
    assert "\n" not in text.note(Gap(EVIL, EVIL, ""))
