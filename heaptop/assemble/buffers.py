"""The buffer that its parts make: each value from the first source that tells it."""

from functools import lru_cache
from types import MappingProxyType
from typing import TypeVar

from heaptop.assemble.parts import Parts, SysfsEntry
from heaptop.compiled import compiled
from heaptop.model import Buffer, Fence, PageRun, Provenance, Source
from heaptop.parse.bufinfo import Row
from heaptop.parse.dump import DumpedBuffer
from heaptop.units import text_of

_quick = compiled("heaptop.assemble._quick")

Value = TypeVar("Value")


class _Taken:
    """Takes the values of one buffer, each from the first source that tells it, and keeps all that do."""

    def __init__(self) -> None:
        self.sources: list[tuple[str, tuple[Source, ...]]] = []

    def first(self, name: str, *candidates: tuple[Source, Value | None]) -> Value | None:
        known = [candidate for candidate in candidates if candidate[1] is not None]
        if not known:
            return None
        self.sources.append((name, (known[0][0],) if len(known) == 1 else tuple([source for source, _ in known])))
        return known[0][1]


def build(inode: int, parts: Parts) -> Buffer:
    """The buffer that these parts make."""
    built: Buffer | None = None if _quick is None else _quick.build(inode, parts, _build)
    return _build(inode, parts) if built is None else built


def _build(inode: int, parts: Parts) -> Buffer:
    holdings, row, entry, listed = parts.holdings, parts.row, parts.entry, parts.listed
    stat = next((holding.stat for holding in holdings if holding.stat is not None), None)
    info = parts.newest_info
    taken = _Taken()
    teller, told = parts.dumped or (Source.DERIVED, None)
    size = taken.first(
        "size_bytes",
        (Source.BPF, listed.size if listed else None),
        (Source.FD_STAT, stat.size_bytes if stat else None),
        (Source.FDINFO, info.size if info else None),
        (Source.SYSFS_BUFFERS, entry.size if entry else None),
        (Source.BUFINFO, row.size if row else None),
        (teller, told.size if told else None),
    )
    exporter_name = taken.first(
        "exporter",
        (Source.BPF, listed.exp_name if listed else None),
        (Source.FDINFO, info.exp_name if info else None),
        (Source.SYSFS_BUFFERS, entry.exporter if entry else None),
        (Source.BUFINFO, row.exp_name if row else None),
        (teller, told.exporter if told else None),
    )
    exporter = None if exporter_name is None else text_of(exporter_name)
    count = taken.first("file_count", *_counts(parts))
    holders = tuple(holding.holder for holding in holdings)
    seen = [holding.references for holding in holdings]
    hidden = None if count is None or None in seen else max(0, count - sum(one or 0 for one in seen))
    fences = taken.first("fences", (Source.BUFINFO, row.fences if row else None))
    attachments = _attachments(taken, row, entry, parts.dumped)
    return Buffer(
        inode=inode,
        size_bytes=size,
        exporter=exporter,
        name=_name(taken, parts),
        file_count=count,
        hidden_refs=taken.first("hidden_refs", (Source.DERIVED, hidden)),
        attachments=attachments,
        fences=None
        if fences is None
        else tuple(Fence(each.usage, text_of(each.text), each.signalled) for each in fences),
        holders=holders,
        heap=None if exporter is None else taken.first("heap", (Source.DERIVED, parts.heap_names.heap_of(exporter))),
        runs=taken.first("runs", (Source.BPF, parts.runs), (teller, _runs(told))),
        origin=taken.first("origin", (Source.STACKS, parts.origin)),
        provenance=_provenance(tuple(taken.sources)),
    )


def _runs(dumped: DumpedBuffer | None) -> tuple[PageRun, ...] | None:
    """Page frames of 4 KiB: the vendors' kernels that print addresses have no others."""
    if dumped is None or not dumped.spans:
        return None
    return tuple(PageRun(first >> 12, (last + 1 - first) >> 12) for first, last in dumped.spans)


def _counts(parts: Parts) -> tuple[tuple[Source, int | None], ...]:
    """BPF and bufinfo are read in one go with each capture, a descriptor's fdinfo perhaps long before the last one: so
    BPF's count goes first, then bufinfo's where that is in order, then that of the newest fdinfo, and else the
    smallest, so that no reference is hidden by mistake.
    """
    newest = [] if parts.info is None else [parts.info.file_count]
    counts = newest or [holding.file_count for holding in parts.holdings if holding.file_count is not None]
    fdinfo = (Source.FDINFO, min(counts, default=None))
    row = parts.row
    listed = (Source.BUFINFO, row.file_count if row is not None and row.file_count >= 0 else None)
    exact = (Source.BPF, parts.listed.file_count if parts.listed is not None else None)
    teller, told = parts.dumped or (Source.DERIVED, None)
    dumped = (teller, told.file_count if told is not None else None)
    return (exact, listed, fdinfo, dumped) if parts.trust_row else (exact, fdinfo, listed, dumped)


def _name(taken: _Taken, parts: Parts) -> str | None:
    """The name; each candidate is a name in a tuple, `(None,)` where a source tells that there is none.

    A link or mapping without a name tells nothing: it is the same for an unnamed buffer and an empty name. Nor does a
    pinned iterator, and it shows newlines as blanks.
    """
    listed = parts.listed
    pinned = listed.name if listed is not None and listed.is_pinned else None
    info = parts.newest_info
    link = next((holding.link_name for holding in parts.holdings if holding.link_name), None)
    mapped = next((holding.map_name for holding in parts.holdings if holding.map_name), None)
    teller, dumped = parts.dumped or (Source.DERIVED, None)
    told = taken.first(
        "name",
        (Source.BPF, (listed.name,) if listed is not None and not listed.is_pinned else None),
        (Source.FDINFO, (info.name,) if info is not None else None),
        (Source.FD_LINK, (link,) if link is not None else None),
        (Source.MAPS, (mapped,) if mapped is not None else None),
        (Source.BUFINFO, (parts.row.name,) if parts.row is not None else None),
        (Source.BPF, (pinned,) if pinned is not None else None),
        (teller, (dumped.name,) if dumped is not None and dumped.name is not None else None),
    )
    return None if told is None or told[0] is None else text_of(told[0])


def _attachments(
    taken: _Taken, row: Row | None, entry: SysfsEntry | None, dumped: tuple[Source, DumpedBuffer] | None
) -> tuple[str, ...] | None:
    """Devices by bufinfo, or by sysfs where that has them (5.14 only: their absence there tells nothing)."""
    by_number = sorted(entry.attachments) if entry is not None else []
    teller, told = dumped or (Source.DERIVED, None)
    devices = taken.first(
        "attachments",
        (Source.BUFINFO, row.attachments if row else None),
        (Source.SYSFS_BUFFERS, tuple(device for _, device in by_number) or None),
        (teller, told.attachments if told is not None else None),
    )
    return None if devices is None else tuple(map(text_of, devices))


@lru_cache(maxsize=256)
def _provenance(sources: tuple[tuple[str, tuple[Source, ...]], ...]) -> Provenance:
    """Few combinations occur: one object for each."""
    return MappingProxyType(dict(sources))
