"""Layouts as text: a TOML file, or a few words on a command line.

    ram = "2G"              profile, base-pfn, system, movable, watermark, alignment, pools, leak; preset = "android"
    [[area]]
    name = "reserved"
    size = "64M"            or ranges = ["32M", "16M"]; also order_per_bit, borrowed, pinned = [pages]
    [[heap]]
    kind = "chunk"          name (else the kind), and where it has memory of its own size; chunk
    size = "16M"
    chunk = "64K"

    android,ram=2G,area=reserved:64M,area=video:32M+16M:order_per_bit=2:borrowed=4M:pinned=7+9,heap=chunk:16M:chunk=64K

What is said stands in place of the preset's (laptop, where none is named), so one area that is named replaces them all.
"""

import re
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any, Final

from heaptop_emulator.errors import LayoutError
from heaptop_emulator.layout import MIB_PAGES, PAGE_BYTES, AreaLayout, HeapLayout, Layout

PRESETS: Final[Mapping[str, Layout]] = MappingProxyType(
    {
        "laptop": Layout(),
        "v4": Layout(profile="v4", leak=True),
        "android": Layout(
            ram_pages=4096 * MIB_PAGES,
            areas=(AreaLayout("reserved", (256 * MIB_PAGES,)), AreaLayout("camera", (128 * MIB_PAGES,))),
            heaps=(HeapLayout("system-uncached", "system-uncached"), HeapLayout("secure", "secure", 64 * MIB_PAGES)),
            system_pages=1024 * MIB_PAGES,
            movable_pages=1536 * MIB_PAGES,
            min_watermark_pages=2048,
            pools=True,
        ),
        "ion": Layout(
            heaps=(
                HeapLayout("system-contig", "system-contig"),
                HeapLayout("carveout", "carveout", 32 * MIB_PAGES),
                HeapLayout("chunk", "chunk", 16 * MIB_PAGES, 16),
            ),
        ),
        "ranges": Layout(
            areas=(
                AreaLayout("reserved", (32 * MIB_PAGES, 16 * MIB_PAGES, 16 * MIB_PAGES)),
                AreaLayout("camera", (32 * MIB_PAGES,), order_per_bit=2, lent_pages=4 * MIB_PAGES, pinned=(1500,)),
            ),
        ),
    }
)
"""laptop: the default. v4: RFC v4 with its leak. android: page pools, a heap that cannot be mapped. ion: the heaps that
RFC v4 left in ION. ranges: an area of three ranges, and one with a bit for four pages, borrowed and pinned pages.
"""
_SIZE: Final = re.compile(r"(\d{1,15})([kmgt]?)(?:i?b)?", re.IGNORECASE)
_FLAGS: Final = ("pools", "leak")
_Table = Mapping[str, Any]


def read_layout(argument: str) -> Layout:
    """A layout by words, or by a file whose name ends in .toml.

    Raises:
        LayoutError: it cannot be read or understood, or no such machine can be.
    """
    if not argument.endswith(".toml"):
        return parse_layout(argument)
    try:
        with open(argument, encoding="utf-8") as file:
            return parse_layout_file(file.read())
    except (OSError, UnicodeDecodeError) as error:
        raise LayoutError(repr(argument), getattr(error, "strerror", None) or "it is not UTF-8") from error


def parse_layout(text: str) -> Layout:
    """A layout by words.

    Raises:
        LayoutError: it cannot be understood, or no such machine can be.
    """
    first, *words = text.split(",")
    base = PRESETS.get(first)
    table: dict[str, Any] = {}
    for word in words if base is not None else [first, *words]:
        key, equals, value = word.partition("=")
        if key == "area":
            table.setdefault("area", []).append(_area_words(value))
        elif key == "heap":
            table.setdefault("heap", []).append(_heap_words(value))
        elif key in _FLAGS and not equals:
            table[key] = True
        elif equals:
            table[key] = value
        else:
            raise LayoutError(repr(word), f"begin with {', '.join(PRESETS)}; then KEY=VALUE, pools, leak")
    return _layout(base or Layout(), table)


def parse_layout_file(text: str) -> Layout:
    """A layout by TOML.

    Raises:
        LayoutError: it cannot be understood, or no such machine can be.
    """
    try:
        table = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise LayoutError("the file", str(error)) from error
    preset = table.pop("preset", "laptop")
    if not isinstance(preset, str) or preset not in PRESETS:
        raise LayoutError(f"preset {preset!r}", f"it is one of {', '.join(PRESETS)}")
    return _layout(PRESETS[preset], table)


def layout_file(layout: Layout) -> str:
    """The whole layout as TOML: `parse_layout_file` gives it back."""
    lines = [
        f'profile = "{layout.profile}"',
        f"ram = {_size_text(layout.ram_pages)}",
        f"base-pfn = {layout.base_pfn}",
        f"system = {_size_text(layout.system_pages)}",
        f"movable = {_size_text(layout.movable_pages)}",
        f"watermark = {_size_text(layout.min_watermark_pages)}",
        f"alignment = {layout.cma_alignment_order}",
        *(f"{flag} = {str(getattr(layout, flag)).lower()}" for flag in _FLAGS),
        *([] if layout.areas else ["area = []"]),
        *([] if layout.heaps else ["heap = []"]),
    ]
    for area in layout.areas:
        ranges = ", ".join(map(_size_text, area.ranges_pages))
        lines += ["[[area]]", f"name = {_quoted(area.name)}", f"ranges = [{ranges}]"]
        lines += [f"order_per_bit = {area.order_per_bit}", f"borrowed = {_size_text(area.lent_pages)}"]
        lines.append(f"pinned = [{', '.join(map(str, area.pinned))}]")
    for heap in layout.heaps:
        lines += ["[[heap]]", f'kind = "{heap.kind}"', f"name = {_quoted(heap.name)}"]
        lines += [f"size = {_size_text(heap.size_pages)}"] if heap.size_pages else []
        lines += [f"chunk = {_size_text(heap.chunk_pages)}"] if heap.chunk_pages else []
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _size_text(count_pages: int) -> str:
    return f'"{count_pages * PAGE_BYTES >> 10}K"'


def _area_words(text: str) -> _Table:
    """`NAME:SIZE[+SIZE…][:order_per_bit=N][:borrowed=SIZE][:pinned=PAGE[+PAGE…]]`."""
    name, *words = text.split(":")
    table: dict[str, Any] = {"name": name}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals:
            table["ranges"] = word.split("+")
        else:
            table[key] = value.split("+") if key == "pinned" else value
    return table


def _heap_words(text: str) -> _Table:
    """`KIND[:SIZE][:name=NAME][:chunk=SIZE]`."""
    kind, *words = text.split(":")
    pairs = (word.partition("=") for word in words)
    return {"kind": kind, **{key if equals else "size": value if equals else key for key, equals, value in pairs}}


def _layout(base: Layout, table: _Table) -> Layout:
    """The base with what the table says in place of its own."""
    known: Mapping[str, tuple[str, Callable[[str, Any], Any]]] = {
        "profile": ("profile", _text),
        "ram": ("ram_pages", _pages),
        "base-pfn": ("base_pfn", _number),
        "system": ("system_pages", _pages),
        "movable": ("movable_pages", _pages),
        "watermark": ("min_watermark_pages", _pages),
        "alignment": ("cma_alignment_order", _number),
        "pools": ("pools", _flag),
        "leak": ("leak", _flag),
        "area": ("areas", _areas),
        "heap": ("heaps", _heaps),
    }
    _check_keys("a machine", table, known)
    changes = {known[key][0]: known[key][1](key, value) for key, value in table.items()}
    return replace(base, **changes)


def _areas(what: str, tables: object) -> tuple[AreaLayout, ...]:
    return tuple(_area(table) for table in _tables(what, tables))


def _area(table: _Table) -> AreaLayout:
    _check_keys("an area", table, ("name", "size", "ranges", "order_per_bit", "borrowed", "pinned"))
    name = _text("name", table.get("name"))
    ranges = table.get("ranges", [table["size"]] if "size" in table else None)
    if not isinstance(ranges, list) or ("size" in table and "ranges" in table):
        raise LayoutError(f"area {name!r}", "say its size, or the sizes of its ranges")
    pinned = table.get("pinned", [])
    if not isinstance(pinned, list):
        raise LayoutError(f"area {name!r}", "pinned is a list of pages")
    return AreaLayout(
        name,
        tuple(_pages(f"size of area {name!r}", size) for size in ranges),
        _number("order_per_bit", table.get("order_per_bit", 0)),
        _pages("borrowed", table.get("borrowed", 0)),
        tuple(_number("pinned", page) for page in pinned),
    )


def _heaps(what: str, tables: object) -> tuple[HeapLayout, ...]:
    return tuple(_heap(table) for table in _tables(what, tables))


def _heap(table: _Table) -> HeapLayout:
    _check_keys("a heap", table, ("kind", "name", "size", "chunk"))
    kind = _text("kind", table.get("kind"))
    size, chunk = (_pages(f"{key} of heap {kind!r}", table.get(key, 0)) for key in ("size", "chunk"))
    return HeapLayout(kind, _text("name", table.get("name", kind)), size, chunk)


def _tables(what: str, tables: object) -> Iterable[_Table]:
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise LayoutError(what, f"write [[{what}]]")
    return tables


def _check_keys(what: str, table: _Table, known: Iterable[str]) -> None:
    for key in table:
        if key not in known:
            raise LayoutError(repr(key), f"{what} has {', '.join(known)}")


def _text(what: str, value: object) -> str:
    if not isinstance(value, str):
        raise LayoutError(what, "it is no text")
    return value


def _flag(what: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise LayoutError(what, "it is true or false")
    return value


def _number(what: str, value: object) -> int:
    """A whole number, decimal or with 0x."""
    try:
        return int(value, 0) if isinstance(value, str) else int(str(value))
    except ValueError as error:
        raise LayoutError(what, f"{value!r} is no number") from error


def _pages(what: str, value: object) -> int:
    """A size as pages: bytes, or a number with K, M, G or T."""
    match = _SIZE.fullmatch(str(value))
    if match is None or isinstance(value, bool):
        raise LayoutError(what, f"{value!r} is no size: write a number with K, M or G, like 64M")
    size_bytes = int(match[1]) << 10 * " kmgt".index(match[2].lower() or " ")
    if size_bytes % PAGE_BYTES:
        raise LayoutError(what, f"{value!r} is no whole number of pages of {PAGE_BYTES} bytes")
    return size_bytes // PAGE_BYTES
