"""From raw text to a Snapshot: every parser is called from here, and all sources are joined by inode."""

from heaptop.assemble import cma, cma_log, dumps, heaps, limits, listing, system, troubles
from heaptop.assemble.built import Builder
from heaptop.assemble.entries import EntryReader
from heaptop.assemble.gaps import Gaps
from heaptop.assemble.held import Held, HeldReader
from heaptop.assemble.hiding import HidingReader
from heaptop.assemble.holders import HolderLister, by_id
from heaptop.assemble.infos import InfoReader
from heaptop.assemble.listing import Lister
from heaptop.assemble.memo import Last, keep_equal
from heaptop.assemble.serials import InodeReader
from heaptop.assemble.shares import Shares
from heaptop.assemble.totals import Totals
from heaptop.capture import Capture
from heaptop.model import ExporterTotal, Heap, Snapshot

__all__ = ["Assembler", "assemble"]


def assemble(capture: Capture) -> Snapshot:
    """Join all that a capture tells. Never fails: what cannot be parsed or was not readable becomes a `Gap`."""
    return Assembler().assemble(capture)


class Assembler:
    """Assembles captures one after the other. The snapshot depends on the capture alone; what is the very same object
    as in the capture before is not read again, and what of it did not change stays the very same object.
    """

    def __init__(self) -> None:
        self._nodes: tuple[heaps.Node, ...] = ()
        self._exporters: tuple[ExporterTotal, ...] = ()
        self._heaps: tuple[Heap, ...] = ()
        self._held = HeldReader()
        self._entries = EntryReader()
        self._lister = Lister()
        self._builder = Builder()
        self._totals = Totals()
        self._shares = Shares()
        self._holders = HolderLister()
        self._areas = cma.AreaReader()
        self._hiding = HidingReader()
        self._inodes = InodeReader()
        self._infos = InfoReader()
        self._names = Last(heaps.HeapNames)
        self._troubles = Last(troubles.troubles)

    def assemble(self, capture: Capture) -> Snapshot:
        """As the function `assemble`."""
        gaps = Gaps()
        held = self._held.read(capture.processes)
        views = self._held.views
        # A live system has no dumps: none of its many files need be looked at.
        dump = dumps.read(capture.files, gaps) if capture.source.startswith("replay:") else dumps.NO_DUMPS
        infos = self._infos.read(capture.infos, gaps)
        entries, capture = self._entries.read(capture, gaps)
        lists = self._lister.read(capture, entries, held, infos, gaps)
        if dump.is_any:
            views = by_id((*views, *dump.views))
            held = _with_dumped(held, dump.holdings)
            lists = lists._replace(dumped=dump.buffers)
        nodes = self._nodes = keep_equal(self._nodes, heaps.nodes(capture, gaps, dump.heap_names))
        names = self._names(nodes)
        buffers = self._builder.build(held, lists, names, infos)
        self._totals.follow(buffers)
        exporters = heaps.exporters(self._totals.groups, lists.nameless_rows, names)
        exporters = self._exporters = keep_equal(self._exporters, exporters)
        memory = system.memory(capture, gaps)
        kernel = system.kernel_release(capture, gaps)
        if memory.pools_bytes is None and dump.pools_bytes is not None:
            memory = memory._replace(pools_bytes=dump.pools_bytes)
        areas = cma.area_files(capture.files, sorted(names.names))
        page_bytes = system.page_bytes(
            self._held.page_votes, capture.files, memory.cma_total_bytes, cma.all_pages(areas)
        )
        troubles.note(capture, self._troubles(self._held.odd), gaps)
        limits.note(capture, gaps)
        listing.note(capture, lists, self._totals, gaps)
        found = heaps.heaps(
            nodes,
            names,
            groups=self._totals.groups,
            totals=exporters,
            areas=[area.name for area in areas],
            gaps=gaps,
            sums=dump.heap_bytes,
        )
        self._heaps = keep_equal(self._heaps, found)
        told_areas = self._areas.read(areas, capture, memory.cma_total_bytes, page_bytes, gaps)
        return Snapshot(
            source=capture.source,
            kernel=kernel,
            boot_id=system.boot_id(capture, gaps),
            captured_at=capture.captured_at,
            page_bytes=page_bytes,
            heaps=self._heaps,
            exporters=exporters,
            buffers=buffers,
            processes=dumps.processes(dump, self._holders.list(views, self._shares.follow(buffers), gaps)),
            cma=cma_log.with_log(told_areas, capture.files, page_bytes, gaps),
            memory=memory,
            hiding=self._hiding.read(capture),
            inodes_count=self._inodes.count(capture, buffers, kernel),
            way=system.way(capture),
            gaps=dumps.gaps_of(dump, gaps.result()),
        )


def _with_dumped(held: Held, dumped: Held) -> Held:
    return {inode: (*held.get(inode, ()), *dumped.get(inode, ())) for inode in held.keys() | dumped.keys()}
