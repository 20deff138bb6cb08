import pytest

from heaptop.analysis.filter import compile_filter
from heaptop.analysis.history import History
from heaptop.model import Buffer, ExporterTotal, FdRef, Gap, Heap, Holder, Memory, ProcessId, Snapshot, Source
from heaptop.tui.frame import sums_of
from heaptop.tui.renderables import heaps
from heaptop.tui.renderables.details import Line
from heaptop.tui.renderables.heaps import HeapRow
from heaptop.tui.renderables.table import fit_spans
from tests.tui.stage import MIB, area, snapshot, update

HOLDER = Holder(ProcessId(812, 1), "cameraserver", (FdRef(3),))
SYSTEM = Heap("system", "system", 2, 3 * MIB, None, (250, 0), 0o100600, {"size_bytes": (Source.BUFINFO, Source.FDINFO)})
RESERVED = Heap("reserved", "reserved", 1, MIB, "reserved")
DEFAULT = Heap("default_cma_region", "default_cma_region", 0, 0, "reserved")
UNTOLD = Heap("old", None, None, None, None)
UDMABUF = ExporterTotal("udmabuf", 1, 4 * MIB, is_heap=False)
NOBODY = ExporterTotal(None, 1, 0, is_heap=False)


def buffer(inode: int, size_bytes: int | None, exporter: str, *, held: bool = True) -> Buffer:
    return Buffer(inode, size_bytes, exporter, None, 1, 0, (), (), (HOLDER,) if held else (), exporter)


def seen() -> Snapshot:
    return snapshot(
        heaps=(DEFAULT, UNTOLD, RESERVED, SYSTEM),
        exporters=(NOBODY, ExporterTotal("system", 2, 3 * MIB, is_heap=True), UDMABUF),
        buffers=(
            buffer(1, 2 * MIB, "system"),
            buffer(2, MIB, "system", held=False),
            buffer(3, MIB, "reserved"),
            buffer(4, 4 * MIB, "udmabuf"),
            buffer(5, None, "drm", held=False),
        ),
        cma=(area(),),
    )


def rows() -> tuple[HeapRow, ...]:
    of = seen()
    history: History = update(of, {"system": (1, 2, 3)}, {"udmabuf": (4,)}).history
    return heaps.heap_rows(of, history, (SYSTEM, RESERVED, DEFAULT, UNTOLD), sums_of(of.buffers))


def drawn(row: HeapRow, width: int = 20) -> list[str]:
    return [
        "".join(text for text, _ in fit_spans(column.cell(row, width), width, column.align)) for column in heaps.COLUMNS
    ]


def text(lines: list[Line] | tuple[Line, ...]) -> list[str]:
    return ["".join(part for part, _ in line) for line in lines]


def test_heaps_then_other_exporters_by_size() -> None:
    assert [row.key for row in rows()] == [
        ("heap", "system"),
        ("heap", "reserved"),
        ("heap", "default_cma_region"),
        ("heap", "old"),
        ("title", "Other exporters"),
        ("exporter", "udmabuf"),
        ("exporter", ""),
        ("title", "Held by"),
        ("held", "processes"),
        ("held", "kernel only"),
    ]


def test_no_section_without_other_exporters() -> None:
    only = snapshot(heaps=(SYSTEM,), exporters=(ExporterTotal("system", 2, 3 * MIB, is_heap=True),))
    assert [row.key for row in heaps.heap_rows(only, update(only).history, (SYSTEM,), sums_of(only.buffers))] == [
        ("heap", "system")
    ]


def test_cells() -> None:
    system, reserved, default, untold, _, udmabuf, nobody, _, processes, kernel = rows()
    assert drawn(system) == [
        "system              ",
        "                   2",
        "            3.00 MiB",
        "█████▎          38 %",
        "                 ▁▅█",
    ]
    assert drawn(reserved)[0] == "reserved  (CMA)     "
    assert drawn(reserved, 40)[0].rstrip() == "reserved  (CMA, shared area)"
    assert drawn(default, 24)[0] == "default_cma_region  (CMA)"[:24] or drawn(default, 25)[0].endswith("(CMA)")
    assert drawn(untold) == ["old                 ", *["                   ~"] * 2, "~                   ", " " * 20]
    assert drawn(udmabuf)[3] == "███████         50 %"
    assert drawn(nobody)[0] == "~ exporter not told "
    assert drawn(processes)[:3] == ["processes           ", "                   3", "            7.00 MiB"]
    assert drawn(kernel)[:3] == ["? kernel only       ", "                   2", "            1.00 MiB"]


def test_who_holds_them_has_a_filter() -> None:
    *_, processes, kernel = rows()
    for row, count in ((processes, 3), (kernel, 2)):
        assert row.filter_text is not None
        assert sum(map(compile_filter(row.filter_text).matches, seen().buffers)) == count


def test_nobody_seen_where_processes_could_not_be_read() -> None:
    gaps = (Gap("fd tables of 3 of 40 processes", "EACCES", "run as root"),)
    unread = seen()._replace(gaps=gaps)
    kernel = heaps.heap_rows(unread, update(unread).history, (), sums_of(unread.buffers))[-1]
    assert kernel.name == "nobody seen"
    assert "not every process could be read" in text(heaps.details(kernel, unread))[-3]


def test_all_held_has_no_second_row() -> None:
    held = snapshot(buffers=(buffer(1, 1, "system"),))
    assert [row.name for row in heaps.heap_rows(held, update(held).history, (), sums_of(held.buffers))] == [
        "Held by",
        "processes",
    ]


def test_a_narrow_share_keeps_its_number() -> None:
    assert heaps.share_cell(rows()[0], 6) == "  38 %"


def test_nothing_has_no_share() -> None:
    empty = snapshot(heaps=(Heap("system", "system", 0, 0, None),))
    (row,) = heaps.heap_rows(empty, update(empty).history, empty.heaps, sums_of(()))
    assert row.share == 0.0
    assert drawn(row)[3] == "                 0 %"


def test_sums() -> None:
    assert text(heaps.sum_lines(seen())) == [
        "Pools  ~   CMA  1.45 MiB of 4.00 MiB, largest hole 1.47 MiB",
        "default_cma_region and reserved share one CMA area: it is counted once",
    ]


def test_sums_over_areas_and_without() -> None:
    two = snapshot(cma=(area(), area(name="other", count_pages=1024)), memory=Memory(pools_bytes=5 * MIB))
    assert text(heaps.sum_lines(two)) == [
        "Pools  5.00 MiB   CMA  2.91 MiB of 8.00 MiB in 2 areas, largest hole 1.47 MiB",
    ]
    told = snapshot(memory=Memory(cma_total_bytes=64 * MIB, cma_free_bytes=3 * MIB))
    assert text((heaps.cma_sum(told),)) == ["CMA  64.0 MiB, 3.00 MiB free or borrowed (meminfo)"]
    assert text((heaps.cma_sum(snapshot(memory=Memory())),)) == ["CMA  ~"]


def test_an_area_without_figures_makes_no_false_sum() -> None:
    dark = area()
    unknown = type(dark)("x", None, None, None, None, ())
    assert text((heaps.cma_sum(snapshot(cma=(dark, unknown))),)) == ["CMA  ~ of ~ in 2 areas, largest hole 1.47 MiB"]


def test_details_name_their_sources() -> None:
    system, reserved, _, untold, section, udmabuf, *_ = rows()
    assert " size     3,145,728 bytes, 3.00 MiB  bufinfo, fdinfo" in text(heaps.details(system, seen()))
    assert " device   250:0" in text(heaps.details(system, seen()))
    assert " mode     0600" in text(heaps.details(system, seen()))
    about = text(heaps.details(reserved, seen()))
    assert " used     372 pages, 1.45 MiB" in about
    assert " also the area of default_cma_region: one memory, not to be added up" in about
    assert any(line.startswith("~ no source here tells it") for line in text(heaps.details(untold, seen())))
    assert "drm, udmabuf" in text(heaps.details(section, seen()))[2]
    assert " size     4,194,304 bytes, 4.00 MiB  derived" in text(heaps.details(udmabuf, seen()))


@pytest.mark.parametrize("name", ["system", "[/x]", "a,b", "a\nb", 'a"b', "it's", "(", "size>1", "not", ""])
@pytest.mark.parametrize("field", ["heap", "exporter"])
def test_the_filter_of_a_name_finds_its_buffers(field: str, name: str) -> None:
    found = compile_filter(heaps.named(field, name))
    assert found.matches(buffer(1, 1, name))
    assert not found.matches(buffer(2, 1, f"{name}2"))


def test_a_name_with_both_quotes_still_makes_a_filter() -> None:
    assert compile_filter(heaps.named("heap", "a\"b'c")).matches(buffer(1, 1, "a\"b'c"))


def test_no_filter_where_no_name() -> None:
    assert [row.name for row in rows() if row.filter_text is None] == ["Other exporters", None, "Held by"]


def test_unknown_is_explained() -> None:
    gaps = (Gap("bufinfo", "EACCES", "run as root"),)
    said = heaps.explain(rows()[3], "size", gaps)
    assert said.startswith("old: size: no source here tells it")
    assert said.endswith("Here: bufinfo: EACCES; run as root")


def test_empty_is_explained() -> None:
    assert "CONFIG_DMABUF_HEAPS" in heaps.empty_text(())
    assert heaps.empty_text((Gap("dev/dma_heap", "EACCES", "run as root"),)) == (
        "no dma-heap is seen: dev/dma_heap: EACCES; run as root"
    )
