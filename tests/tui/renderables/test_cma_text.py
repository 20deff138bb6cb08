import pytest

from heaptop.analysis.in_the_way import in_the_way
from heaptop.analysis.occupancy import fit
from heaptop.model import Buffer, CmaArea, CmaRange, Gap, Memory, PageRun
from heaptop.tui.renderables import cma_text
from heaptop.tui.renderables.cma_map import Bit
from heaptop.tui.renderables.cma_text import Request, plain, request_of, since_mark_text
from tests.tui.stage import area, snapshot

PAGE = 4096
TWO_RANGES = CmaArea(
    "linux,cma", 96, 0, 40, 32, (CmaRange(0x100, 64, b"\xff" * 4 + b"\0" * 4), CmaRange(0x900, 32, b"\xff\0\0\0"))
)


def test_area() -> None:
    assert plain(cma_text.area_spans(area(), PAGE)) == (
        "Area reserved  4.00 MiB at pfn 0x5be00  used 1.45 MiB 36 %  order_per_bit 0"
    )


def test_area_of_which_little_is_known() -> None:
    unknown = CmaArea("a\nb[/x]", None, None, None, None, ())
    assert plain(cma_text.area_spans(unknown, PAGE)) == "Area a\\nb[/x]  ~  used ~ ~"


def test_cursor_tells_page_and_run() -> None:
    assert plain(cma_text.cursor_spans(area(), Bit(0, 130), PAGE)) == (
        "pfn 0x5be82 · page 130 · used · +2 in a run of 8 pages, 32.0 KiB"
    )
    assert plain(cma_text.cursor_spans(area(base_pfn=None), Bit(0, 64), PAGE)) == (
        "page 64 · free · +0 in a run of 64 pages, 256 KiB"
    )


def test_cursor_counts_pages_of_coarse_bits() -> None:
    coarse = area(((0, 4),), count_pages=1024, order_per_bit=4)
    assert plain(cma_text.cursor_spans(coarse, Bit(0, 2), PAGE)) == (
        "pfn 0x5be20 · page 32 · used · +32 in a run of 64 pages, 256 KiB"
    )


def test_cursor_tells_the_range() -> None:
    assert plain(cma_text.cursor_spans(TWO_RANGES, Bit(1, 9), PAGE)) == (
        "pfn 0x909 · page 9 of range 1 · free · +1 in a run of 24 pages, 96.0 KiB"
    )


def test_cursor_without_bitmap() -> None:
    assert plain(cma_text.cursor_spans(area(readable=False), Bit(0, 1), PAGE)) == "pfn 0x5be01 · page 1 · ~ no bitmap"


def test_free_runs_by_order() -> None:
    counts = cma_text.order_counts(area())
    assert plain(cma_text.orders_spans(counts, area(), PAGE)) == "Free runs by order 6:1 7:1 8:1  largest 1.47 MiB"
    assert cma_text.order_counts(TWO_RANGES) == (0, 0, 0, 0, 1, 1)
    full = area(((0, 1024),))
    assert plain(cma_text.orders_spans((), full, PAGE)) == "Free runs by order none  largest 0 B"
    dark = area(readable=False)
    assert plain(cma_text.orders_spans((), dark, PAGE)) == "Free runs by order ~  largest 1.47 MiB"


@pytest.mark.parametrize(
    ("size", "align", "request_"),
    [
        ("32M", "1M", Request(8192, 8)),
        ("4097", "4K", Request(2, 0)),
        ("1", "1", Request(1, 0)),
        ("1.5M", "64K", Request(384, 4)),
    ],
)
def test_request(size: str, align: str, request_: Request) -> None:
    assert request_of(size, align, PAGE) == request_


@pytest.mark.parametrize(
    ("size", "align", "why"),
    [
        ("0", "1M", "refuses size 0"),
        ("-4M", "1M", "not a size"),
        ("12Q", "1M", "not a size"),
        ("", "1M", "not a size"),
        ("99999999E", "1M", "more than a heap"),
        ("4M", "3K", "power of two"),
        ("4M", "0", "power of two"),
        ("4M", "x", "not a size"),
    ],
)
def test_a_wrong_request_says_why(size: str, align: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        request_of(size, align, PAGE)


def answer(of: CmaArea, size_pages: int, align_order: int, *buffers: Buffer) -> tuple[str, str]:
    found = fit(of, size_pages, align_order)
    standing = in_the_way(of, found, size_pages, buffers)
    return plain(cma_text.answer_spans(found, of, PAGE)), plain(cma_text.nearest_spans(found, standing, of, PAGE))


def lying(inode: int, pfn: int, count_pages: int, name: str | None = None) -> Buffer:
    return Buffer(inode, None, None, name, None, None, None, None, (), runs=(PageRun(pfn, count_pages),))


def test_it_fits() -> None:
    assert answer(area(), 64, 6) == ("Yes: at pfn 0x5be40.", "")
    assert answer(area(base_pfn=None), 64, 0) == ("Yes: at page 64.", "")
    assert answer(TWO_RANGES, 32, 0) == ("Yes: at pfn 0x120 in range 0.", "")


def test_it_does_not_fit() -> None:
    assert answer(area(), 512, 8) == (
        "No: largest aligned hole 1.00 MiB.",
        "Nearest: pfn 0x5be00, in the way 72 pages, 288 KiB",
    )
    assert answer(area(), 2048, 0) == ("No: largest aligned hole 1.47 MiB.", "")


def test_who_is_in_the_way_is_named() -> None:
    two = (lying(7, 0x5BE00, 40, "cam\n[/x]"), lying(8, 0x5BE28, 24), lying(9, 0x70000, 8, "elsewhere"))
    assert answer(area(), 512, 8, *two)[1] == (
        "Nearest: pfn 0x5be00, in the way 2 buffers, 288 KiB: cam\\n[/x], inode 8, and 32.0 KiB of no known dma-buf"
    )
    many = [lying(n, 0x5BE00 + n, 1, f"b{n}") for n in range(64)]
    assert "64 buffers, 288 KiB: b0, b1, b2, b3, b4, b5, b6, b7 +56, and" in answer(area(), 512, 8, *many)[1]


def test_it_is_not_known() -> None:
    assert answer(area(readable=False), 64, 0) == ("Not known: no bitmap is readable.", "")
    assert answer(area(readable=False), 4096, 0) == ("No: it is larger than what is there.", "")


def test_no_bitmap_is_explained_with_its_gap() -> None:
    gaps = (
        Gap("debugfs", "not mounted", "mount -t debugfs none /sys/kernel/debug"),
        Gap("process 7\n", "EACCES", "root"),
    )
    said = plain(cma_text.no_bitmap_spans(area(readable=False), gaps, PAGE))
    assert "used                        372 pages, 1.45 MiB\n" in said
    assert "pages refused since boot    ~\n" in said
    assert "~ debugfs: not mounted\n  mount -t debugfs none /sys/kernel/debug" in said
    assert "process" not in said
    assert "CONFIG_CMA_DEBUGFS" in plain(cma_text.no_bitmap_spans(area(readable=False), (), PAGE))


def test_scale() -> None:
    assert (cma_text.scale_text(1), cma_text.scale_text(4096)) == ("cell 1 page", "cell 4,096 pages")


def test_no_area() -> None:
    assert plain(cma_text.no_area_spans(snapshot(memory=Memory()))).startswith(
        "No CMA area is known here.\n\nA CMA area is"
    )
    gap = Gap("sys/kernel/debug/cma", "EACCES", "run as root")
    told = plain(cma_text.no_area_spans(snapshot(memory=Memory(cma_total_bytes=64 << 20), gaps=(gap,))))
    assert told.startswith("64.0 MiB of CMA (meminfo), but no area is told.")
    assert told.endswith("\n\n~ sys/kernel/debug/cma: EACCES\n  run as root")


def test_since_a_mark() -> None:
    before, now = area(((0, 64),)), area(((0, 64), (128, 256)))
    assert since_mark_text([before], [now], 4096) == "since mark: reserved +1.00 MiB, largest hole -1.25 MiB"
    assert since_mark_text([before], [before], 4096) == "since mark: nothing changed"
    assert since_mark_text([], [now], 4096) == "since mark: nothing changed"
    assert since_mark_text([before._replace(used_pages=None)], [now], 4096).startswith("since mark: reserved ~")
