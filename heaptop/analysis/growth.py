"""Follows all buffers over time, by class: when those alive were born, how many there were, how old the dead got."""

from collections import Counter, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from heapq import heappush, heappushpop
from typing import Final

from heaptop.analysis.classes import BufferClass, class_of
from heaptop.analysis.diff import Delta
from heaptop.analysis.levels import Levels
from heaptop.analysis.robust import median
from heaptop.model import Buffer, ProcessId

MISSED_LOOKS: Final = 3
"""A buffer that so many looks miss is gone; one that is back before is the same as ever (captures are not atomic)."""
LIFETIMES_MAX: Final = 256
OLDEST_MAX: Final = 64
OWN_LIFETIMES_MIN: Final = 5
"""With fewer deaths of its own, a class goes by those of its relatives too."""
LOOKS_REMEMBERED: Final = 32
CLASSES_MAX: Final = 20_000
"""So many classes without a buffer are remembered."""
ENDED_MAX: Final = 4_096
STEP_S_MIN: Final = 1e-3
JUMP_S: Final = 60.0
JUMP_FACTOR: Final = 5.0
"""A clock has been set where it says so many seconds more than so many times what another clock says."""


@dataclass(slots=True, eq=False)
class Record:
    """A buffer as it was last seen. `born` is the time of the look that showed it first; None at the very first look.

    `missed_at` and `missed` are since when, and how many looks have not shown it.
    """

    buffer: Buffer
    key: BufferClass
    born: float | None
    missed_at: float = 0.0
    missed: int = 0


class ClassStory:
    """One class: its buffers alive by inode, their names, how many there were over time, and how old they got."""

    __slots__ = ("alive", "count_born", "key", "levels", "lifetimes", "names", "oldest")

    def __init__(self, key: BufferClass, began: float) -> None:
        self.key = key
        self.alive: dict[int, Record] = {}
        self.count_born = 0
        self.names: Counter[str | None] = Counter()
        self.levels = Levels((began,), (0,))
        self.lifetimes: deque[float] = deque(maxlen=LIFETIMES_MAX)
        self.oldest: list[float] = []

    def bury(self, age_s: float) -> None:
        """One died at this age: remembered are the last ones and the oldest ones."""
        self.lifetimes.append(age_s)
        if len(self.oldest) < OLDEST_MAX:
            heappush(self.oldest, age_s)
        else:
            heappushpop(self.oldest, age_s)

    def add(self, record: Record) -> None:
        """One more buffer, or one that was in another class."""
        self.alive[record.buffer.inode] = record
        self.count_born += record.born is not None
        self._name(record.buffer, 1)

    def remove(self, record: Record) -> None:
        """One less."""
        if self.alive.pop(record.buffer.inode, None) is not None:
            self.count_born -= record.born is not None
            self._name(record.buffer, -1)

    def change(self, record: Record, buffer: Buffer) -> None:
        """One is otherwise now, but still of this class."""
        self._name(record.buffer, -1)
        record.buffer = buffer
        self._name(buffer, 1)

    def _name(self, buffer: Buffer, count: int) -> None:
        name = buffer.name or None
        self.names[name] += count
        if not self.names[name]:
            del self.names[name]

    @property
    def is_lively(self) -> bool:
        """Whether any was born, or died, since the first look."""
        return bool(self.count_born or self.lifetimes)

    @property
    def size_bytes(self) -> int:
        """All of those alive."""
        return (self.key.size_bytes or 0) * len(self.alive)

    def births(self) -> list[float]:
        """When those alive were born, rising; without those that were there at the first look."""
        return sorted(record.born for record in self.alive.values() if record.born is not None)


class Tracker:
    """Fed with every look of one boot. A look costs what it changed.

    Times are seconds that only rise (`Clockwork` makes them so of any clock). `lively` are the classes of which a
    buffer was born or died; `changes` grows with each look at which a class changed.
    """

    def __init__(self, buffers: Iterable[Buffer], at: float) -> None:
        """The first look."""
        self.began = self.now = at
        self.looks = 1
        self.stories: dict[BufferClass, ClassStory] = {}
        self.lively: dict[BufferClass, ClassStory] = {}
        self.changes = 0
        self._records: dict[int, Record] = {}
        self._missing: dict[int, Record] = {}
        self._held: Counter[ProcessId] = Counter()
        self._ended: dict[ProcessId, list[tuple[BufferClass, float]]] = {}
        self._families: dict[tuple[str | None, str | None], dict[BufferClass, ClassStory]] = {}
        self._dead: dict[BufferClass, None] = {}
        self._steps: deque[float] = deque(maxlen=LOOKS_REMEMBERED)
        touched: set[BufferClass] = set()
        for buffer in buffers:
            self._enter(Record(buffer, class_of(buffer), None), touched)
        self._note(touched)

    @property
    def look_s(self) -> float:
        """The usual time between two looks."""
        return median(self._steps) if self._steps else 0.0

    def follow(self, delta: Delta, at: float) -> None:
        """The next look: what became of the buffers, at a later time."""
        self._steps.append(at - self.now)
        self.now = at
        self.looks += 1
        touched: set[BufferClass] = set()
        for buffer in delta.gone:
            self._miss(buffer.inode, touched)
        for _, buffer in delta.changed:
            self._change(buffer, touched)
        for buffer in delta.new:
            self._find(buffer, touched)
        self._bury(touched)
        self._note(touched)
        self._forget()

    def kin(self, story: ClassStory) -> Sequence[ClassStory]:
        """The classes that tell how old such buffers get: itself or, where few of it have died, also its relatives,
        which have its exporter and its name and one of its holders.
        """
        if len(story.lifetimes) >= OWN_LIFETIMES_MIN:
            return (story,)
        comms = set(story.key.holders)
        relatives = self._families[story.key.exporter, story.key.name].values()
        return [
            other
            for other in relatives
            if other.lifetimes and (not comms.isdisjoint(other.key.holders) or not (comms or other.key.holders))
        ]

    def _story(self, key: BufferClass) -> ClassStory:
        story = self.stories.get(key)
        if story is None:
            story = self.stories[key] = ClassStory(key, self.began)
            self._dead[key] = None
            self._families.setdefault((key.exporter, key.name), {})[key] = story
        return story

    def _enter(self, record: Record, touched: set[BufferClass]) -> None:
        self._records[record.buffer.inode] = record
        self._story(record.key).add(record)
        touched.add(record.key)
        for holder in record.buffer.holders:
            self._held[holder.process] += 1
            if self._ended and holder.process in self._ended:
                self._it_lives(holder.process, touched)

    def _leave(self, record: Record, touched: set[BufferClass]) -> None:
        del self._records[record.buffer.inode]
        self.stories[record.key].remove(record)
        touched.add(record.key)
        for holder in record.buffer.holders:
            self._held[holder.process] -= 1
            if not self._held[holder.process]:
                del self._held[holder.process]

    def _miss(self, inode: int, touched: set[BufferClass]) -> None:
        record = self._records.get(inode)
        if record is not None:
            self._leave(record, touched)
            record.missed_at, record.missed = self.now, 0
            self._missing[inode] = record

    def _change(self, buffer: Buffer, touched: set[BufferClass]) -> None:
        record = self._records.get(buffer.inode)
        if record is None:
            self._find(buffer, touched)
            return
        if record.buffer.holders != buffer.holders or record.key != class_of(buffer):
            self._leave(record, touched)
            record.buffer, record.key = buffer, class_of(buffer)
            self._enter(record, touched)
        else:
            if record.buffer.name != buffer.name:
                touched.add(record.key)
            self.stories[record.key].change(record, buffer)

    def _find(self, buffer: Buffer, touched: set[BufferClass]) -> None:
        """A new one, or one that was only missed."""
        record = self._missing.pop(buffer.inode, None)
        if record is None or (record.buffer.size_bytes, record.buffer.exporter) != (buffer.size_bytes, buffer.exporter):
            record = Record(buffer, class_of(buffer), self.now)
        record.buffer, record.key = buffer, class_of(buffer)
        self._enter(record, touched)

    def _bury(self, touched: set[BufferClass]) -> None:
        """Those missed for long enough have died, at the age they were first missed at.

        What goes with all its holders' other buffers may have ended with the process, and tells no age until that
        process is seen to live.
        """
        for inode, record in list(self._missing.items()):
            record.missed += 1
            if record.missed < MISSED_LOOKS:
                continue
            del self._missing[inode]
            age = record.missed_at - (self.began if record.born is None else record.born)
            holders = [holder.process for holder in record.buffer.holders]
            if holders and not any(process in self._held for process in holders):
                if len(self._ended) < ENDED_MAX:
                    self._ended.setdefault(holders[0], []).append((record.key, age))
            else:
                self._story(record.key).bury(age)
                touched.add(record.key)

    def _it_lives(self, process: ProcessId, touched: set[BufferClass]) -> None:
        for key, age in self._ended.pop(process):
            self._story(key).bury(age)
            touched.add(key)

    def _note(self, touched: set[BufferClass]) -> None:
        self.changes += len(touched)
        for key in touched:
            story = self.stories[key]
            story.levels = story.levels.noted(self.now, len(story.alive))
            self._dead.pop(key, None)
            if not story.alive:
                self._dead[key] = None
            if story.is_lively:
                self.lively[key] = story
            else:
                self.lively.pop(key, None)

    def _forget(self) -> None:
        """The classes that died out first."""
        while len(self._dead) > CLASSES_MAX:
            key = next(iter(self._dead))
            del self._dead[key], self.stories[key]
            self.lively.pop(key, None)
            relatives = self._families[key.exporter, key.name]
            del relatives[key]
            if not relatives:
                del self._families[key.exporter, key.name]


class Clockwork:
    """Makes times that only rise of what a clock tells, which may be set back or forward by hand."""

    def __init__(self) -> None:
        self.told = 0.0
        self._passed: float | None = None
        self._time: float | None = None
        self._step = 1.0

    def tick(self, told: float, passed: float | None = None) -> float:
        """The time of a look. `passed` is what a clock tells that nobody sets, in seconds since any moment; without it
        only going back is noticed.
        """
        if self._time is None:
            self._time = told
        else:
            step = told - self.told
            if (
                passed is not None
                and self._passed is not None
                and step > JUMP_S + JUMP_FACTOR * (passed - self._passed)
            ):
                step = passed - self._passed
            self._step = step if step >= STEP_S_MIN else self._step
            self._time += self._step
        self.told, self._passed = told, passed
        return self._time
