"""What other people's dumps tell, in the shape in which processes and lists tell it, so that all is joined by inode."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Final, NamedTuple

from heaptop.assemble.gaps import NOT_CAPTURED, Gaps, counted
from heaptop.assemble.heaps import is_heap_like
from heaptop.assemble.parts import Holding
from heaptop.assemble.processes import View
from heaptop.capture import NOTHING, Raw
from heaptop.model import FdRef, Gap, Holder, Process, ProcessId, Source
from heaptop.parse.dump import Dumped, DumpedBuffer, DumpedHolding, DumpedUse
from heaptop.units import format_size, text_of

_ION: Final = "sys/kernel/debug/ion/heaps/"
_MEDIATEK: Final = "proc/dma_heap/"
_ROCKCHIP: Final = "rk_dma_heap/dma_heap_info"


class Dumps(NamedTuple):
    """All dumps of one capture. `buffers` has the source of each; `heap_bytes` are the sums by heap that dumps have."""

    buffers: Mapping[int, tuple[Source, DumpedBuffer]] = NOTHING
    holdings: Mapping[int, tuple[Holding, ...]] = NOTHING
    views: tuple[View, ...] = ()
    uses: Mapping[int, DumpedUse] = NOTHING
    heap_bytes: Mapping[str, int] = NOTHING
    pools_bytes: int | None = None

    @property
    def heap_names(self) -> frozenset[str]:
        """The heaps that the dumps name: by their sums, and by exporters whose names only heaps have."""
        exporters = (text_of(buffer.exporter) for _, buffer in self.buffers.values() if buffer.exporter is not None)
        return frozenset(self.heap_bytes) | {name for name in exporters if is_heap_like(name)}

    @property
    def is_any(self) -> bool:
        """Whether there is any dump."""
        return bool(self.buffers or self.views or self.heap_bytes)


NO_DUMPS: Final = Dumps()


def read(files: Mapping[str, Raw], gaps: Gaps) -> Dumps:
    """Read every dump among a capture's files; what is wrong with one becomes a gap."""
    found = [(source, what, dumped) for source, what, dumped in _parsed(files, gaps)]
    if not found:
        return NO_DUMPS
    buffers: dict[int, tuple[Source, DumpedBuffer]] = {}
    holdings: dict[tuple[int, int], DumpedHolding] = {}
    comms: dict[int, bytes] = {}
    uses: dict[int, DumpedUse] = {}
    heap_bytes: dict[str, int] = {}
    for source, what, dumped in found:
        _note(what, dumped, gaps)
        for buffer in dumped.buffers:
            first, before = buffers.get(buffer.inode, (source, buffer))
            buffers[buffer.inode] = first, _completed(before, buffer)
        for holding in dumped.holdings:
            key = holding.pid, holding.inode
            holdings[key] = _better(holdings.get(key, holding), holding)
        comms = {**dumped.comms, **{pid: comm for pid, comm in comms.items() if comm}}
        uses = {**dumped.uses, **uses}
        heap_bytes |= {text_of(name): size for name, size in dumped.heaps.items()}
    pids = sorted({pid for pid, _ in holdings} | uses.keys())
    views = tuple(_view(pid, comms.get(pid, b"")) for pid in pids)
    return Dumps(
        buffers=buffers,
        holdings=_by_inode(holdings.values(), {view.id.pid: view for view in views}),
        views=views,
        uses=uses,
        heap_bytes=heap_bytes,
        pools_bytes=next((dumped.pools for _, _, dumped in found if dumped.pools is not None), None),
    )


def _parsed(files: Mapping[str, Raw], gaps: Gaps) -> Iterator[tuple[Source, str, Dumped]]:
    from heaptop.parse import dmabuf_dump, ion_heap, mtk_heaps, rk_heaps  # noqa: PLC0415  (a live system has no dumps)

    for path in sorted(files):
        parser: Callable[[bytes], Dumped]
        if path == "dump/dmabuf_dump":
            source, parser = Source.DMABUF_DUMP, dmabuf_dump.parse
        elif path.startswith(_ION):
            source, parser = Source.VENDOR_DUMP, partial(ion_heap.parse, heap=path.removeprefix(_ION).encode())
        elif path.startswith(_MEDIATEK):
            source, parser = Source.VENDOR_DUMP, mtk_heaps.parse
        elif path.endswith(_ROCKCHIP):
            source, parser = Source.VENDOR_DUMP, rk_heaps.parse
        else:
            continue
        what = path.removeprefix("dump/") if path.startswith("dump/") else f"/{path}"
        dumped = gaps.read(files[path], parser, what)
        if dumped is not None:
            yield source, what, dumped


def _note(what: str, dumped: Dumped, gaps: Gaps) -> None:
    if dumped.unread:
        gaps.add(f"{counted(dumped.unread, 'line')} of {what}", "not understood", "")
    if dumped.trouble:
        gaps.add(f"{what} is not whole, or a name in it imitates rows", dumped.trouble, "make the dump again")
    held = {holding.inode for holding in dumped.holdings}
    if dumped.kernel_only and all(buffer.inode in held for buffer in dumped.buffers):
        kib = dumped.kernel_only // 1024
        gaps.add(f"buffers of {kib} KiB that no process holds", f"{what} lists none of them", "add `dmabuf_dump -b`")
    if dumped.nameless:
        size = format_size(sum(size for _, size in dumped.nameless))
        gaps.add(f"{counted(len(dumped.nameless), 'allocation')} of {what} ({size})", "without identity", "")
    elif dumped.heaps and not dumped.buffers:
        gaps.add(f"single buffers of {what}", "it lists none", "")


def _completed(before: DumpedBuffer, other: DumpedBuffer) -> DumpedBuffer:
    """The first value of each field that is told."""
    told = {name: value for name, value in before._asdict().items() if value not in (None, ())}
    return other._replace(**told)


def _better(before: DumpedHolding, other: DumpedHolding) -> DumpedHolding:
    """The one that tells more of how the buffer is held."""
    return max(before, other, key=lambda one: (len(one.fds), one.fd_count is not None, one.map_count is not None))


def _by_inode(held: Iterable[DumpedHolding], views: Mapping[int, View]) -> dict[int, tuple[Holding, ...]]:
    joined: dict[int, list[Holding]] = {}
    for one in sorted(held, key=lambda holding: holding.pid):
        view = views[one.pid]
        holder = Holder(
            process=view.id,
            comm=view.comm,
            fds=tuple(FdRef(fd) for fd in one.fds),
            counted=(one.fd_count, one.map_count),
        )
        joined.setdefault(one.inode, []).append(
            Holding(
                holder=holder,
                references=_sum(one.fd_count, one.map_count),
                stat=None,
                info=None,
                file_count=None,
                link_name=None,
                map_name=None,
            )
        )
    return {inode: tuple(holdings) for inode, holdings in joined.items()}


def _sum(fds: int | None, maps: int | None) -> int | None:
    return None if fds is None or maps is None else fds + maps


def _view(pid: int, comm: bytes) -> View:
    return View(
        id=ProcessId(pid, None),
        comm=text_of(comm),
        uid=None,
        cmdline=None,
        cgroup=None,
        oom_score_adj=None,
        libraries=None,
        fds=(),
        vmas=(),
        own_tables=(),
        anonymous=0,
        unidentified=0,
        troubles=(),
        lacking=(),
        page_bytes=None,
        shares_fds=False,
        shares_maps=False,
    )


def gaps_of(dumps: Dumps, gaps: tuple[Gap, ...]) -> tuple[Gap, ...]:
    """The gaps of a capture that has dumps: one for all that a dump never has, and no remedy that is the device's."""
    if not dumps.is_any:
        return gaps
    left = [gap for gap in gaps if gap.why != NOT_CAPTURED and gap.what != "heaps"]
    left = [gap._replace(remedy="") if gap.remedy.startswith("mount ") else gap for gap in left]
    whole = Gap(
        "what a capture has besides",
        "a dump of another tool tells only this much",
        "run `heaptop capture` on the device",
    )
    held = any(dumps.holdings.values())
    unheld = Gap(f"who holds {counted(len(dumps.buffers), 'buffer')}", "this dump does not tell", "add `dmabuf_dump`")
    return tuple(sorted((*left, whole, *(() if held or not dumps.buffers else (unheld,)))))


def processes(dumps: Dumps, found: Iterable[Process]) -> tuple[Process, ...]:
    """The processes with what the dumps themselves say that each uses, and those that hold no buffer of identity."""
    if not dumps.is_any:
        return tuple(found)
    by_pid = {process.id.pid: process for process in found}
    for view in dumps.views:
        pid, use = view.id.pid, dumps.uses.get(view.id.pid)
        if use is None:
            continue
        if pid in by_pid:
            by_pid[pid] = by_pid[pid]._replace(pss_bytes=use.pss)
            continue
        by_pid[pid] = Process(
            id=view.id,
            comm=view.comm,
            uid=None,
            cmdline=None,
            cgroup=None,
            oom_score_adj=None,
            rss_bytes=use.rss,
            pss_bytes=use.pss,
            inodes=(),
        )
    return tuple(by_pid[pid] for pid in sorted(by_pid))
