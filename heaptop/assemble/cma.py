"""CMA areas, from debugfs in its three layouts and from sysfs, joined by name."""

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Final

from heaptop.assemble.gaps import Gaps, missing_debugfs
from heaptop.assemble.memo import keep_identical
from heaptop.capture import Capture, Raw
from heaptop.model import CmaArea, CmaRange, Gap, Source
from heaptop.parse import cma_debugfs, cma_sysfs

DEBUGFS: Final = "sys/kernel/debug/cma"
SYSFS: Final = "sys/kernel/mm/cma"
ORDER_MAX: Final = 31
"""No area has a larger order_per_bit: what says more is garbage, and must not become a shift."""


class AreaFiles:
    """One area's files: of debugfs by range (None: the area's own) and name, of sysfs by name."""

    __slots__ = ("debugfs", "name", "sysfs")

    def __init__(self, name: str) -> None:
        self.name = name
        self.debugfs: dict[tuple[int | None, str], Raw] = {}
        self.sysfs: dict[str, Raw] = {}


def area_files(files: Mapping[str, Raw], heap_names: Sequence[str]) -> tuple[AreaFiles, ...]:
    """The areas that there are, by name. Names of sysfs and of heaps complete those that debugfs cuts (up to 6.0)."""
    areas: dict[str, AreaFiles] = {}
    for path, raw in files.items():
        where = cma_sysfs.area_file(path)
        if where is not None:
            areas.setdefault(where[0], AreaFiles(where[0])).sysfs[where[1]] = raw
    known = frozenset(areas) | frozenset(heap_names)
    directories: dict[str, str] = {}
    for path in sorted(files):
        found = cma_debugfs.area_file(path)
        if found is None:
            continue
        name = cma_debugfs.area_name(found.directory, known)
        if directories.setdefault(name, found.directory) != found.directory:
            name = found.directory  # two names cut to the same
        areas.setdefault(name, AreaFiles(name)).debugfs[found.range_index, found.file] = files[path]
    return tuple(areas[name] for name in sorted(areas))


def all_pages(areas: Iterable[AreaFiles]) -> int:
    """Pages of all areas together, 0 where they are not all told. Their own gaps tell why."""
    counts = [_quiet_count(area) for area in areas]
    return 0 if None in counts else sum(count or 0 for count in counts)


def _quiet_count(area: AreaFiles) -> int | None:
    quiet = Gaps()
    told = quiet.read(area.debugfs.get((None, "count")), cma_debugfs.number, "")
    return told if told is not None else quiet.read(area.sysfs.get("total_pages"), cma_sysfs.counter, "")


class AreaReader:
    """Reads the areas of one capture after the other; one whose files say the same stays the very same object."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[object, CmaArea, tuple[Gap, ...]]] = {}
        self._areas: tuple[CmaArea, ...] = ()

    def read(
        self, found: Sequence[AreaFiles], capture: Capture, cma_total_bytes: int | None, page_bytes: int, gaps: Gaps
    ) -> tuple[CmaArea, ...]:
        """Every area. Where one alone is there and nothing tells its size, CmaTotal does."""
        only_pages = cma_total_bytes // page_bytes if cma_total_bytes and len(found) == 1 else None
        before, self._known = self._known, {}
        for files in found:
            told = files.debugfs, files.sysfs, only_pages
            known = before.get(files.name)
            if known is None or known[0] != told:
                own = Gaps()
                known = told, _Reader(files, own).area(only_pages), own.result()
            self._known[files.name] = known
            for gap in known[2]:
                gaps.add(*gap)
        self._areas = keep_identical(self._areas, tuple([area for _, area, _ in self._known.values()]))
        _note(self._areas, capture, cma_total_bytes, gaps)
        return self._areas


def _note(areas: Sequence[CmaArea], capture: Capture, cma_total_bytes: int | None, gaps: Gaps) -> None:
    dark = [area.name for area in areas if not area.ranges or any(part.bitmap is None for part in area.ranges)]
    if dark:
        why, remedy = missing_debugfs(capture, DEBUGFS, "CONFIG_CMA_DEBUGFS")
        if any(path.startswith(DEBUGFS + "/") for path in capture.files):
            why, remedy = "its bitmap could not be read", ""
        gaps.add(f"which pages are in use in CMA area {', '.join(dark)}", why, remedy)
    if not areas and cma_total_bytes:
        why, remedy = missing_debugfs(capture, DEBUGFS, "CONFIG_CMA_DEBUGFS or CONFIG_CMA_SYSFS")
        gaps.add("the CMA areas", why, remedy)


class _Reader:
    """Reads one area, each value from the first source that tells it."""

    def __init__(self, files: AreaFiles, gaps: Gaps) -> None:
        self._files = files
        self._gaps = gaps
        self._told: dict[str, tuple[Source, ...]] = {}

    def area(self, only_pages: int | None) -> CmaArea:
        order = self._order()
        total, available = self._sysfs("total_pages"), self._sysfs("available_pages")
        success, released = self._sysfs("alloc_pages_success"), self._sysfs("release_pages_success")
        count = self._first(
            "count_pages",
            (Source.DEBUGFS_CMA, self._debugfs("count")),
            (Source.SYSFS_CMA, total),
            (Source.MEMINFO, only_pages),
        )
        ranges = self._ranges(count, order)
        bitmaps = [part for part in ranges if part.bitmap is not None]
        whole = bool(bitmaps) and len(bitmaps) == len(ranges)
        used = self._first(
            "used_pages",
            (Source.DEBUGFS_CMA, self._debugfs("used")),
            (Source.DEBUGFS_CMA, sum(_used_pages(part, order or 0) for part in bitmaps) if whole else None),
            (Source.SYSFS_CMA, _difference(total, available)),
            # Pages taken and given back since boot: near enough, as the two are not read at once.
            (Source.DERIVED, _difference(success, released)),
        )
        longest = self._first(
            "max_free_run_pages",
            (Source.DEBUGFS_CMA, self._debugfs("maxchunk")),
            (Source.DEBUGFS_CMA, max(_longest_hole(part, order or 0) for part in bitmaps) if whole else None),
        )
        return CmaArea(
            name=self._files.name,
            count_pages=count,
            order_per_bit=order,
            used_pages=used,
            max_free_run_pages=longest,
            ranges=ranges,
            alloc_pages_success=self._first("alloc_pages_success", (Source.SYSFS_CMA, success)),
            alloc_pages_fail=self._first("alloc_pages_fail", (Source.SYSFS_CMA, self._sysfs("alloc_pages_fail"))),
            release_pages_success=self._first("release_pages_success", (Source.SYSFS_CMA, released)),
            provenance=MappingProxyType(self._told),
        )

    def _first(self, name: str, *candidates: tuple[Source, int | None]) -> int | None:
        known = [(source, value) for source, value in candidates if value is not None]
        if not known:
            return None
        self._told[name] = tuple(dict.fromkeys(source for source, _ in known))
        return known[0][1]

    def _what(self, file: str) -> str:
        return f"{file} of CMA area {self._files.name}"

    def _debugfs(self, file: str, index: int | None = None) -> int | None:
        return self._gaps.read(self._files.debugfs.get((index, file)), cma_debugfs.number, self._what(file))

    def _sysfs(self, file: str) -> int | None:
        return self._gaps.read(self._files.sysfs.get(file), cma_sysfs.counter, self._what(file))

    def _order(self) -> int | None:
        raw = self._files.debugfs.get((None, "order_per_bit"))
        order = self._gaps.read(raw, cma_debugfs.order_per_bit, self._what("order_per_bit"))
        if order is not None and order > ORDER_MAX:
            self._gaps.add(self._what("order_per_bit"), f"it cannot be {order}")
            return None
        if order is not None:
            self._told["order_per_bit"] = (Source.DEBUGFS_CMA,)
        return order

    def _ranges(self, count: int | None, order: int | None) -> tuple[CmaRange, ...]:
        """Ranges in order; before 6.15 the one that is the area. Only the area's size is told, so that of each of
        several ranges follows from its bitmap, and the last one's from what is left.
        """
        if not self._files.debugfs:
            return ()
        numbers = sorted({index for index, _ in self._files.debugfs if index is not None})
        indices: Sequence[int | None] = numbers or [None]
        ranges: list[CmaRange] = []
        left = count
        for index in indices:
            base_pfn, bitmap = self._debugfs("base_pfn", index), self._bitmap(index, order)
            pages = None if bitmap is None else (len(bitmap) * 8) << (order or 0)
            if left is not None and (pages is None or index == indices[-1] or pages > left):
                if pages is not None and not left <= pages:
                    self._gaps.add(self._what("bitmap"), f"it has {pages} pages where {left} are left")
                    bitmap = None
                pages = left
            if pages is None:
                continue
            ranges.append(CmaRange(base_pfn, pages, bitmap))
            left = None if left is None else left - pages
        if any(part.base_pfn is not None for part in ranges):
            self._told["base_pfn"] = (Source.DEBUGFS_CMA,)
        return tuple(ranges)

    def _bitmap(self, index: int | None, order: int | None) -> bytes | None:
        """The bitmap; None without order_per_bit, as its bits then say nothing."""
        raw = self._files.debugfs.get((index, "bitmap"))
        bitmap = self._gaps.read(raw, cma_debugfs.bitmap, self._what("bitmap"))
        return None if order is None else bitmap


def _difference(more: int | None, less: int | None) -> int | None:
    return None if more is None or less is None else max(0, more - less)


def _bits(part: CmaRange, order: int) -> str:
    """A range's bits as text, the last one first."""
    count = part.count_pages >> order
    number = int.from_bytes(part.bitmap or b"", "little") & ((1 << count) - 1)
    return f"{number:0{count}b}" if count else ""


def _used_pages(part: CmaRange, order: int) -> int:
    return _bits(part, order).count("1") << order


def _longest_hole(part: CmaRange, order: int) -> int:
    return max(map(len, _bits(part, order).split("1"))) << order
