"""CMA as the kernel log tells it: the allocations that failed and, where nothing better does, the areas themselves."""

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final

from heaptop.assemble.gaps import Gaps
from heaptop.capture import Raw
from heaptop.model import CmaArea, CmaFailure, CmaRange, Source
from heaptop.parse import dmesg_cma
from heaptop.parse.dmesg_cma import CmaLog, Failure, FreeRuns, Pool
from heaptop.units import text_of

LOG: Final = "dmesg.cma-dma"
PAGES_MAX: Final = 1 << 26
"""256 GiB of 4 KiB pages: a larger area's bitmap is not made from a line of text."""


def with_log(areas: tuple[CmaArea, ...], files: Mapping[str, Raw], page_bytes: int, gaps: Gaps) -> tuple[CmaArea, ...]:
    """The areas with the failures that the log tells of, and those that it alone knows, as they were at a failure."""
    log = gaps.read(files.get(LOG), dmesg_cma.parse, "the kernel log")
    if log is None:
        return areas
    failures = _by_area(log.failures, [area.name for area in areas])
    known = {area.name for area in areas}
    told = {text_of(free.area): free for free in log.free_runs if free.area is not None}
    added = tuple(_area(name, told.get(name), log, page_bytes, gaps) for name in sorted(failures.keys() - known))
    return tuple(area._replace(failures=failures.get(area.name, ())) for area in sorted((*areas, *added), key=_name))


def _name(area: CmaArea) -> str:
    return area.name


def _by_area(failures: Iterable[Failure], known: list[str]) -> dict[str, tuple[CmaFailure, ...]]:
    """Failures by area. Up to 5.12 the log does not name it: it is the only one, where there is but one."""
    found: dict[str, list[CmaFailure]] = {}
    for one in failures:
        name = text_of(one.area) if one.area is not None else known[0] if len(known) == 1 else "(unnamed)"
        found.setdefault(name, []).append(CmaFailure(one.time, one.pages, abs(one.ret)))
    return {name: tuple(listed) for name, listed in found.items()}


def _area(name: str, free: FreeRuns | None, log: CmaLog, page_bytes: int, gaps: Gaps) -> CmaArea:
    gaps.add(f"CMA area {name} as it is now", "the kernel log tells it as it was when an allocation failed", "")
    if free is None:
        return CmaArea(name, None, None, None, None, ())
    base = _base_pfn(log.pools, free.total * page_bytes, page_bytes)
    bitmap = _bitmap(free)
    longest = max((pages for pages, _ in free.runs), default=0) if bitmap is not None else None
    fields = ("count_pages", "used_pages", *(("max_free_run_pages",) if bitmap is not None else ()))
    return CmaArea(
        name=name,
        count_pages=free.total,
        order_per_bit=None if bitmap is None else 0,
        used_pages=max(0, free.total - free.free),
        max_free_run_pages=longest,
        ranges=(CmaRange(base, free.total, bitmap),),
        provenance=MappingProxyType(dict.fromkeys(fields, (Source.KERNEL_LOG,))),
    )


def _base_pfn(pools: Iterable[Pool], size_bytes: int, page_bytes: int) -> int | None:
    """Where the area begins: only one memory set aside has its size."""
    fitting = {pool.base for pool in pools if pool.size == size_bytes}
    return fitting.pop() // page_bytes if len(fitting) == 1 else None


def _bitmap(free: FreeRuns) -> bytes | None:
    """A bit a page, from the free runs; None where a bit is more than a page, or the line is cut."""
    if not 0 < free.total <= PAGES_MAX or sum(pages for pages, _ in free.runs) != free.free:
        return None
    bits = (1 << free.total) - 1
    end = 0
    for pages, bit in free.runs:
        if bit < end or bit + pages > free.total:
            return None
        end = bit + pages
        bits &= ~(((1 << pages) - 1) << bit)
    return bits.to_bytes(-(-free.total // 8), "little")
