"""Layouts: what can be said as text, what cannot be, and that the machine is then so."""

from contextlib import suppress
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heaptop_emulator.errors import LayoutError
from heaptop_emulator.layout import MIB_PAGES, AreaLayout, HeapLayout, Layout
from heaptop_emulator.layout_text import PRESETS, layout_file, parse_layout, parse_layout_file, read_layout
from heaptop_emulator.machine import Machine
from heaptop_emulator.others import heaps_of

NAME = st.text("abcxyz,@-_\"\\ 0'#=", min_size=1, max_size=12).filter(lambda name: name.strip())


@st.composite
def layouts(draw: st.DrawFn) -> Layout:
    names = draw(st.lists(NAME, max_size=5, unique=True).filter(lambda all_names: "system" not in all_names))
    areas, heaps = [], []
    for name in names:
        if draw(st.booleans()):
            ranges = tuple(draw(st.lists(st.integers(1, 4), min_size=1, max_size=8)))
            order = draw(st.integers(0, 10))
            pages = tuple(number << max(9, order) for number in ranges)
            pinned = tuple(draw(st.lists(st.integers(0, sum(pages) - 1), max_size=3, unique=True)))
            areas.append(AreaLayout(name, pages, order, draw(st.integers(0, 100)), pinned))
        else:
            kind = draw(st.sampled_from(["system-contig", "system-uncached", "carveout", "chunk", "secure"]))
            chunk = 1 << draw(st.integers(0, 6)) if kind == "chunk" else 0
            size = draw(st.integers(1, 50)) * max(1, chunk) if kind in ("carveout", "chunk", "secure") else 0
            heaps.append(HeapLayout(kind, name, size, chunk))
    pools = draw(st.booleans())
    return Layout(
        profile=draw(st.sampled_from(["mainline", "v4"])),
        ram_pages=1024 * MIB_PAGES + draw(st.integers(0, 5000)),
        base_pfn=draw(st.integers(0, 1000)) << 10,
        areas=tuple(areas),
        heaps=tuple(heaps),
        movable_pages=draw(st.integers(0, 1000)),
        min_watermark_pages=draw(st.integers(0, 3000)),
        cma_alignment_order=draw(st.integers(2, 12)),
        pools=pools,
        leak=not pools and draw(st.booleans()),
    )


@settings(max_examples=60)
@given(layouts())
def test_what_is_written_is_read_and_can_be_made(layout: Layout) -> None:
    assert parse_layout_file(layout_file(layout)) == layout
    machine = Machine(layout)
    assert [heap.name for heap in heaps_of(machine)] == [
        layout.system_heap_name,
        *(area.name for area in layout.areas),
        *(heap.name for heap in layout.heaps),
    ]
    pinned = sum(len(area.pinned) for area in layout.areas)
    held = machine.count_pages - machine.free_pages - layout.system_pages - layout.movable_pages
    lent = sum(area.lent_pages for area in layout.areas)
    assert lent <= held <= lent + pinned  # a page that is pinned may be one that was lent
    spans = [(part.base_pfn, part.count_pages) for area in machine.areas.values() for part in area.ranges]
    spans += [(memory.base_pfn, memory.count_pages) for memory in machine.carveouts.values()]
    spans.sort()
    assert all(first + count <= after for (first, count), (after, _) in pairwise(spans))
    assert all(first >= layout.base_pfn for first, _ in spans)


@pytest.mark.parametrize("name", PRESETS)
def test_presets_can_be_made(name: str) -> None:
    assert parse_layout(name) == PRESETS[name] == parse_layout_file(f'preset = "{name}"')
    Machine(PRESETS[name])


def test_words() -> None:
    text = "android,ram=2G,movable=0,area=video:32M+16M:order_per_bit=2:borrowed=4M:pinned=7+9,heap=chunk:16M:chunk=64K"
    layout = parse_layout(text)
    assert layout == Layout(
        ram_pages=2048 * MIB_PAGES,
        areas=(AreaLayout("video", (32 * MIB_PAGES, 16 * MIB_PAGES), 2, 4 * MIB_PAGES, (7, 9)),),
        heaps=(HeapLayout("chunk", "chunk", 16 * MIB_PAGES, 16),),
        system_pages=1024 * MIB_PAGES,
        min_watermark_pages=2048,
        pools=True,
    )
    assert parse_layout("profile=v4,leak").leak
    assert parse_layout("heap=carveout:1M:name=vpu,heap=system-contig").heaps == (
        HeapLayout("carveout", "vpu", MIB_PAGES),
        HeapLayout("system-contig", "system-contig"),
    )
    assert parse_layout("base-pfn=0x80000").base_pfn == 0x80000


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "begin with laptop"),
        ("phone", "begin with laptop"),
        ("laptop,phone", "begin with laptop"),
        ("ram=", "no size"),
        ("ram=1X", "no size"),
        ("ram=5000", "whole number of pages"),
        ("ram=0", "one page to 1 TiB"),
        ("ram=2T", "one page to 1 TiB"),
        ("ram=64M", "take more than there is"),
        ("movable=1G", "not so much memory left"),
        ("colour=red", "a machine has"),
        ("profile=v5", "one of mainline, v4"),
        ("base-pfn=7", "no multiple of 1024"),
        ("base-pfn=x", "no number"),
        ("alignment=13", "2 to 12"),
        ("pools,leak", "keep what would leak"),
        ("area=cam", "say its size"),
        ("area=cam:", "no size"),
        ("area=cam:1M", "multiple of 2 MiB"),
        ("area=cam:2M:order_per_bit=11", "0 to 10"),
        ("area=cam:2M:order_per_bit=10", "multiple of 4 MiB"),
        ("area=cam:2M:borrowed=4M", "more is lent"),
        ("area=cam:2M:pinned=512", "no page 512"),
        ("area=cam:2M:pinned=-1", "no page -1"),
        ("area=cam:2M:size=2M", "say its size"),
        ("area=cam:2M:colour=red", "an area has"),
        ("area=cam:" + "+".join(["2M"] * 9), "1 to 8 ranges"),
        ("area=cam:2M,area=cam:2M", "two of that name"),
        ("area=system:2M", "two of that name"),
        ("area=a/b:2M", "visible ASCII"),
        ("area=:2M", "visible ASCII"),
        ("heap=ion", "one of system-contig"),
        ("heap=carveout", "needs a size"),
        ("heap=carveout:1M:chunk=4K", "has no chunks"),
        ("heap=system-contig:1M", "no memory of its own"),
        ("heap=chunk:1M", "no power of two"),
        ("heap=chunk:1M:chunk=12K", "no power of two"),
        ("heap=chunk:1028K:chunk=8K", "whole number of chunks"),
    ],
)
def test_what_is_wrong_is_said(text: str, why: str) -> None:
    with pytest.raises(LayoutError, match=why):
        parse_layout(text)


@pytest.mark.parametrize(
    "text",
    ["ram = ", "preset = 3", 'preset = "phone"', "area = 3", "area = [3]", "pools = 1", "profile = 4", "[[area]]"],
)
def test_files_that_are_no_layouts(text: str) -> None:
    with pytest.raises(LayoutError):
        parse_layout_file(text)


def test_files_are_known_by_their_ending(tmp_path: Path) -> None:
    path = tmp_path / "phone.toml"
    path.write_text(layout_file(PRESETS["android"]))
    assert read_layout(str(path)) == PRESETS["android"] == read_layout("android")
    path.write_bytes(b"\xff")
    with pytest.raises(LayoutError, match="not UTF-8"):
        read_layout(str(path))
    with pytest.raises(LayoutError, match="No such file"):
        read_layout(str(tmp_path / "none.toml"))


@given(st.text(max_size=60))
def test_any_words_are_a_layout_or_refused(text: str) -> None:
    for read in (parse_layout, parse_layout_file):
        with suppress(LayoutError):
            assert isinstance(read(text), Layout)
