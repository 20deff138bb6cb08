"""Heaps and exporters: which there are, and what is whose."""

from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from types import MappingProxyType
from typing import Final, NamedTuple

from heaptop.assemble.gaps import Gaps
from heaptop.assemble.totals import Group
from heaptop.capture import Capture
from heaptop.model import ExporterTotal, Heap, Source
from heaptop.parse import dma_heap
from heaptop.parse.bufinfo import Row
from heaptop.units import text_of

HELPERS: Final = "heap_helpers"
"""Exporter of the buffers of every heap from 5.6 to 5.10 (drivers/dma-buf/heaps/heap-helpers.c)."""
V4_SYSTEM: Final = "system_heap"
V4_CMA: Final = "cma_heap"
"""Exporters of RFC v4: of its system heap, which bears the same name, and of all its CMA heaps."""
DEFAULT_CMA: Final = "default_cma_region"
"""The default CMA heap from 6.17 on, whatever its area is called."""

_HEAP_LIKE: Final = frozenset(
    {"system", "system-uncached", "reserved", "linux,cma", "default-pool", DEFAULT_CMA, V4_SYSTEM, V4_CMA, HELPERS}
)
_HEAP_LIKE_PREFIXES: Final = ("qcom,", "mtk_", "linux,cma")
_DEVICES: Final = "sys/devices/virtual/dma_heap/"
_CLASS: Final = "sys/class/dma_heap/"


class Node(NamedTuple):
    """A heap as `/dev` or sysfs shows it."""

    name: str
    device: tuple[int, int] | None
    mode: int | None
    sources: tuple[Source, ...]


def nodes(capture: Capture, gaps: Gaps, dumped: AbstractSet[str] = frozenset()) -> tuple[Node, ...]:
    """The heaps of `/dev/dma_heap` and `/sys/class/dma_heap`, and those that only a dump names (`dumped`)."""
    listed = gaps.read(capture.files.get("dev.ls"), dma_heap.parse, "/dev/dma_heap") or ()
    in_dev = {text_of(node.name): node for node in listed}
    # The class's links lead to the devices' folder: a copy may have kept only that.
    paths = (path.replace(_DEVICES, _CLASS, 1) for path in (*capture.files, *capture.links))
    in_class = dma_heap.class_heaps(paths)
    found = [Node(name, None, None, (Source.VENDOR_DUMP,)) for name in sorted(dumped - in_dev.keys() - set(in_class))]
    for name in sorted({*in_dev, *in_class}):
        node = in_dev.get(name)
        device = (node.major, node.minor) if node is not None else _class_device(capture, name, gaps)
        sources = ((Source.DEV,) if node is not None else ()) + ((Source.SYSFS_HEAPS,) if name in in_class else ())
        found.append(Node(name, device, None if node is None else node.mode, sources))
    if not found:
        why = "neither /dev/dma_heap nor /sys/class/dma_heap shows any"
        gaps.add("heaps", why, "needs a kernel with CONFIG_DMABUF_HEAPS")
    return tuple(found)


def _class_device(capture: Capture, name: str, gaps: Gaps) -> tuple[int, int] | None:
    raw = capture.files.get(f"{_CLASS}{name}/dev", capture.files.get(f"{_DEVICES}{name}/dev"))
    return gaps.read(raw, dma_heap.device, f"device number of heap {name}")


class HeapNames:
    """Which heap a buffer is from, by its exporter alone.

    From 5.11 on the exporter is the heap's name. Under RFC v4 all CMA heaps have the exporter `cma_heap`, which tells
    the heap where there is but one; from 5.6 to 5.10 all heaps have `heap_helpers`, which tells nothing.
    """

    def __init__(self, found: Sequence[Node]) -> None:
        self.names = frozenset(node.name for node in found)
        self.is_v4 = V4_SYSTEM in self.names
        self.v4_cma = tuple(sorted(self.names - {V4_SYSTEM})) if self.is_v4 else ()

    def heap_of(self, exporter: str) -> str | None:
        """The heap's name; None where the exporter is no heap or does not tell which."""
        if exporter in self.names:
            return exporter
        return self.v4_cma[0] if exporter == V4_CMA and len(self.v4_cma) == 1 else None

    def exporter_of(self, heap: str, shared: str | None) -> str:
        """The exporter of a heap's buffers; `shared` is the one that several heaps are seen to have."""
        if shared == HELPERS:
            return HELPERS
        return V4_CMA if heap in self.v4_cma else heap

    def is_heap(self, exporter: str | None) -> bool:
        """Whether an exporter is a heap. Where no heap's node is visible, by the names that heaps are known to have."""
        if exporter is None:
            return False
        if self.names:
            return exporter in self.names or exporter == HELPERS or (self.is_v4 and exporter == V4_CMA)
        return exporter in _HEAP_LIKE or exporter.startswith(_HEAP_LIKE_PREFIXES)


def is_heap_like(exporter: str) -> bool:
    """Whether an exporter's name is one that heaps are known to have, which is then the heap's (5.11 on)."""
    return exporter not in (HELPERS, V4_CMA) and (exporter in _HEAP_LIKE or exporter.startswith(_HEAP_LIKE_PREFIXES))


def heaps(
    found: Sequence[Node],
    names: HeapNames,
    *,
    groups: Iterable[Group],
    totals: Iterable[ExporterTotal],
    areas: Sequence[str],
    gaps: Gaps,
    sums: Mapping[str, int] | None = None,
) -> tuple[Heap, ...]:
    """Every heap with what is known to be from it: `groups` are all buffers, `totals` by exporter. `sums` are bytes by
    heap as a dump has them, for the heaps of which it lists no buffers.
    """
    by_heap: dict[str | None, list[Group]] = {}
    for group in groups:
        by_heap.setdefault(group.heap, []).append(group)
    shared = _shared_exporter(names, {total.name for total in totals})
    if shared is not None and found:
        gaps.add("which heap a buffer is from", f"its exporter is {shared} whatever the heap", "see totals by exporter")
    return tuple(
        _heap(
            node,
            exporter=names.exporter_of(node.name, shared),
            mine=None if names.exporter_of(node.name, shared) == shared else by_heap.get(node.name, []),
            area=_area(node.name, names, areas, gaps),
            sum_bytes=(sums or {}).get(node.name),
        )
        for node in found
    )


def _shared_exporter(names: HeapNames, exporters: set[str | None]) -> str | None:
    """The exporter that buffers of several heaps have, so that the heap cannot be told."""
    if HELPERS in exporters:
        return HELPERS
    return V4_CMA if V4_CMA in exporters and len(names.v4_cma) > 1 else None


def _heap(node: Node, exporter: str, mine: list[Group] | None, area: str | None, sum_bytes: int | None) -> Heap:
    if sum_bytes is not None and not mine:
        told = {"name": node.sources, "size_bytes": node.sources}
        return Heap(node.name, None, None, sum_bytes, area, provenance=MappingProxyType(told))
    told = {"name": node.sources, "exporter": (Source.DERIVED,)}
    if mine is not None:
        told["buffers"] = (Source.DERIVED,)
        taken = {group.provenance["size_bytes"][0] for group in mine if "size_bytes" in group.provenance}
        told["size_bytes"] = tuple(source for source in Source if source in taken) or (Source.DERIVED,)
    if area is not None:
        told["cma_area"] = (Source.DERIVED,)
    if node.device is not None:
        told["device"] = node.sources[:1]
    if node.mode is not None:
        told["mode"] = (Source.DEV,)
    return Heap(
        name=node.name,
        exporter=exporter,
        buffers=None if mine is None else sum(group.count for group in mine),
        size_bytes=None if mine is None else sum(group.size_bytes for group in mine),
        cma_area=area,
        device=node.device,
        mode=node.mode,
        provenance=MappingProxyType(told),
    )


def _area(heap: str, names: HeapNames, areas: Sequence[str], gaps: Gaps) -> str | None:
    """The CMA area that a heap takes from: the one of its name, and for the default heap of 6.17 on the default area.

    That is `reserved` where it comes from `cma=` or Kconfig, else the devicetree node with `linux,cma-default`
    (kernel/dma/contiguous.c), which kernels up to 6.18 also give a heap of its own name.
    """
    if heap in areas:
        return heap
    if heap != DEFAULT_CMA or not areas:
        return None
    for candidates in (["reserved"], areas, names.names, [area for area in areas if area.startswith("linux,cma")]):
        left = [area for area in areas if area in candidates]
        if len(left) == 1:
            return left[0]
    gaps.add(f"the CMA area of heap {heap}", f"it may be any of {', '.join(areas)}")
    return None


def exporters(groups: Iterable[Group], nameless_rows: Iterable[Row], names: HeapNames) -> tuple[ExporterTotal, ...]:
    """Totals by exporter, by name, unknown last. `nameless_rows` are bufinfo's up to 5.2: buffers without identity."""
    totals: dict[str | None, tuple[int, int]] = {}
    sums = [(group.exporter, group.count, group.size_bytes) for group in groups]
    sums += [(None if row.exp_name is None else text_of(row.exp_name), 1, row.size) for row in nameless_rows]
    for name, more, size in sums:
        count, total = totals.get(name, (0, 0))
        totals[name] = count + more, total + size
    order = sorted(totals, key=lambda name: (name is None, name or ""))
    return tuple(ExporterTotal(name, *totals[name], names.is_heap(name)) for name in order)
