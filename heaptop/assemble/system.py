"""The machine as a whole: kernel, boot, memory, page size."""

from collections.abc import Iterable, Mapping
from itertools import zip_longest
from typing import Final

from heaptop.assemble import processes
from heaptop.assemble.gaps import NOT_CAPTURED, Gaps
from heaptop.assemble.processes import PAGE_SIZES
from heaptop.capture import Capture, Raw
from heaptop.errors import ParseError
from heaptop.model import Memory, Zone
from heaptop.parse import kernel, meminfo, pagetypeinfo, text, vmstat
from heaptop.sources import source_of
from heaptop.units import text_of

PAGE_BYTES: Final = 4096
"""The page size of nearly all machines, where nothing tells it."""

WAY_BYTES_MAX: Final = 40
_POOLS: Final = ("sys/kernel/dma_heap/total_pools_kb", "sys/kernel/ion/total_pools_kb")


def kernel_release(capture: Capture, gaps: Gaps) -> str | None:
    """The kernel's release, from whichever file has it."""
    ways = (
        ("proc/sys/kernel/osrelease", kernel.osrelease),
        ("proc/version", kernel.version),
        ("uname", _uname_release),
    )
    for path, parse in ways:
        release = gaps.read(capture.files.get(path), parse, f"/{path}" if "/" in path else path)
        if release is not None:
            return text_of(release)
    gaps.add("kernel release", NOT_CAPTURED)
    return None


def _uname_release(data: bytes) -> bytes:
    """The third word of `uname -a`."""
    words = data.split(maxsplit=3)
    if len(words) < 3:
        raise ParseError("uname", "not the output of uname -a", text=data)
    return kernel.osrelease(words[2])


def boot_id(capture: Capture, gaps: Gaps) -> str | None:
    """The boot's id."""
    path = "proc/sys/kernel/random/boot_id"
    found = gaps.read(capture.files.get(path), kernel.boot_id, "boot id")
    if found is None and path not in capture.files:
        gaps.add("boot id", NOT_CAPTURED, "record it too, to compare captures of one boot")
    return None if found is None else text_of(found)


def way(capture: Capture) -> str | None:
    """How a live look saw the processes, as the first line of its own note says."""
    note = capture.files.get("heaptop/way")
    return text_of(note.split(b"\n", 1)[0][:WAY_BYTES_MAX]) if isinstance(note, bytes) and note else None


def memory(capture: Capture, gaps: Gaps) -> Memory:
    """System-wide memory. Android's pools are None where the kernel has none, which is no gap."""
    files = capture.files
    mem = gaps.read(files.get("proc/meminfo"), meminfo.parse, "/proc/meminfo") or {}
    counts = gaps.read(files.get("proc/vmstat"), vmstat.parse, "/proc/vmstat") or {}
    absent = [
        f"/{path}"
        for path in ("proc/meminfo", "proc/vmstat")
        if path not in files and source_of(path) not in capture.off
    ]
    if absent:
        gaps.add(" and ".join(absent), NOT_CAPTURED)
    info = gaps.read(files.get("proc/pagetypeinfo"), pagetypeinfo.parse, "/proc/pagetypeinfo")
    return Memory(
        total_bytes=mem.get("MemTotal"),
        available_bytes=mem.get("MemAvailable"),
        cma_total_bytes=mem.get("CmaTotal"),
        cma_free_bytes=mem.get("CmaFree"),
        cma_alloc_success=counts.get("cma_alloc_success"),
        cma_alloc_fail=counts.get("cma_alloc_fail"),
        pools_bytes=_pools(files, gaps),
        cma_free_blocks=_cma_free_blocks(info),
        zones=_zones(info),
    )


def _cma_free_blocks(info: pagetypeinfo.Pagetypeinfo | None) -> tuple[int, ...] | None:
    """The page allocator's free CMA blocks by order, over all zones; None where it has no CMA or stopped counting."""
    rows = [row for row in info.free if row.migratetype == "CMA"] if info is not None else []
    if not rows or any(row.capped for row in rows):
        return None
    return _summed(rows)


def _summed(rows: Iterable[pagetypeinfo.FreeCounts]) -> tuple[int, ...]:
    return tuple(map(sum, zip_longest(*(row.counts for row in rows), fillvalue=0)))


def _zones(info: pagetypeinfo.Pagetypeinfo | None) -> tuple[Zone, ...]:
    """Zones with free memory whose blocks were all counted."""
    rows: dict[tuple[int, str], list[pagetypeinfo.FreeCounts]] = {}
    for row in info.free if info is not None else ():
        rows.setdefault((row.node, row.zone), []).append(row)
    return tuple(
        (node, name, _summed(counted))
        for (node, name), counted in rows.items()
        if not any(row.capped for row in counted) and any(map(any, (row.counts for row in counted)))
    )


def _pools(files: Mapping[str, Raw], gaps: Gaps) -> int | None:
    for path in _POOLS:
        kib = gaps.read(files.get(path), lambda data: text.integer(data, "total_pools_kb"), f"/{path}")
        if kib is not None:
            return kib * 1024
    return None


def page_bytes(
    told: Mapping[int | None, int], files: Mapping[str, Raw], cma_total_bytes: int | None, cma_pages: int
) -> int:
    """The page size: what most processes tell (`told` has how many tell each; that which captured counts too), else
    CmaTotal by the areas' pages, else 4096.
    """
    own = processes.page_bytes(files.get("proc/self/status"), files.get("proc/self/statm"))
    votes = {size: count + (size == own) for size, count in {own: 0, **told}.items() if size is not None}
    votes = {size: count for size, count in votes.items() if count}
    if votes:
        return min(votes, key=lambda size: (-votes[size], size))
    if cma_total_bytes and cma_pages and cma_total_bytes / cma_pages in PAGE_SIZES:
        return cma_total_bytes // cma_pages
    return PAGE_BYTES
