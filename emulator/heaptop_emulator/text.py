"""The kernel's text about the emulated machine, byte for byte as 6.12 prints it.

What the machine alone knows are files at their real paths (`machine_files`). What depends on who holds a buffer
(references) is made by those who have looked: `fdinfo`, `bufinfo`, `link`, `map_path`.
"""

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, Protocol

from heaptop_emulator.heap import Run
from heaptop_emulator.machine import MAX_ORDER, PAGE_BYTES, PAGEBLOCK_ORDER, CmaArea, Machine

OSRELEASE: Final = "6.12.0-heaptop-emulated"
PLACES: Final = "bpf/dmabuf_pages"
"""The file that tells where buffers lie: heaptop makes its like on a real kernel, which has no such text."""
DMABUF_DEVICE: Final = (0, 11)
"""Major and minor of the dmabuf pseudo file system: an anonymous device, so it differs per boot."""
DMABUF_MODE: Final = 0o600
"""st_mode of a buffer, which has no file type (dma_buf_getfile: alloc_anon_inode)."""
_HEAP_MAJOR: Final = 254
_FMODE_BY_ACCESS: Final = {os.O_RDONLY: 5, os.O_WRONLY: 6, os.O_RDWR: 7, os.O_ACCMODE: 4}
_FMODE_LSEEK_CAN: Final = 0x00080000
_KIB_PER_PAGE: Final = PAGE_BYTES // 1024
_MIGRATE_TYPES: Final = ("Unmovable", "Movable", "Reclaimable", "HighAtomic", "CMA", "Isolate")


class BufferLike(Protocol):
    """What the text of a buffer is made from. Its exporter is its heap (5.11 on)."""

    @property
    def inode(self) -> int:
        """Inode number."""

    @property
    def heap(self) -> str:
        """Heap and exporter."""

    @property
    def size_bytes(self) -> int:
        """Size."""

    @property
    def access(self) -> int:
        """O_RDONLY, O_WRONLY, O_RDWR, or 3 for neither."""

    @property
    def serial(self) -> int:
        """Counts all buffers of a boot."""

    @property
    def name(self) -> bytes | None:
        """None: never named."""


def link(name: bytes | None) -> bytes:
    """Target of an fd link (dmabuffs_dname)."""
    return b"/dmabuf:" + (name or b"")


def map_path(name: bytes | None) -> bytes:
    r"""Path in /proc/PID/maps, where a newline is `\012` (fs/proc/task_mmu.c, seq_path)."""
    return link(name).replace(b"\n", b"\\012")


def fdinfo(buffer: BufferLike, *, flags: int, mnt_id: int, count: int) -> bytes:
    """/proc/PID/fdinfo/N of one descriptor (fs/proc/fd.c, dma_buf_show_fdinfo; 5.14 on). `flags` are open(2)'s."""
    text = b"pos:\t0\nflags:\t0%o\nmnt_id:\t%d\nino:\t%d\n" % (flags, mnt_id, buffer.inode)
    text += b"size:\t%d\ncount:\t%d\nexp_name:\t%s\n" % (buffer.size_bytes, count, buffer.heap.encode())
    return text if buffer.name is None else text + b"name:\t%s\n" % buffer.name


def bufinfo(buffers: Iterable[BufferLike], counts: Mapping[int, int]) -> bytes:
    """/sys/kernel/debug/dma_buf/bufinfo, newest buffer first (dma_buf_debug_show, 6.1 to 6.12). `counts` by inode."""
    listed = sorted(buffers, key=lambda buffer: buffer.serial, reverse=True)
    rows = [b"\nDma-buf Objects:\nsize    \tflags   \tmode    \tcount   \texp_name\tino     \tname\n"]
    for buffer in listed:
        mode = _FMODE_LSEEK_CAN | _FMODE_BY_ACCESS[buffer.access]
        name = b"<none>" if buffer.name is None else buffer.name
        rows.append(
            b"%08d\t%08x\t%08x\t%08d\t%s\t%08d\t%s\n\tAttached Devices:\nTotal 0 devices attached\n\n"
            % (buffer.size_bytes, buffer.access, mode, counts[buffer.inode], buffer.heap.encode(), buffer.inode, name)
        )
    rows.append(b"\nTotal %d objects, %d bytes\n" % (len(listed), sum(buffer.size_bytes for buffer in listed)))
    return b"".join(rows)


def place(inode: int, runs: Iterable[Run]) -> bytes:
    """A buffer's line in the file that tells where buffers lie; neighbouring runs are joined."""
    joined: list[list[int]] = []
    for run in runs:
        if joined and sum(joined[-1]) == run.pfn:
            joined[-1][1] += run.count_pages
        else:
            joined.append([run.pfn, run.count_pages])
    return b"%d\t%s\n" % (inode, b" ".join(b"%d+%d" % (pfn, count) for pfn, count in joined))


def machine_files(machine: Machine, heaps: Sequence[str], boot_id: str) -> dict[str, bytes]:
    """Every file that tells of the machine itself, by path without the leading slash."""
    version = f"Linux version {OSRELEASE} (heaptop@emulator) (cc) #1 SMP PREEMPT\n"
    files = {
        "proc/version": version,
        "proc/sys/kernel/osrelease": f"{OSRELEASE}\n",
        "proc/sys/kernel/random/boot_id": f"{boot_id}\n",
        "proc/meminfo": _meminfo(machine),
        "proc/vmstat": _vmstat(machine),
        "proc/pagetypeinfo": _pagetypeinfo(machine),
        "dev.ls": _device_list(heaps),
    }
    for minor, heap in enumerate(heaps):
        device = f"sys/devices/virtual/dma_heap/{heap}"
        files[f"{device}/dev"] = f"{_HEAP_MAJOR}:{minor}\n"
        files[f"{device}/uevent"] = f"MAJOR={_HEAP_MAJOR}\nMINOR={minor}\nDEVNAME=dma_heap/{heap}\n"
    for area in machine.areas.values():
        files |= _cma_files(area)
    return {path: text.encode() for path, text in files.items()}


def machine_links(heaps: Iterable[str]) -> dict[str, bytes]:
    """Symbolic links of /sys/class/dma_heap, by path without the leading slash."""
    return {f"sys/class/dma_heap/{heap}": f"../../devices/virtual/dma_heap/{heap}".encode() for heap in heaps}


def _meminfo(machine: Machine) -> str:
    pages = {
        "MemTotal": machine.count_pages,
        "MemFree": machine.free_pages,
        "MemAvailable": machine.available_pages,
        "CmaTotal": machine.cma_total_pages,
        "CmaFree": machine.cma_free_pages,
    }
    return "".join(f"{key + ':':<16}{count * _KIB_PER_PAGE:>8} kB\n" for key, count in pages.items())


def _vmstat(machine: Machine) -> str:
    areas = machine.areas.values()
    values = {
        "nr_free_pages": machine.free_pages,
        "nr_free_cma": machine.cma_free_pages,
        "cma_alloc_success": sum(area.alloc_calls for area in areas),
        "cma_alloc_fail": sum(area.fail_calls for area in areas),
    }
    return "".join(f"{key} {value}\n" for key, value in values.items())


def _pagetypeinfo(machine: Machine) -> str:
    """mm/vmstat.c, pagetypeinfo_showfree and _showblockcount: one zone, all of the buddy's pages movable."""
    orders = range(MAX_ORDER + 1)
    areas = [area.bits.free_counts() for area in machine.areas.values()]
    free = {"Movable": machine.buddy.free_counts(), "CMA": tuple(sum(counts) for counts in zip(*areas, strict=True))}
    blocks = {
        "Movable": machine.buddy.count_pages >> PAGEBLOCK_ORDER,
        "CMA": machine.cma_total_pages >> PAGEBLOCK_ORDER,
    }
    lines = [f"Page block order: {PAGEBLOCK_ORDER}", f"Pages per block:  {1 << PAGEBLOCK_ORDER}", ""]
    lines.append("Free pages count per migrate type at order  " + "".join(f"{order:>6} " for order in orders))
    for kind in _MIGRATE_TYPES:
        counts = "".join(f"{count:>6} " for count in free.get(kind) or (0,) * len(orders))
        lines.append(f"Node {0:>4}, zone {'DMA32':>8}, type {kind:>12} {counts}")
    lines += ["", "Number of blocks type  " + "".join(f"{kind:>12} " for kind in _MIGRATE_TYPES)]
    lines.append(f"Node 0, zone {'DMA32':>8} " + "".join(f"{blocks.get(kind, 0):>12} " for kind in _MIGRATE_TYPES))
    return "\n".join(lines) + "\n"


def _device_list(heaps: Sequence[str]) -> str:
    """`ls -ln /dev/dma_heap` as the recording format has it."""
    rows = [
        f"crw-------    1 0        0         {_HEAP_MAJOR}, {minor:>3} Jan  1 00:00 {heap}\n"
        for heap, minor in sorted((heap, minor) for minor, heap in enumerate(heaps))
    ]
    return "/dev/dma_heap:\ntotal 0\n" + "".join(rows)


def _cma_files(area: CmaArea) -> dict[str, str]:
    """One area in debugfs (mm/cma_debug.c, 6.1 to 6.14) and sysfs (mm/cma_sysfs.c, 6.9 to 6.14)."""
    bits = area.bits
    words = -(-(bits.count_pages >> bits.order_per_bit) // 32)
    bitmap = memoryview(bits.bitmap())[: words * 4]
    figures = {
        f"debug/cma/{area.name}/base_pfn": bits.base_pfn,
        f"debug/cma/{area.name}/count": bits.count_pages,
        f"debug/cma/{area.name}/order_per_bit": bits.order_per_bit,
        f"debug/cma/{area.name}/used": bits.used_pages,
        f"debug/cma/{area.name}/maxchunk": bits.max_free_run_pages,
        f"mm/cma/{area.name}/alloc_pages_success": area.alloc_pages_success,
        f"mm/cma/{area.name}/alloc_pages_fail": area.alloc_pages_fail,
        f"mm/cma/{area.name}/release_pages_success": area.release_pages_success,
    }
    files = {f"sys/kernel/{path}": f"{value}\n" for path, value in figures.items()}
    decimal = " ".join(str(int.from_bytes(bitmap[at : at + 4], "little")) for at in range(0, len(bitmap), 4))
    files[f"sys/kernel/debug/cma/{area.name}/bitmap"] = f"{decimal}\n"
    return files
