"""The Leaks view's rows and the evidence of one, as plain text with named styles. No app needed."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from heaptop.analysis.classes import ClassDelta, class_deltas
from heaptop.analysis.diff import Delta
from heaptop.analysis.suspects import Evidence, Growth, Kind, Verdict
from heaptop.analysis.verdict_words import class_cells, dots, format_rate, holder_words, lifetime_text, verdict_text
from heaptop.model import Buffer
from heaptop.tui.renderables.details import Line, name_cell
from heaptop.tui.renderables.sparkline import LEVELS, sparkline
from heaptop.tui.renderables.table import Cell, Column
from heaptop.units import format_age, format_delta, format_size

CHART_HEIGHT = 6
BUFFERS_SHOWN = 12
TREND_WIDTH = 12


@dataclass(frozen=True, slots=True)
class LeakRow:
    """A verdict as the table has it. `since_mark` is what became of the class since the mark; None: no mark counts."""

    verdict: Verdict
    growth: Growth
    rank: int
    since_mark: int | None = None

    @property
    def key(self) -> tuple[object, ...]:
        """The same class in every look."""
        return self.verdict.id


def rows_of(growth: Growth, since_mark: Delta | None) -> list[LeakRow]:
    """The verdicts as they are ranked; since a mark, those whose numbers have changed, by how much."""
    if since_mark is None:
        return [LeakRow(one, growth, rank) for rank, one in enumerate(growth.verdicts)]
    deltas = deltas_of(since_mark)
    changed: list[LeakRow] = []
    for one in growth.verdicts:
        fits = [delta.count for delta in deltas if _fits(delta, one)]
        if sum(fits):
            changed.append(LeakRow(one, growth, len(changed), sum(fits)))
    return changed


def deltas_of(delta: Delta) -> tuple[ClassDelta, ...]:
    """By how many buffers each class has changed."""
    before = [*delta.gone, *(old for old, _ in delta.changed)]
    now = [*delta.new, *(new for _, new in delta.changed)]
    return class_deltas(before, now)


def _fits(delta: ClassDelta, verdict: Verdict) -> bool:
    """Whether a class is one of those that a verdict is on."""
    mine, key = delta.key, verdict.key
    return (
        mine.exporter == key.exporter
        and ("size" in verdict.various or mine.size_bytes == key.size_bytes)
        and ("name" in verdict.various or mine.name == key.name)
        and ("holder" in verdict.various or mine.holders == key.holders)
    )


def mark_cell(row: LeakRow, _width: int) -> Cell:
    """`!` for a suspect."""
    return (("!", "suspect"),) if row.verdict.kind is Kind.SUSPECT else ""


def growth_cell(row: LeakRow, _width: int) -> Cell:
    """The rate, or what else is said of it; since a mark, by how many buffers."""
    if row.since_mark is not None:
        return ((f"{row.since_mark:+,}/mark", "grown" if row.since_mark > 0 else "shrunk"),)
    match row.verdict.kind:
        case Kind.SUSPECT:
            return ((f"{format_rate(row.verdict.growth_per_minute)}/min", "suspect"),)
        case Kind.GROWING:
            return ((f"{format_rate(row.verdict.growth_per_minute)}/min ?", "grown"),)
        case Kind.PLATEAU:
            return (("plateau", "dim"),)
        case Kind.CHANGING:
            return (("comes, goes", "dim"),)


def bytes_cell(row: LeakRow, _width: int) -> Cell:
    """Bytes a minute."""
    if row.verdict.kind not in (Kind.SUSPECT, Kind.GROWING):
        return ""
    return f"{format_delta(row.verdict.growth_bytes_per_minute)}"


def confidence_cell(row: LeakRow, width: int) -> Cell:
    """Five dots and what they rest on; of the rest what is said."""
    verdict = row.verdict
    if verdict.evidence is None:
        return ((verdict_text(verdict, row.growth).partition(": ")[2], "dim"),)
    style = "suspect" if verdict.kind is Kind.SUSPECT else "dim"
    sightings = f"{verdict.confidence * 100:3.0f} %  {verdict.evidence.sightings} looks"
    return ((dots(verdict.confidence), style), (f" {sightings}"[: max(0, width - 5)], ""))


def trend_cell(row: LeakRow, width: int) -> Cell:
    """How many there were over the whole time."""
    return ((sparkline(row.growth.trend(row.verdict), width), "trend"),)


def _class_cell(index: int) -> Callable[[LeakRow, int], Cell]:
    def cell(row: LeakRow, _width: int) -> Cell:
        text = class_cells(row.verdict)[index]
        return ((text, "unknown"),) if text == "~" else text

    return cell


COLUMNS: tuple[Column[LeakRow], ...] = (
    Column("mark", "", 1, mark_cell, worth=90, sortable=False),
    Column("exporter", "Exporter", 9, _class_cell(0), flex=1, width_max=24, worth=45),
    Column("size", "Size", 8, _class_cell(1), align="right", worth=95),
    Column("name", "Name", 11, _class_cell(2), flex=3, width_max=40, worth=100),
    Column("holder", "Holder", 11, _class_cell(3), flex=3, width_max=40, worth=98),
    Column("growth", "Growth", 11, growth_cell, worth=100),
    Column("bytes", "Bytes/min", 10, bytes_cell, align="right", worth=40),
    Column("count", "Now", 5, lambda row, _: f"{row.verdict.count:,}", align="right", worth=60),
    Column("confidence", "Confidence", 11, confidence_cell, flex=2, width_max=24, worth=55),
    Column("trend", "Trend", TREND_WIDTH, trend_cell, flex=2, width_max=60, worth=35, sortable=False),
)

SORT: Mapping[str, Callable[[LeakRow], object]] = {
    "exporter": lambda row: (row.verdict.key.exporter or "").casefold(),
    "size": lambda row: row.verdict.key.size_bytes or 0,
    "name": lambda row: (row.verdict.name or "").casefold(),
    "holder": lambda row: holder_words(row.verdict).casefold(),
    "growth": lambda row: row.since_mark if row.since_mark is not None else row.verdict.growth_per_minute,
    "bytes": lambda row: row.verdict.growth_bytes_per_minute,
    "count": lambda row: row.verdict.count,
    "confidence": lambda row: row.verdict.confidence,
}
"""What rows are sorted by; where nothing is asked for, as they are ranked."""


def details(row: LeakRow, buffers: Sequence[Buffer], clock: Callable[[float], str], width: int) -> list[Line]:
    """The trend drawn, the evidence, the buffers. `clock` tells the time of day of a tracker's time."""
    verdict, growth = row.verdict, row.growth
    exporter, size, name, holder = class_cells(verdict)
    sign = (("! ", "suspect"),) if verdict.kind is Kind.SUSPECT else ()
    lines: list[Line] = [(*sign, (name, "strong"), (f"  {size} {exporter}", "")), ((f"held by {holder}", "dim"),)]
    lines.append(((verdict_text(verdict, growth), "suspect" if verdict.kind is Kind.SUSPECT else ""),))
    lines += _head("Trend")
    lines += chart(growth.trend(verdict), f"{format_age(growth.now - growth.began)} ago", width)
    if verdict.evidence is not None:
        lines += _evidence(verdict, verdict.evidence, clock)
    lines += _head(f"{verdict.count:,} buffer{'' if verdict.count == 1 else 's'}, {format_size(verdict.size_bytes)}")
    return lines + _buffer_lines(buffers, verdict)


def _head(text: str) -> list[Line]:
    return [(), ((text, "title"),)]


def chart(values: Sequence[int], since: str, width: int, height: int = CHART_HEIGHT) -> list[Line]:
    """Numbers over time as columns, the highest and the lowest at the left, the time below.

    >>> [line[1][0] for line in chart([0, 8, 16], "20 s ago", 11, 2)][:2]
    ['  █', ' ██']
    """
    if not values:
        return [((" one look so far", "dim"),)]
    low, high = min(values), max(values)
    labels = len(f"{high:,}")
    room = max(1, width - labels - 2)
    shown = _stretched(values, room)
    top = len(LEVELS)
    span = max(1, high - min(0, low)) if high - low > high / 8 else max(1, high)
    full = [round((value - (low if span < high else 0)) / span * height * top) for value in shown]
    lines: list[Line] = []
    for level in range(height - 1, -1, -1):
        cells = "".join(_cell(count - level * top) for count in full)
        label = f"{high:,}" if level == height - 1 else f"{0:,}" if level == 0 else ""
        lines.append(((f"{label:>{labels}} ", "dim"), (cells, "trend")))
    pad = max(1, len(shown) - len(since) - 3)
    lines.append(((f"{'':>{labels}} {since}{'now':>{pad + 3}}", "dim"),))
    return lines


def _stretched(values: Sequence[int], width: int) -> list[int]:
    """The values over the width: each as often as it takes, or the last of several."""
    count = len(values)
    cells = min(width, max(count, 2 * count))
    return [values[min(count - 1, index * count // cells)] for index in range(cells)]


def _cell(eighths: int) -> str:
    return " " if eighths <= 0 else LEVELS[min(len(LEVELS), eighths) - 1]


def _evidence(verdict: Verdict, evidence: Evidence, clock: Callable[[float], str]) -> list[Line]:
    pace = evidence.pace
    many = f"{evidence.grown:,} buffers, {format_size(evidence.grown_bytes)}, at {pace.times:,} times"
    lines = _head("Evidence")
    rows = [
        ("rate", f"{format_rate(pace.per_s * 60)} buffers a minute, {format_delta(verdict.growth_bytes_per_minute)}"),
        ("stayed", many),
        ("first seen", f"{clock(evidence.first_seen)}, {format_age(evidence.age_s)} ago"),
        ("last seen", f"{clock(evidence.last_seen)}, {evidence.sightings:,} sightings"),
        ("others", lifetime_text(pace.lifetime_s)),
    ]
    lines += [((f" {label:<11}", "dim"), (text, "")) for label, text in rows]
    lines.append(((" confidence ", "dim"), (f"{dots(verdict.confidence)} {verdict.confidence * 100:.0f} %", "suspect")))
    for label, share, why in (
        ("steady", pace.steadiness, "how evenly they came, and still do"),
        ("long", pace.length, "how much there is to go by"),
        ("calm", pace.calm, "how little else goes on"),
    ):
        lines.append(((f"   {label:<9}", "dim"), (f"{share:4.2f} ", ""), (why, "dim")))
    if evidence.holders:
        lines += _head("Holders")
        lines += [
            ((f" {one.process.pid:>7} ", "dim"), (one.comm, ""), (f"  {one.buffers:,}", "dim"))
            for one in evidence.holders[:8]
        ]
    for label, values in (("Names", evidence.names), ("Sizes", tuple(map(format_size, evidence.sizes_bytes)))):
        if values:
            lines += [*_head(label), ((" " + ", ".join(value or "(unnamed)" for value in values), ""),)]
    return lines


def _buffer_lines(buffers: Iterable[Buffer], verdict: Verdict) -> list[Line]:
    """The oldest of those that stay, or any."""
    known = {buffer.inode: buffer for buffer in buffers}
    inodes = verdict.evidence.inodes if verdict.evidence is not None else tuple(known)
    shown = [known[inode] for inode in inodes if inode in known][:BUFFERS_SHOWN]
    lines: list[Line] = [
        ((f" {one.inode:>7} {format_size(one.size_bytes):>9} ", ""), (name_cell(one), "dim")) for one in shown
    ]
    more = verdict.count - len(shown)
    return [*lines, ((f" and {more:,} more: b shows them", "dim"),)] if more > 0 else lines
