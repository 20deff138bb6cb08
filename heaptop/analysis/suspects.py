"""The verdict on each class that a tracker follows, ranked: suspects with their evidence, then all others."""

from collections import Counter
from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from enum import StrEnum
from heapq import nsmallest
from typing import Final, NamedTuple

from heaptop.analysis.classes import BufferClass, class_of, rank, shown_name
from heaptop.analysis.growth import ClassStory, Record, Tracker
from heaptop.analysis.levels import Levels, summed
from heaptop.analysis.pace import BIRTHS_MIN, SUSPECT, Pace, Story, judge
from heaptop.model import Buffer, ProcessId

TREND_POINTS: Final = 60
LEVEL_CELLS: Final = 32
INODES_MAX: Final = 256
OTHERS_MAX: Final = 200
"""So many classes are told of besides suspects, those with most bytes."""
GROWING: Final = 0.2
"""From this confidence on it is told that a class may grow."""
STRONG: Final = 0.8
"""A class that is suspected so clearly is judged by itself."""
CLEARER: Final = 0.1
"""Several classes are one suspect where together they are so much clearer than the clearest of them."""
MAIN_HOLDER: Final = 0.6
"""A process whose name is on that share of the buffers of several classes is their holder."""


class Kind(StrEnum):
    """What becomes of a class."""

    SUSPECT = "suspect"
    GROWING = "growing"
    PLATEAU = "plateau"
    CHANGING = "changing"


class HolderShare(NamedTuple):
    """A process and how many buffers of the class it holds."""

    process: ProcessId
    comm: str
    buffers: int


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a suspicion rests on. Times are the tracker's, `age_s` is the oldest overdue buffer's.

    `sightings` are the looks since that buffer was first seen, all of which showed the class; `grown` and `grown_bytes`
    the buffers that came and stay, `inodes` they (the oldest; at most INODES_MAX); `names` and `sizes_bytes` what the
    buffers have, where that differs.
    """

    pace: Pace
    sightings: int
    age_s: float
    first_seen: float
    last_seen: float
    grown: int
    grown_bytes: int
    holders: tuple[HolderShare, ...]
    inodes: tuple[int, ...]
    names: tuple[str, ...]
    sizes_bytes: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Verdict:
    """One class, or several alike where only together they grow: `various` are the fields that differ then.

    `count` holds since `since`, `levels` tell of before, `size_bytes` are all buffers'. Growth is in buffers and bytes
    per minute.
    """

    kind: Kind
    key: BufferClass
    name: str | None
    various: tuple[str, ...]
    count: int
    size_bytes: int
    since: float
    levels: tuple[Levels, ...]
    confidence: float = 0.0
    growth_per_minute: float = 0.0
    growth_bytes_per_minute: float = 0.0
    evidence: Evidence | None = None

    @property
    def id(self) -> tuple[BufferClass, tuple[str, ...]]:
        """The same for the same class in every look."""
        return self.key, self.various


@dataclass(frozen=True, slots=True)
class Growth:
    """All verdicts, suspects first: by bytes a minute and confidence. `began` and `now` are the tracker's times."""

    verdicts: tuple[Verdict, ...]
    began: float
    now: float
    looks: int

    @property
    def suspects(self) -> tuple[Verdict, ...]:
        """Those that grow for certain enough."""
        return tuple(verdict for verdict in self.verdicts if verdict.kind is Kind.SUSPECT)

    def trend(self, verdict: Verdict) -> tuple[int, ...]:
        """The numbers of its buffers over the whole time, as floors, oldest first."""
        return _trend(verdict.levels, self.began, self.now, self.looks)


NO_GROWTH: Final = Growth((), 0.0, 0.0, 0)


class Suspected:
    """Which buffers are of a suspect's class. Where several classes together are one, those that are its evidence."""

    def __init__(self, growth: Growth) -> None:
        self._keys = {one.key for one in growth.suspects if not one.various}
        self._inodes = {
            inode for one in growth.suspects if one.various and one.evidence for inode in one.evidence.inodes
        }

    def has(self, buffer: Buffer) -> bool:
        """Whether this one is."""
        return buffer.inode in self._inodes or (bool(self._keys) and class_of(buffer) in self._keys)


_VARIOUS: Final = (("holder",), ("size",), ("name",), ("size", "holder"), ("size", "name"))
"""Where no class grows by itself: what may differ between classes that do together, closest kin first."""


def growth_of(tracker: Tracker) -> Growth:
    """The verdicts after the newest look."""
    return Judge(tracker).growth()


class Judge:
    """Judges the classes that one tracker follows, look after look. Costs what there are classes with young buffers."""

    def __init__(self, tracker: Tracker) -> None:
        self._tracker = tracker
        self._rest_of: tuple[int, AbstractSet[BufferClass]] | None = None
        self._others: dict[BufferClass, Verdict] = {}

    def growth(self) -> Growth:
        """The verdicts after the newest look."""
        tracker = self._tracker
        judged: dict[BufferClass, Verdict] = {}
        for story in tracker.lively.values():
            if story.count_born >= BIRTHS_MIN and (verdict := _judged(tracker, (story,), story.key, ())) is not None:
                judged[story.key] = verdict
        together: list[Verdict] = []
        explained = {key for key, verdict in judged.items() if verdict.confidence >= STRONG}
        for various in _VARIOUS:
            for stories in _groups(tracker.lively.values(), explained, various):
                verdict = _judged(tracker, stories, _common(stories, various), various)
                by_itself = max((judged[story.key].confidence for story in stories if story.key in judged), default=0.0)
                needed = by_itself + CLEARER if by_itself >= SUSPECT else SUSPECT
                if verdict is not None and verdict.confidence >= needed:
                    together.append(verdict)
                    explained.update(story.key for story in stories)
                    judged = {key: one for key, one in judged.items() if key not in {story.key for story in stories}}
        suspects = [*together, *(verdict for verdict in judged.values() if verdict.kind is Kind.SUSPECT)]
        suspects.sort(key=lambda one: (-one.growth_bytes_per_minute * one.confidence, -one.confidence, rank(one.key)))
        growing = [verdict for verdict in judged.values() if verdict.kind is Kind.GROWING]
        growing.sort(key=lambda one: (-one.confidence, rank(one.key)))
        verdicts = (*suspects, *growing, *self._told_besides(explained | judged.keys()))
        return Growth(verdicts, tracker.began, tracker.now, tracker.looks)

    def _told_besides(self, told: AbstractSet[BufferClass]) -> Iterable[Verdict]:
        """Plateaus and what comes and goes, most bytes first."""
        tracker = self._tracker
        if self._rest_of != (tracker.changes, told):
            self._rest_of = tracker.changes, told
            rest = [story for story in tracker.stories.values() if story.alive and story.key not in told]
            rest = nsmallest(OTHERS_MAX, rest, key=lambda story: (-story.size_bytes, rank(story.key)))
            self._others = {story.key: self._other(story) for story in rest}
        else:  # what does not change becomes, or stays, a plateau
            for key in [key for key, verdict in self._others.items() if verdict.kind is Kind.CHANGING]:
                self._others[key] = self._other(tracker.stories[key])
        return self._others.values()

    def _other(self, story: ClassStory) -> Verdict:
        """What it was before, where it still is so."""
        kind = Kind.PLATEAU if _is_flat(self._tracker, story.levels) else Kind.CHANGING
        name = shown_name(story.key.name, story.names)
        known = self._others.get(story.key)
        if known is not None and known.levels[0] is story.levels and (known.kind, known.name) == (kind, name):
            return known
        return Verdict(
            kind=kind,
            key=story.key,
            name=name,
            various=(),
            count=len(story.alive),
            size_bytes=story.size_bytes,
            since=story.levels.since,
            levels=(story.levels,),
        )


def _trend(levels: Iterable[Levels], began: float, now: float, looks: int) -> tuple[int, ...]:
    return tuple(summed(levels, began, now, min(TREND_POINTS, looks))) if now > began else ()


def _is_flat(tracker: Tracker, levels: Levels) -> bool:
    """Whether a trend's second half has one height."""
    points = min(TREND_POINTS, tracker.looks)
    if levels.since <= tracker.began + points // 2 * (tracker.now - tracker.began) / points:
        return True
    half = _trend((levels,), tracker.began, tracker.now, tracker.looks)[points // 2 :]
    return min(half) == max(half) == levels.newest


def _groups(
    stories: Iterable[ClassStory], explained: set[BufferClass], various: tuple[str, ...]
) -> list[tuple[ClassStory, ...]]:
    """Classes that are alike but for what is various, also those that died out: they tell how old such buffers get."""
    found: dict[tuple[object, ...], list[ClassStory]] = {}
    for story in stories:
        if story.key not in explained:
            key = story.key
            group = (
                key.exporter,
                "size" not in various and key.size_bytes,
                "name" not in various and key.name,
                "holder" not in various and key.holders,
            )
            found.setdefault(group, []).append(story)
    groups = [tuple(group) for group in found.values() if len(group) > 1]
    return [group for group in groups if sum(story.count_born for story in group) >= BIRTHS_MIN]


def _common(stories: Sequence[ClassStory], various: tuple[str, ...]) -> BufferClass:
    """The class that several are of, None for what differs; its holders are those who hold most of the buffers."""
    first = stories[0].key
    holders = first.holders
    if "holder" in various:
        counts: Counter[str] = Counter()
        for story in stories:
            counts.update(dict.fromkeys(story.key.holders, story.count_born))
        total = sum(story.count_born for story in stories)
        holders = tuple(sorted(comm for comm, count in counts.items() if count >= MAIN_HOLDER * total))
    return BufferClass(
        first.exporter,
        None if "size" in various else first.size_bytes,
        None if "name" in various else first.name,
        holders,
    )


def _judged(
    tracker: Tracker, stories: Sequence[ClassStory], key: BufferClass, various: tuple[str, ...]
) -> Verdict | None:
    """The verdict on one class or on several together; None where they do not grow."""
    births = sorted(born for story in stories for born in story.births())
    if len(births) < BIRTHS_MIN:
        return None
    kin = {id(other): other for story in stories for other in tracker.kin(story)}.values()
    lifetimes = [age for other in kin for age in other.lifetimes]
    oldest = [age for other in kin for age in other.oldest]
    known = Story(births, lifetimes, oldest, tracker.began, tracker.now, tracker.look_s)
    pace = judge(known, _points(tracker, stories, births[0]))
    if pace is None or pace.confidence < GROWING or pace.has_ended:
        return None
    records = [record for one in stories for record in one.alive.values()]
    grown = [record for record in records if record.born is not None and pace.start <= record.born <= pace.end]
    grown_bytes = sum(record.buffer.size_bytes or 0 for record in grown)
    per_minute = pace.per_s * 60
    return Verdict(
        kind=Kind.SUSPECT if pace.confidence >= SUSPECT else Kind.GROWING,
        key=key,
        name=shown_name(key.name, (record.buffer.name or None for record in grown)),
        various=various,
        count=len(records),
        size_bytes=sum(record.buffer.size_bytes or 0 for record in records),
        since=max(one.levels.since for one in stories),
        levels=tuple(one.levels for one in stories),
        confidence=pace.confidence,
        growth_per_minute=per_minute,
        growth_bytes_per_minute=per_minute * grown_bytes / max(1, len(grown)),
        evidence=_evidence(tracker, pace, grown, grown_bytes),
    )


def _points(tracker: Tracker, stories: Sequence[ClassStory], start: float) -> list[tuple[float, float]]:
    """How many there were over time, at the middle of each part of it."""
    start = max(tracker.began, start)
    if tracker.now <= start:
        return []
    cells = max(2, min(LEVEL_CELLS, tracker.looks // 2))
    width = (tracker.now - start) / cells
    floors = summed((story.levels for story in stories), start, tracker.now, cells)
    return [(start + (index + 0.5) * width, float(floor)) for index, floor in enumerate(floors)]


def _evidence(tracker: Tracker, pace: Pace, grown: Sequence[Record], grown_bytes: int) -> Evidence:
    ordered = sorted(grown, key=lambda record: (record.born or 0.0, record.buffer.inode))
    first = ordered[0].born or 0.0
    names = sorted({record.buffer.name or "" for record in grown})
    sizes = sorted({record.buffer.size_bytes for record in grown if record.buffer.size_bytes is not None})
    look_s = tracker.look_s
    return Evidence(
        pace=pace,
        sightings=min(tracker.looks, 1 + (round((tracker.now - first) / look_s) if look_s > 0 else 0)),
        age_s=tracker.now - first,
        first_seen=first,
        last_seen=tracker.now,
        grown=len(grown),
        grown_bytes=grown_bytes,
        holders=_holders(grown),
        inodes=tuple(record.buffer.inode for record in ordered[:INODES_MAX]),
        names=tuple(names[:8]) if len(names) > 1 else (),
        sizes_bytes=tuple(sizes[:8]) if len(sizes) > 1 else (),
    )


def _holders(records: Iterable[Record]) -> tuple[HolderShare, ...]:
    counts: Counter[tuple[ProcessId, str]] = Counter()
    for record in records:
        counts.update({(holder.process, holder.comm) for holder in record.buffer.holders})
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0][0].pid))
    return tuple(HolderShare(process, comm, count) for (process, comm), count in ordered)
