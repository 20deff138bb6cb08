"""What heaptop knows after one capture: the whole vocabulary, in frozen values.

A `Snapshot` is assembled from one `Capture`; everything above it works on these types and never on kernel text.

Conventions: units last in names (`size_bytes`, `count_pages`); `None` means not known here, never zero, and a `Gap`
says why; text from outside is UTF-8 with invalid bytes as surrogates (`units.text_of`) and must go through
`units.printable` before it is shown.
"""

from collections.abc import Iterable, Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final, NamedTuple

from heaptop.call_stack import Origin

UNNAMED = "(unnamed)"
"""How a buffer without a name is shown. Its `name` is None or, where an empty name was set, empty."""


class Source(StrEnum):
    """Where a value comes from, as it is shown to the user."""

    FDINFO = "fdinfo"
    FD_LINK = "fd link"
    FD_STAT = "fd stat"
    MAPS = "maps"
    BUFINFO = "bufinfo"
    SYSFS_BUFFERS = "sysfs dmabuf"
    BPF = "bpf"
    STACKS = "call stacks"
    DEV = "/dev/dma_heap"
    SYSFS_HEAPS = "/sys/class/dma_heap"
    DEBUGFS_CMA = "debugfs cma"
    SYSFS_CMA = "sysfs cma"
    VMSTAT = "vmstat"
    MEMINFO = "meminfo"
    EVENTS = "live events"
    DMABUF_DUMP = "dmabuf_dump"
    VENDOR_DUMP = "vendor dump"
    KERNEL_LOG = "kernel log"
    DERIVED = "derived"


Provenance = Mapping[str, tuple[Source, ...]]
"""Field name to the sources that told it, the one whose value was taken first."""


NO_PROVENANCE: Final[Provenance] = MappingProxyType({})
"""Nothing told."""


class Gap(NamedTuple):
    """Something that could not be read: what, why, and the one thing to do about it (may be empty)."""

    what: str
    why: str
    remedy: str


class ProcessId(NamedTuple):
    """A process's identity within one boot: pids are used again, start times (clock ticks since boot) are not."""

    pid: int
    start_time: int | None


class FdRef(NamedTuple):
    """A descriptor that refers to a buffer. `tid` is None in the process's own table, else the thread with a table of
    its own. `flags` are those of open(2) as fdinfo has them (access mode, O_CLOEXEC).
    """

    fd: int
    tid: int | None = None
    flags: int | None = None


class MapRef(NamedTuple):
    """A mapping (one VMA) of a buffer: `start` is its address, `offset_bytes` lies in the buffer."""

    start: int
    length_bytes: int
    offset_bytes: int
    perms: str


class Holder(NamedTuple):
    """One process that holds a buffer, and how.

    `counted` is what a dump tells that does not name descriptors and mappings: how many of each, None where it does not
    tell even that. Where it is set, `fds` and `maps` may be empty all the same.
    """

    process: ProcessId
    comm: str
    fds: tuple[FdRef, ...] = ()
    maps: tuple[MapRef, ...] = ()
    counted: tuple[int | None, int | None] | None = None

    @property
    def names_fds(self) -> bool:
        """Whether `fds` are all of them."""
        return len(self.fds) == self.fd_count

    @property
    def names_maps(self) -> bool:
        """Whether `maps` are all of them."""
        return len(self.maps) == self.map_count

    @property
    def fd_count(self) -> int | None:
        """Its descriptors that refer to the buffer; None where that is not told."""
        return len(self.fds) if self.counted is None else self.counted[0]

    @property
    def map_count(self) -> int | None:
        """Its mappings (VMAs) of the buffer; None where that is not told."""
        return len(self.maps) if self.counted is None else self.counted[1]


class Fence(NamedTuple):
    """A fence on a buffer as bufinfo prints it: `usage` is kernel, write, read, exclusive or shared."""

    usage: str
    text: str
    signalled: bool


def _sum(counts: Iterable[int | None]) -> int | None:
    """None where one is."""
    total = 0
    for count in counts:
        if count is None:
            return None
        total += count
    return total


class PageRun(NamedTuple):
    """Consecutive page frames of a buffer, from `pfn` on."""

    pfn: int
    count_pages: int


class Buffer(NamedTuple):
    """One dma-buf. Its identity is the boot id and `inode`.

    `name` is None for an unnamed buffer and also where no source tells names: `told("name")` says which.
    `file_count` are all references to its one struct file; `hidden_refs` those that no visible fd or mapping explains.
    `attachments` and `fences` are None where bufinfo does not tell. `runs` are its pages in its own order, None where
    it is not known where they lie. `origin` is None where heaptop did not watch its allocation.
    """

    inode: int
    size_bytes: int | None
    exporter: str | None
    name: str | None
    file_count: int | None
    hidden_refs: int | None
    attachments: tuple[str, ...] | None
    fences: tuple[Fence, ...] | None
    holders: tuple[Holder, ...]
    heap: str | None = None
    provenance: Provenance = NO_PROVENANCE
    runs: tuple[PageRun, ...] | None = None
    origin: Origin | None = None

    def told(self, field_name: str) -> bool:
        """Whether any source told this field."""
        return field_name in self.provenance

    @property
    def fd_count(self) -> int | None:
        """Visible descriptors that refer to it; None where a holder's are not told."""
        total = 0
        for holder in self.holders:
            count = len(holder.fds) if holder.counted is None else holder.counted[0]
            if count is None:
                return None
            total += count
        return total

    @property
    def map_count(self) -> int | None:
        """Visible mappings (VMAs) of it; None where a holder's are not told."""
        return _sum(holder.map_count for holder in self.holders)

    @property
    def is_orphan(self) -> bool:
        """Alive, but no process is seen to hold it."""
        return not self.holders


class Heap(NamedTuple):
    """One dma-heap. `buffers` and `size_bytes` are None where the kernel does not tell a buffer's heap (5.6 to 5.10).

    `cma_area` names the area a CMA heap takes from; two heaps may share one (6.17 on). `device` is (major, minor) of
    the node and `mode` its permissions, where seen.
    """

    name: str
    exporter: str | None
    buffers: int | None
    size_bytes: int | None
    cma_area: str | None
    device: tuple[int, int] | None = None
    mode: int | None = None
    provenance: Provenance = NO_PROVENANCE


class ExporterTotal(NamedTuple):
    """All buffers of one exporter. `name` is None for those whose exporter is not known. Sizes not known count as 0."""

    name: str | None
    buffers: int
    size_bytes: int
    is_heap: bool


class Process(NamedTuple):
    """A process that holds buffers. RSS counts a buffer once, whole; PSS divides it by the number of processes that
    hold it, as Android's dmabuf_dump has both (None where a dump does not tell who else does). `inodes` are the
    buffers, rising. `libraries` are the mapped ones that buffers are commonly allocated through, None where its
    mappings are not readable.
    """

    id: ProcessId
    comm: str
    uid: int | None
    cmdline: tuple[str, ...] | None
    cgroup: str | None
    oom_score_adj: int | None
    rss_bytes: int
    pss_bytes: int | None
    inodes: tuple[int, ...]
    threads_with_own_table: tuple[int, ...] = ()
    libraries: tuple[str, ...] | None = None


class CmaRange(NamedTuple):
    """A contiguous part of a CMA area (areas before 6.15 have exactly one).

    `bitmap` has one bit per `1 << order_per_bit` pages, bit 0 of byte 0 first, 1 = allocated; None where not readable.
    """

    base_pfn: int | None
    count_pages: int
    bitmap: bytes | None


class CmaFailure(NamedTuple):
    """An allocation that a CMA area refused, as the kernel log tells it: `uptime_s` is None where the log has no times,
    `errno` is positive.
    """

    uptime_s: float | None
    count_pages: int
    errno: int


class CmaArea(NamedTuple):
    """One CMA area. Counters are pages since boot; `failures` are None where there is no kernel log."""

    name: str
    count_pages: int | None
    order_per_bit: int | None
    used_pages: int | None
    max_free_run_pages: int | None
    ranges: tuple[CmaRange, ...]
    alloc_pages_success: int | None = None
    alloc_pages_fail: int | None = None
    release_pages_success: int | None = None
    failures: tuple[CmaFailure, ...] | None = None
    provenance: Provenance = NO_PROVENANCE

    @property
    def base_pfn(self) -> int | None:
        """First page frame of the first range."""
        return self.ranges[0].base_pfn if self.ranges else None


Zone = tuple[int, str, tuple[int, ...]]
"""A zone of memory: node, name, and its free blocks by order."""


class Memory(NamedTuple):
    """System-wide memory, where told.

    `pools_bytes` is what Android's heaps keep back for reuse. `cma_free_blocks` are the page allocator's free blocks of
    migratetype CMA by order (`1 << order` pages each): what of the CMA areas is neither allocated nor lent to movable
    pages. `zones` are those with free memory, where told.
    """

    total_bytes: int | None = None
    available_bytes: int | None = None
    cma_total_bytes: int | None = None
    cma_free_bytes: int | None = None
    cma_alloc_success: int | None = None
    cma_alloc_fail: int | None = None
    pools_bytes: int | None = None
    cma_free_blocks: tuple[int, ...] | None = None
    zones: tuple[Zone, ...] = ()


class HidingKind(StrEnum):
    """A place that holds buffers by no fd table and no mapping."""

    IN_FLIGHT = "in flight"
    IO_URING = "io_uring"


class HidingPlace(NamedTuple):
    """A socket in whose queue descriptors wait, or a ring with registered buffers: descriptor `fd` of a process.

    `held` are the descriptors in flight (of whatever files), or the buffers registered; `names` are those buffers'
    names, empty where unnamed, None where the kernel does not tell (all of IN_FLIGHT).
    """

    kind: HidingKind
    process: ProcessId
    comm: str
    fd: int
    held: int
    names: tuple[str | None, ...] = ()


class Snapshot(NamedTuple):
    """All that one capture tells. Tuples are in a fixed order: heaps, exporters and areas by name, buffers by inode,
    processes by pid. `inodes_count` says that inode numbers count the buffers of this boot (None: not known), `way` how
    a live look saw the processes (`BPF`, `PROCMAP_QUERY` …).
    """

    source: str
    kernel: str | None
    boot_id: str | None
    captured_at: float | None
    page_bytes: int
    gaps: tuple[Gap, ...]
    heaps: tuple[Heap, ...]
    exporters: tuple[ExporterTotal, ...]
    buffers: tuple[Buffer, ...]
    processes: tuple[Process, ...]
    cma: tuple[CmaArea, ...]
    memory: Memory = Memory()
    hiding: tuple[HidingPlace, ...] = ()
    inodes_count: bool | None = None
    way: str | None = None

    @property
    def size_bytes(self) -> int:
        """Sum of all known buffer sizes."""
        return sum(buffer.size_bytes or 0 for buffer in self.buffers)


class EventKind(StrEnum):
    """What a live event tells."""

    ALLOC = "alloc"
    FREE = "free"
    ALLOC_FAIL = "alloc_fail"
    CMA_FAIL = "cma_fail"


class CmaReason(StrEnum):
    """Why a CMA area had no pages to give."""

    NO_RUN = "no run large enough"
    PINNED = "pages pinned (busy)"


class Event(NamedTuple):
    """One thing that happened, at `time` (seconds since the epoch), by a thread.

    A free is by whoever dropped the last reference: a driver or a dying process too, never evidence of ownership.
    `latency_s` is the whole ALLOC call's. `pfn` is where a CMA buffer lies. `area`, `align_order` and `reason` are a
    CMA failure's, whose `size_bytes` is what was asked for. `errno` is a failure's, positive.
    """

    kind: EventKind
    time: float
    pid: int | None = None
    tid: int | None = None
    comm: str | None = None
    size_bytes: int | None = None
    inode: int | None = None
    exporter: str | None = None
    latency_s: float | None = None
    pfn: int | None = None
    area: str | None = None
    align_order: int | None = None
    reason: CmaReason | None = None
    errno: int | None = None
