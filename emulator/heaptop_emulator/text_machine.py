"""The kernel's files about the emulated machine itself, at their real paths, as 6.12 prints them.

An area of several ranges is told as 6.15 does, which brought them. One zone holds all memory.
"""

import struct
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Final

from heaptop_emulator._buddy_view import free_counts, pageblock_counts
from heaptop_emulator.cma_area import CmaArea
from heaptop_emulator.layout import MAX_ORDER, PAGE_BYTES, PAGEBLOCK_ORDER
from heaptop_emulator.machine import Machine

OSRELEASE: Final = "6.12.0-heaptop-emulated"
_HEAP_MAJOR: Final = 254
_KIB_PER_PAGE: Final = PAGE_BYTES // 1024
_MIGRATE_TYPES: Final = ("Unmovable", "Movable", "Reclaimable", "HighAtomic", "CMA", "Isolate")
_DMA32_PAGES: Final = 1 << 20
"""The zone Normal begins above 4 GiB."""
_COUNTED_MAX: Final = 100_000
"""/proc/pagetypeinfo counts no further (5.4 on)."""


def machine_files(machine: Machine, heaps: Sequence[str], boot_id: str) -> dict[str, bytes]:
    """Every file that tells of the machine itself, by path without the leading slash."""
    version = f"Linux version {OSRELEASE} (heaptop@emulator) (cc) #1 SMP PREEMPT\n"
    files = {
        "proc/version": version,
        "proc/sys/kernel/osrelease": f"{OSRELEASE}\n",
        "proc/sys/kernel/random/boot_id": f"{boot_id}\n",
        "proc/meminfo": _meminfo(machine),
        "proc/vmstat": _vmstat(machine),
        "dev.ls": _device_list(heaps),
        **_page_allocator_files(machine),
    }
    if machine.pools is not None:
        files["sys/kernel/dma_heap/total_pools_kb"] = f"{machine.pool_pages * _KIB_PER_PAGE}\n"
    for minor, heap in enumerate(heaps):
        device = f"sys/devices/virtual/dma_heap/{heap}"
        files[f"{device}/dev"] = f"{_HEAP_MAJOR}:{minor}\n"
        files[f"{device}/uevent"] = f"MAJOR={_HEAP_MAJOR}\nMINOR={minor}\nDEVNAME=dma_heap/{heap}\n"
    for area in machine.areas.values():
        files |= _cma_files(area)
    return {path: text.encode() for path, text in files.items()}


def machine_links(machine: Machine, heaps: Iterable[str]) -> dict[str, bytes]:
    """Symbolic links of /sys/class/dma_heap and, where an area has several ranges, of its old files."""
    links = {f"sys/class/dma_heap/{heap}": f"../../devices/virtual/dma_heap/{heap}".encode() for heap in heaps}
    for area in machine.areas.values():
        if len(area.ranges) > 1:
            for file in ("base_pfn", "bitmap"):
                links[f"sys/kernel/debug/cma/{area.name}/{file}"] = f"ranges/0/{file}".encode()
    return links


def _meminfo(machine: Machine) -> str:
    pages = {
        "MemTotal": machine.count_pages,
        "MemFree": machine.free_pages,
        "MemAvailable": machine.available_pages,
        "KReclaimable": machine.pool_pages,
        "CmaTotal": machine.cma_total_pages,
        "CmaFree": machine.cma_free_pages,
    }
    return "".join(f"{key + ':':<16}{count * _KIB_PER_PAGE:>8} kB\n" for key, count in pages.items())


def _vmstat(machine: Machine) -> str:
    areas = machine.areas.values()
    values = {
        "nr_free_pages": machine.free_pages,
        "nr_free_cma": machine.cma_free_pages,
        "nr_kernel_misc_reclaimable": machine.pool_pages,
        "cma_alloc_success": sum(area.alloc_calls for area in areas),
        "cma_alloc_fail": sum(area.fail_calls for area in areas),
    }
    return "".join(f"{key} {value}\n" for key, value in values.items())


def _page_allocator_files(machine: Machine) -> dict[str, str]:
    """Free blocks by order: of all kinds together, by kind, and how fragmented they are."""
    cma = (0,) * (MAX_ORDER + 1)
    for area in machine.areas.values():
        cma = tuple(map(sum, zip(cma, area.free_counts(), strict=True)))
    free = {
        "Unmovable": free_counts(machine.buddy, movable=False),
        "Movable": free_counts(machine.buddy, movable=True),
        "CMA": cma,
    }
    every = tuple(map(sum, zip(*free.values(), strict=True)))
    zone = f"zone {'DMA32' if machine.base_pfn + machine.count_pages <= _DMA32_PAGES else 'Normal':>8}"
    head = f"Node 0, {zone} "
    unusable = [_thousandths("%d", unusable_index(every, order)) for order in range(MAX_ORDER + 1)]
    extfrag = [_thousandths("%2d", extfrag_index(every, order)) for order in range(MAX_ORDER + 1)]
    return {
        "proc/buddyinfo": f"{head}{''.join(f'{count:>6} ' for count in every)}\n",
        "proc/pagetypeinfo": _pagetypeinfo(machine, zone, free),
        "sys/kernel/debug/extfrag/unusable_index": f"{head}{''.join(unusable)}\n",
        "sys/kernel/debug/extfrag/extfrag_index": f"{head}{''.join(extfrag)}\n",
    }


def _thousandths(form: str, index: int) -> str:
    """As C has them: quotient and remainder are both cut towards zero, and each has its sign."""
    whole = abs(index) // 1000 * (-1 if index < 0 else 1)
    return f"{form % whole}.{index - whole * 1000:03d} "


def unusable_index(counts: Sequence[int], order: int) -> int:
    """Thousandths of the free memory that no block of this order can be had from (mm/vmstat.c, unusable_free_index)."""
    free_pages = sum(count << o for o, count in enumerate(counts))
    suitable = sum(count << o for o, count in enumerate(counts) if o >= order)
    return 1000 if not free_pages else (free_pages - suitable) * 1000 // free_pages


def extfrag_index(counts: Sequence[int], order: int) -> int:
    """Why an allocation of this order would fail (mm/vmstat.c, __fragmentation_index), in thousandths: towards 0 for
    lack of memory, towards 1000 for fragmentation; -1000 where it would not.
    """
    free_pages, blocks = sum(count << o for o, count in enumerate(counts)), sum(counts)
    if not blocks:
        return 0
    if any(counts[order:]):
        return -1000
    return 1000 - (1000 + free_pages * 1000 // (1 << order)) // blocks


def _pagetypeinfo(machine: Machine, zone: str, free: dict[str, tuple[int, ...]]) -> str:
    """mm/vmstat.c, pagetypeinfo_showfree and _showblockcount."""
    orders = range(MAX_ORDER + 1)
    unmovable, others = pageblock_counts(machine.buddy)
    cma = machine.cma_total_pages >> PAGEBLOCK_ORDER
    carved = machine.layout.carved_pages >> PAGEBLOCK_ORDER
    blocks = {"Unmovable": unmovable, "Movable": others - cma - carved, "CMA": cma}
    lines = [f"Page block order: {PAGEBLOCK_ORDER}", f"Pages per block:  {1 << PAGEBLOCK_ORDER}", ""]
    lines.append("Free pages count per migrate type at order  " + "".join(f"{order:>6} " for order in orders))
    for kind in _MIGRATE_TYPES:
        counts = "".join(map(_counted, free.get(kind, (0,) * len(orders))))
        lines.append(f"Node {0:>4}, {zone}, type {kind:>12} {counts}")
    lines += ["", "Number of blocks type  " + "".join(f"{kind:>12} " for kind in _MIGRATE_TYPES)]
    lines.append(f"Node 0, {zone} " + "".join(f"{blocks.get(kind, 0):>12} " for kind in _MIGRATE_TYPES))
    return "\n".join(lines) + "\n"


def _counted(count: int) -> str:
    return f"{count:>6} " if count < _COUNTED_MAX else f">{_COUNTED_MAX:>6} "


def _device_list(heaps: Sequence[str]) -> str:
    """`ls -ln /dev/dma_heap` as the recording format has it."""
    rows = [
        f"crw-------    1 0        0         {_HEAP_MAJOR}, {minor:>3} Jan  1 00:00 {heap}\n"
        for heap, minor in sorted((heap, minor) for minor, heap in enumerate(heaps))
    ]
    return "/dev/dma_heap:\ntotal 0\n" + "".join(rows)


def _cma_files(area: CmaArea) -> dict[str, str]:
    """One area in debugfs (mm/cma_debug.c) and sysfs (mm/cma_sysfs.c): 6.12, or with several ranges 6.15."""
    several = len(area.ranges) > 1
    figures = {
        f"debug/cma/{area.name}/count": area.count_pages,
        f"debug/cma/{area.name}/order_per_bit": area.order_per_bit,
        f"debug/cma/{area.name}/used": area.used_pages,
        f"debug/cma/{area.name}/maxchunk": area.max_free_run_pages,
        f"mm/cma/{area.name}/alloc_pages_success": area.alloc_pages_success,
        f"mm/cma/{area.name}/alloc_pages_fail": area.alloc_pages_fail,
        f"mm/cma/{area.name}/release_pages_success": area.release_pages_success,
    }
    if several:
        figures[f"mm/cma/{area.name}/total_pages"] = area.count_pages
        figures[f"mm/cma/{area.name}/available_pages"] = area.available_pages
    files = {f"sys/kernel/{path}": f"{value}\n" for path, value in figures.items()}
    for index, part in enumerate(area.ranges):
        folder = f"sys/kernel/debug/cma/{area.name}" + (f"/ranges/{index}" if several else "")
        files[f"{folder}/base_pfn"] = f"{part.base_pfn}\n"
        words = -(-(part.count_pages >> area.order_per_bit) // 32)
        files[f"{folder}/bitmap"] = bitmap_text(part.bits.bitmap(), words)
    return files


@lru_cache(maxsize=64)
def bitmap_text(bitmap: bytes, count_words: int) -> str:
    """A bitmap as debugfs prints it, in decimal words of 32 bits. A large one takes a while, and seldom changes."""
    return " ".join(map(str, struct.unpack_from(f"<{count_words}I", bitmap))) + "\n"
