"""From raw text to a Snapshot: every parser is called from here, and all sources are joined by inode."""

from collections.abc import Iterable, Mapping

from heaptop.analysis.ownership import Share, shares
from heaptop.assemble import buffers as joining
from heaptop.assemble import cma, cma_log, dumps, heaps, limits, processes, system
from heaptop.assemble.gaps import AS_TRACER, NOT_CAPTURED, Gaps, counted, is_gone
from heaptop.assemble.hiding import HidingReader
from heaptop.assemble.infos import InfoReader
from heaptop.assemble.memo import Last, keep_equal, keep_identical
from heaptop.assemble.parts import Holding, Parts
from heaptop.assemble.processes import Device, View
from heaptop.assemble.serials import InodeReader
from heaptop.capture import Capture, ProcessCapture, ReadError
from heaptop.model import Buffer, Process, ProcessId, Snapshot

__all__ = ["Assembler", "assemble"]


def assemble(capture: Capture) -> Snapshot:
    """Join all that a capture tells. Never fails: what cannot be parsed or was not readable becomes a `Gap`."""
    return Assembler().assemble(capture)


class Assembler:
    """Assembles captures one after the other. The snapshot depends on the capture alone; what is the very same object
    as in the capture before is not read again, and a buffer of which nothing new is told stays the very same object.
    """

    def __init__(self) -> None:
        self._views: dict[int, tuple[ProcessCapture, View]] = {}
        self._held: dict[int, tuple[View, frozenset[Device], dict[int, Holding]]] = {}
        self._built: dict[int, tuple[Parts, Buffer]] = {}
        self._all_views: tuple[View, ...] = ()
        self._nodes: tuple[heaps.Node, ...] = ()
        self._buffers: tuple[Buffer, ...] = ()
        self._lister = joining.Lister()
        self._hiding = HidingReader()
        self._inodes = InodeReader()
        self._infos = InfoReader()
        self._join = Last(self._joined)
        self._names = Last(heaps.HeapNames)
        self._build = Last(self._build_all)
        self._by_heap = Last(heaps.by_heap)
        self._exporters = Last(heaps.exporters)
        self._shares = Last(shares)
        self._list = Last(_processes)
        self._unknown = Last(joining.count_unknown)

    def assemble(self, capture: Capture) -> Snapshot:
        """As the function `assemble`."""
        gaps = Gaps()
        views = self._look(capture.processes)
        # A live system has no dumps: none of its many files need be looked at.
        dump = dumps.read(capture.files, gaps) if capture.source.startswith("replay:") else dumps.NO_DUMPS
        held = self._join(views)
        infos = self._infos.read(capture.infos, gaps)
        listing = self._lister.read(capture, held, infos, gaps)
        if dump.is_any:
            views = (*views, *dump.views)
            held = _with_dumped(held, dump.holdings)
            listing = listing._replace(dumped=dump.buffers)
        nodes = self._nodes = keep_equal(self._nodes, heaps.nodes(capture, gaps, dump.heap_names))
        names = self._names(nodes)
        buffers = self._build(held, listing, names, infos)
        exporters = self._exporters(buffers, listing.nameless_rows, names)
        memory = system.memory(capture, gaps)
        kernel = system.kernel_release(capture, gaps)
        if memory.pools_bytes is None and dump.pools_bytes is not None:
            memory = memory._replace(pools_bytes=dump.pools_bytes)
        areas = cma.area_files(capture.files, sorted(names.names))
        area_names = [area.name for area in areas]
        pages = (*(view.page_bytes for view in views), system.own_page_bytes(capture.files))
        page_bytes = system.page_bytes(pages, memory.cma_total_bytes, cma.all_pages(areas))
        _note_processes(capture, self._views.values(), gaps)
        _note_damage(capture, gaps)
        limits.note(capture, gaps)
        joining.note(capture, listing, self._unknown(buffers), len(buffers), gaps)
        if listing.nameless_rows:
            gaps.add(*_without_identity(counted(len(listing.nameless_rows), "buffer") + " of bufinfo"))
        return Snapshot(
            source=capture.source,
            kernel=kernel,
            boot_id=system.boot_id(capture, gaps),
            captured_at=capture.captured_at,
            page_bytes=page_bytes,
            heaps=heaps.heaps(
                nodes,
                names,
                buffers=self._by_heap(buffers),
                totals=exporters,
                areas=area_names,
                gaps=gaps,
                sums=dump.heap_bytes,
            ),
            exporters=exporters,
            buffers=buffers,
            processes=dumps.processes(dump, self._noted_processes(self._shares(buffers), views, gaps)),
            cma=cma_log.with_log(
                cma.areas(areas, capture, memory.cma_total_bytes, page_bytes, gaps), capture.files, page_bytes, gaps
            ),
            memory=memory,
            hiding=self._hiding.read(capture),
            inodes_count=self._inodes.count(capture, buffers, kernel),
            gaps=dumps.gaps_of(dump, gaps.result()),
        )

    def _noted_processes(
        self, found: Mapping[ProcessId, Share], views: tuple[View, ...], gaps: Gaps
    ) -> tuple[Process, ...]:
        holders, lacking = self._list(found, views)
        for names in lacking:
            gaps.tally(f"{', '.join(names)} of {{}}", "holder", "could not be read")
        return holders

    def _look(self, captured: Iterable[ProcessCapture]) -> tuple[View, ...]:
        before, self._views = self._views, {}
        for process in captured:
            known = before.get(process.pid)
            view = known[1] if known is not None and known[0] is process else processes.view(process)
            self._views[process.pid] = process, view
        self._all_views = keep_identical(self._all_views, tuple(view for _, view in self._views.values()))
        return self._all_views

    def _joined(self, views: tuple[View, ...]) -> joining.Held:
        """What all processes hold, by inode."""
        devices = frozenset[Device]().union(*(view.devices for view in views))
        before, self._held = self._held, {}
        joined: dict[int, list[Holding]] = {}
        for view in views:
            pid = view.id.pid
            known = before.get(pid)
            if known is None or known[0] is not view or known[1] != devices:
                known = view, devices, processes.holdings(view, devices)
            self._held[pid] = known
            for inode, holding in known[2].items():
                joined.setdefault(inode, []).append(holding)
        return joined

    def _build_all(
        self, held: joining.Held, listing: joining.Listing, names: heaps.HeapNames, infos: joining.Infos
    ) -> tuple[Buffer, ...]:
        before, self._built = self._built, {}
        for inode in sorted(listing.inodes | held.keys()):
            parts = listing.parts(inode, held.get(inode, ()), names, infos.get(inode))
            known = before.get(inode)
            if known is None or known[0] != parts:
                built = joining.build(inode, parts)
                known = parts, known[1] if known is not None and known[1] == built else built
            self._built[inode] = known
        self._buffers = keep_identical(self._buffers, tuple(buffer for _, buffer in self._built.values()))
        return self._buffers


def _with_dumped(held: joining.Held, dumped: joining.Held) -> joining.Held:
    return {inode: (*held.get(inode, ()), *dumped.get(inode, ())) for inode in held.keys() | dumped.keys()}


def _processes(
    found: Mapping[ProcessId, Share], views: Iterable[View]
) -> tuple[tuple[Process, ...], tuple[tuple[str, ...], ...]]:
    """The holders, and what those that lack something lack."""
    result = []
    lacking = []
    for view in views:
        share = found.get(view.id)
        if share is None:
            continue
        if view.lacking:
            lacking.append(view.lacking)
        result.append(
            Process(
                id=view.id,
                comm=view.comm,
                uid=view.uid,
                cmdline=view.cmdline,
                cgroup=view.cgroup,
                oom_score_adj=view.oom_score_adj,
                rss_bytes=share.rss_bytes,
                pss_bytes=share.pss_bytes,
                inodes=share.inodes,
                threads_with_own_table=view.own_tables,
                libraries=view.libraries,
            )
        )
    return tuple(sorted(result, key=lambda process: process.id.pid)), tuple(lacking)


def _note_processes(capture: Capture, seen: Iterable[tuple[ProcessCapture, View]], gaps: Gaps) -> None:
    """One gap for each kind of trouble, however many processes have it."""
    anonymous = unidentified = 0
    for process, view in seen:
        anonymous += view.anonymous
        unidentified += view.unidentified
        if processes.is_unreadable(process):
            gaps.tally("{} could not be read", "process", "permission denied", AS_TRACER, of=capture.processes_seen)
            continue
        for trouble in {(trouble.what, trouble.remedy): trouble for trouble in reversed(view.troubles)}.values():
            if trouble.why == NOT_CAPTURED and "maps" in capture.off:
                continue
            gaps.tally(trouble.what, "process", trouble.why, trouble.remedy, of=capture.processes_seen)
    if anonymous:
        gaps.add(*_without_identity(counted(anonymous, "reference")))
    if unidentified:
        why = "neither stat nor an inode number in fdinfo (which has it from 5.14 on)"
        gaps.add(f"{counted(unidentified, 'descriptor')} of unknown buffers", why, "capture stat of descriptors too")


def _without_identity(what: str) -> tuple[str, str, str]:
    return f"{what} without identity", "buffers have no inode of their own up to kernel 5.2", "use kernel 5.3 or newer"


def _note_damage(capture: Capture, gaps: Gaps) -> None:
    """Troubles of the capture as a whole: a recording that breaks off, /proc that cannot be listed."""
    damage = capture.files.get("recording")
    if isinstance(damage, ReadError):
        gaps.add("a part of the recording", "it is cut, damaged or too large", "make it again; what is there is shown")
    listing = capture.files.get("proc")
    if isinstance(listing, ReadError) and not is_gone(listing):
        gaps.read(listing, lambda _: None, "the list of processes")
