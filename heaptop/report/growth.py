"""Suspects and other classes as text and as JSON."""

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Final

from heaptop.analysis.orphans import LetGo, Orphan
from heaptop.analysis.sites import SiteShare, site_text
from heaptop.analysis.suspects import Evidence, Growth, Kind, Verdict
from heaptop.analysis.verdict_words import class_cells, dots, format_rate, lifetime_text, verdict_text
from heaptop.model import UNNAMED, Snapshot
from heaptop.report import json
from heaptop.report.moment import timestamp
from heaptop.report.sites import share
from heaptop.report.table import DIM, YELLOW, Column, Look, Row, draw
from heaptop.report.text import UNKNOWN, buffer_name, counted
from heaptop.units import format_age, format_delta, format_size, printable

SITES_SHOWN: Final = 3
Sites = Mapping[int, Sequence[SiteShare]]
"""The call sites of the buffers that a suspicion rests on, by the place of the verdict in their list."""


def document(
    snapshot: Snapshot,
    growth: Growth,
    verdicts: Iterable[Verdict],
    orphans: Iterable[Orphan],
    allocated: int | None,
    *,
    sites: Sites = MappingProxyType({}),
) -> json.Json:
    """What was watched, these verdicts of it and the orphans; the newest look tells source, time and gaps. `allocated`
    are the buffers that inode numbers tell of since the first look.
    """
    chosen = tuple(verdicts)
    wall = _Wall(snapshot, growth)
    return {
        **json.head(snapshot),
        "watched": {
            "began": wall.timestamp(growth.began),
            "ended": wall.timestamp(growth.now),
            "duration_s": round(growth.now - growth.began, 3),
            "looks": growth.looks,
            "allocated": allocated,
        },
        "suspects": [
            _suspect(one, growth, wall) | {"call_sites": [share(each) for each in sites.get(number, ())]}
            for number, one in enumerate(chosen)
            if one.kind is Kind.SUSPECT
        ],
        "classes": [_class(one, wall) for one in chosen if one.kind is not Kind.SUSPECT],
        "orphans": [{**json.buffer_item(one.buffer, snapshot), "let_go": _let_go(one.let_go)} for one in orphans],
    }


def _let_go(let_go: LetGo | None) -> json.Json | None:
    if let_go is None:
        return None
    holders = [{"pid": process.pid, "start_time": process.start_time, "comm": comm} for process, comm in let_go.holders]
    return {"holders": holders, "at": timestamp(let_go.at)}


class _Wall:
    """From the tracker's times to those of a clock on the wall; None where the newest look tells none."""

    def __init__(self, snapshot: Snapshot, growth: Growth) -> None:
        self._offset_s = None if snapshot.captured_at is None else snapshot.captured_at - growth.now

    def timestamp(self, at: float) -> str | None:
        return None if self._offset_s is None else timestamp(at + self._offset_s)


def _named(verdict: Verdict) -> json.Json:
    holder = None if not verdict.key.holders else verdict.key.holder
    return {
        "exporter": verdict.key.exporter,
        "size_bytes": verdict.key.size_bytes,
        "name": verdict.name,
        "holder": holder,
    }


def _suspect(verdict: Verdict, growth: Growth, wall: _Wall) -> json.Json:
    return {
        **_named(verdict),
        "various": list(verdict.various),
        "growth_per_minute": round(verdict.growth_per_minute, 3),
        "growth_bytes_per_minute": round(verdict.growth_bytes_per_minute),
        "confidence": round(verdict.confidence, 3),
        "buffers": verdict.count,
        "total_bytes": verdict.size_bytes,
        "evidence": None
        if verdict.evidence is None
        else _evidence(verdict.evidence, wall) | {"trend": list(growth.trend(verdict))},
    }


def _evidence(evidence: Evidence, wall: _Wall) -> json.Json:
    pace = evidence.pace
    return {
        "sightings": evidence.sightings,
        "age_s": round(evidence.age_s, 3),
        "slope_per_minute": round(pace.per_s * 60, 3),
        "holders": [
            {
                "pid": share.process.pid,
                "start_time": share.process.start_time,
                "comm": share.comm,
                "buffers": share.buffers,
            }
            for share in evidence.holders
        ],
        "first_seen": wall.timestamp(evidence.first_seen),
        "last_seen": wall.timestamp(evidence.last_seen),
        "grown": evidence.grown,
        "grown_bytes": evidence.grown_bytes,
        "inodes": list(evidence.inodes),
        "names": list(evidence.names),
        "sizes_bytes": list(evidence.sizes_bytes),
        "steadiness": round(pace.steadiness, 3),
        "length": round(pace.length, 3),
        "calm": round(pace.calm, 3),
        "lifetime_s": round(pace.lifetime_s, 3) if pace.lifetime_s else None,
    }


def _class(verdict: Verdict, wall: _Wall) -> json.Json:
    return {
        **_named(verdict),
        "kind": verdict.kind,
        "confidence": round(verdict.confidence, 3),
        "buffers": verdict.count,
        "total_bytes": verdict.size_bytes,
        "since": wall.timestamp(verdict.since),
    }


ORPHANS_SHOWN: Final = 10


def orphan_text(orphans: Sequence[Orphan]) -> str:
    """A line for each of the largest buffers that nobody is seen to hold, and where its references may be."""
    if not orphans:
        return ""
    size = format_size(sum(one.buffer.size_bytes or 0 for one in orphans))
    lines = [f"{counted(len(orphans), 'orphan')}, {size}: no process is seen to hold them"]
    lines += [_orphan_line(one) for one in orphans[:ORPHANS_SHOWN]]
    if len(orphans) > ORPHANS_SHOWN:
        lines.append(f"  and {len(orphans) - ORPHANS_SHOWN} more: heaptop buffers --filter orphan")
    return "".join(f"{printable(line)}\n" for line in lines)


def _orphan_line(one: Orphan) -> str:
    buffer = one.buffer
    parts = [f"{part.references} {part.kind}{'' if part.is_certain else '?'}: {part.who}" for part in one.parts]
    where = "; ".join(parts) or "references not known"
    told = ""
    if one.let_go is not None:
        who = ", ".join(f"{comm} {process.pid}" for process, comm in one.let_go.holders)
        told = f"; last held by {who} until {timestamp(one.let_go.at)}"
    size, exporter = format_size(buffer.size_bytes), buffer.exporter or UNKNOWN
    return f"? {buffer.inode} {size} {exporter} {buffer_name(buffer)}: {where}{told}"


def text(
    snapshot: Snapshot,
    growth: Growth,
    verdicts: Iterable[Verdict],
    look: Look,
    sites: Sites = MappingProxyType({}),
) -> str:
    """A line for each suspect with its evidence below, then the other verdicts."""
    chosen = tuple(verdicts)
    suspects = [one for one in chosen if one.kind is Kind.SUSPECT]
    watched = f"watched for {format_age(growth.now - growth.began)} in {counted(growth.looks, 'look')}"
    title = printable(f"{snapshot.source}: {counted(len(suspects), 'suspect')}, {watched}")
    parts = [look.paint(title, DIM) + "\n"]
    if suspects:
        parts.append(draw(_SUSPECT_COLUMNS, [_suspect_row(one, look) for one in suspects], look))
        for number, one in enumerate(chosen):
            if one.kind is Kind.SUSPECT:
                parts += [f"\n{line}" for line in (*evidence_lines(one), *site_lines(sites.get(number, ())))]
        parts.append("\n")
    others = [one for one in chosen if one.kind is not Kind.SUSPECT]
    if others:
        parts.append("\n" if suspects else "")
        parts.append(draw(_OTHER_COLUMNS, [_other_row(one, growth) for one in others], look))
    return "".join(parts)


_SUSPECT_COLUMNS: Final = (
    Column("Exporter", worth=4, flexible=True),
    Column("Size", right=True),
    Column("Name", flexible=True),
    Column("Holder", flexible=True),
    Column("Growth", right=True),
    Column("Bytes", right=True, worth=5),
    Column("Now", right=True, worth=3),
    Column("Confidence", worth=6),
)
_OTHER_COLUMNS: Final = (
    Column("Exporter", worth=4, flexible=True),
    Column("Size", right=True),
    Column("Name", flexible=True),
    Column("Holder", flexible=True),
    Column("Now", right=True),
    Column("Verdict", flexible=True),
)


def _suspect_row(verdict: Verdict, look: Look) -> Row:
    cells = (
        *class_cells(verdict),
        f"{format_rate(verdict.growth_per_minute)}/min",
        f"{format_delta(verdict.growth_bytes_per_minute)}/min",
        str(verdict.count),
        f"{dots(verdict.confidence, unicode=look.unicode)} {verdict.confidence * 100:.0f} %",
    )
    return Row(cells, YELLOW)


def _other_row(verdict: Verdict, growth: Growth) -> Row:
    return Row((*class_cells(verdict), str(verdict.count), verdict_text(verdict, growth)))


def site_lines(sites: Sequence[SiteShare]) -> list[str]:
    """Where the buffers of a suspect were allocated, the place of most bytes first."""
    return [
        printable(f"  allocated at: {site_text(each.site)}: {counted(each.buffers, 'buffer')}")
        for each in sites[:SITES_SHOWN]
    ]


def evidence_lines(verdict: Verdict) -> list[str]:
    """The evidence of a suspect in words, a fact a line; the first names it."""
    evidence = verdict.evidence
    if evidence is None:
        return []
    exporter, size, name, holder = class_cells(verdict)
    pace = evidence.pace
    grown = f"{counted(evidence.grown, 'buffer')} ({format_size(evidence.grown_bytes)})"
    shares = f"steadiness {pace.steadiness:.2f}, length {pace.length:.2f}, calm {pace.calm:.2f}"
    lines = [
        f"! {format_rate(verdict.growth_per_minute)} a minute of {size} {exporter} {name}, held by {holder}",
        f"  {grown} came in {format_age(evidence.age_s)} and stayed, at {counted(pace.times, 'time')}; "
        + counted(evidence.sightings, "sighting"),
        f"  {shares}; {lifetime_text(pace.lifetime_s)}",
    ]
    if evidence.holders:
        holders = [f"{share.comm} {share.process.pid} ({share.buffers})" for share in evidence.holders[:4]]
        more = len(evidence.holders) - len(holders)
        lines.append("  holders: " + ", ".join(holders) + (f" and {more} more" if more else ""))
    inodes = ", ".join(map(str, evidence.inodes[:8])) + (", …" if evidence.grown > 8 else "")
    lines.append(f"  inodes: {inodes}")
    if evidence.names:
        lines.append("  names: " + ", ".join(name or UNNAMED for name in evidence.names))
    if evidence.sizes_bytes:
        lines.append("  sizes: " + ", ".join(map(format_size, evidence.sizes_bytes)))
    return [printable(line) for line in lines]
