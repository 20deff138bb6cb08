"""A session: one backend looked at again and again, with what only time can tell.

The app and the headless verbs both stand on it. It keeps first sightings, who held a buffer last, growth per process,
short trends and the mark; it draws and prints nothing.
"""

import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import chain
from typing import Final, Generic, TypeVar

from heaptop.analysis.diff import Delta, diff, other_boot
from heaptop.analysis.growth_watch import GrowthWatch
from heaptop.analysis.orphans import LetGo, has_hidden
from heaptop.analysis.places import Places
from heaptop.analysis.serials import Serials
from heaptop.analysis.suspects import NO_GROWTH, Growth
from heaptop.assemble import Assembler
from heaptop.assemble.gaps import REFUSED
from heaptop.backend.base import Backend, FdAt, MapAt, Searching, Timeline, Way
from heaptop.capture import Capture
from heaptop.errors import UsageError
from heaptop.model import Buffer, Event, Gap, ProcessId, Snapshot
from heaptop.pattern import pattern

_COUNT: Final = pattern(r"\d+( of \d+)? \w+")
"""Of how many processes a gap is, which changes from look to look."""

TREND_POINTS: Final = 60
"""How many refreshes a trend goes back."""

GONE_REFRESHES: Final = 3
"""For how many refreshes a buffer that is gone is still told of."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What one refresh cost: wall time of capture and assembly, and own CPU use since the last one (0..1+)."""

    capture_s: float
    assemble_s: float
    cpu_share: float


@dataclass(frozen=True, slots=True)
class Mark:
    """A moment the user set to compare with."""

    label: str
    snapshot: Snapshot
    set_at: float


@dataclass(frozen=True, slots=True)
class History:
    """What was seen over the life of a session. Times are seconds since the epoch, trends oldest first, bounded.

    `first_seen` by inode (for buffers alive now), `gone` inodes with the time they were first missed (kept for three
    refreshes), `last_holders` by inode: comms of those who held it when it was last held, `growth_bytes` RSS now less
    RSS when the process was first seen. `let_go` by inode: of buffers alive that nobody is seen to hold any more, who
    did last and until when. A process is forgotten once it has held nothing for a whole trend.
    """

    first_seen: Mapping[int, float]
    gone: Mapping[int, float]
    last_holders: Mapping[int, tuple[str, ...]]
    growth_bytes: Mapping[ProcessId, int]
    heap_trend_bytes: Mapping[str, tuple[int, ...]]
    process_trend_bytes: Mapping[ProcessId, tuple[int, ...]]
    total_trend_bytes: tuple[int, ...]
    exporter_trend_bytes: Mapping[str | None, tuple[int, ...]] = field(default_factory=dict)
    let_go: Mapping[int, LetGo] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Update:
    """One refresh: the snapshot, what changed since the one before and since the mark, and what it cost.

    `lost` is what was readable at the first look and is refused at this one: a capability that was dropped. `growth`
    is the newest judgement of all classes; where there are many it may be some looks old.
    """

    snapshot: Snapshot
    delta: Delta
    since_mark: Delta | None
    history: History
    cost: Cost
    number: int
    lost: tuple[Gap, ...] = ()
    growth: Growth = NO_GROWTH


class Session:
    """Refreshes from a backend. Not safe for use by two threads at once; the app calls it from its one poller."""

    def __init__(
        self,
        backend: Backend,
        clock: Callable[[], float],
        *,
        cpu_clock: Callable[[], float] = time.process_time,
        timer: Callable[[], float] = time.perf_counter,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`clock` gives seconds since the epoch (an argument, so that tests and recordings have their own); it is asked
        only where a capture does not tell its time. `cpu_clock` is the CPU time of this process; `timer` only rises,
        and so does `monotonic`, by which growth is judged where the wall clock is set.
        """
        self._backend = backend
        self._clock = clock
        self._cpu_clock = cpu_clock
        self._timer = timer
        self._cpu_s = cpu_clock()
        self._wall_s = timer()
        self._assembler = Assembler()
        self._memory = _Memory()
        self._serials: Serials | None = None
        self._growing = GrowthWatch(monotonic, is_timeline=isinstance(backend, Timeline))
        self._places = Places()
        self._number = 0
        self._marks = 0
        self._snapshot: Snapshot | None = None
        self._mark: Mark | None = None
        self._refused_at_first: frozenset[str] = frozenset()
        self.observer: Callable[[Capture, Update], None] | None = None
        """Is shown each capture and what came of it: who records."""

    @property
    def snapshot(self) -> Snapshot | None:
        """The newest snapshot; None before the first refresh."""
        return self._snapshot

    @property
    def mark(self) -> Mark | None:
        """The mark that is set."""
        return self._mark

    def refresh(self) -> Update:
        """Capture, assemble, compare.

        Raises:
            SourceError, RecordingError: as `Backend.capture`.
        """
        began = self._timer()
        capture = self._backend.capture()
        captured = self._timer()
        snapshot = self._places.put_into(self._assembler.assemble(capture))
        assembled = self._timer()
        before, self._snapshot = self._snapshot, snapshot
        self._number += 1
        # Nothing is new at the first look: there is nothing to compare with.
        delta = diff(before or snapshot, snapshot)
        now = self._now(snapshot)
        if before is None or other_boot(before, snapshot):
            self._memory = _Memory()
            self._memory.begin(snapshot, now, self.known_before())
            self._growing.begin(snapshot, now)
            self._serials = Serials(snapshot)
        else:
            self._memory.follow(snapshot, delta, now)
            self._growing.follow(snapshot, delta, now)
            if self._serials is not None:
                self._serials.follow(snapshot)
        if isinstance(self._backend, Searching):
            self._backend.search(wanted=has_hidden(snapshot.buffers))
        update = Update(
            snapshot=snapshot,
            delta=delta,
            since_mark=None if self._mark is None else diff(self._mark.snapshot, snapshot),
            history=self._memory.history(),
            cost=Cost(captured - began, assembled - captured, self._cpu_share()),
            number=self._number,
            lost=self._lost(snapshot),
            growth=self._growing.lately(),
        )
        if self.observer is not None:
            self.observer(capture, update)
        return update

    @property
    def allocated(self) -> int | None:
        """Buffers allocated since the first look at this boot, however short-lived; None where that is not told."""
        return None if self._serials is None else self._serials.allocated

    @property
    def let_go(self) -> Mapping[int, LetGo]:
        """Of buffers alive that nobody is seen to hold any more: who did last, and until when."""
        return self._memory.let_go

    def growth(self) -> Growth:
        """The judgement of all classes, as of the newest look."""
        return self._growing.now()

    def note_events(self, events: Iterable[Event]) -> None:
        """Learn from live events where buffers lie; the next refresh has it."""
        self._places.note(events)

    def known_before(self) -> Mapping[int, float]:
        """When buffers had been first seen before the first look, by inode: nothing is known here."""
        return {}

    def restart(self) -> None:
        """Let the next refresh be a first look. The mark stays, and numbers go on, with one left out."""
        self._snapshot = None
        self._number += 1

    def _lost(self, snapshot: Snapshot) -> tuple[Gap, ...]:
        refused = {gap: _COUNT.sub("", gap.what) for gap in snapshot.gaps if gap.why == REFUSED}
        if self._number == 1:
            self._refused_at_first = frozenset(refused.values())
        return tuple(gap for gap, what in refused.items() if what not in self._refused_at_first)

    def set_mark(self, label: str | None = None) -> Mark:
        """Remember the newest snapshot (the first refresh must have happened); labels go A, B, C and on.

        Raises:
            UsageError: nothing has been captured yet.
        """
        if self._snapshot is None:
            raise UsageError("cannot set a mark", "nothing has been captured yet", "wait for the first capture")
        if label is None:
            label = _label(self._marks)
            self._marks += 1
        self._mark = Mark(label, self._snapshot, self._now(self._snapshot))
        return self._mark

    def clear_mark(self) -> None:
        """Forget the mark."""
        self._mark = None

    def _now(self, snapshot: Snapshot) -> float:
        return self._clock() if snapshot.captured_at is None else snapshot.captured_at

    def _cpu_share(self) -> float:
        cpu_s, wall_s = self._cpu_clock(), self._timer()
        used_s, passed_s = cpu_s - self._cpu_s, wall_s - self._wall_s
        self._cpu_s, self._wall_s = cpu_s, wall_s
        return used_s / passed_s if passed_s > 0 else 0.0


def _label(number: int) -> str:
    """A to Z, then AA, AB and on."""
    label = ""
    while number >= 0:
        label = chr(ord("A") + number % 26) + label
        number = number // 26 - 1
    return label


Name = TypeVar("Name")


class _Trends(Generic[Name]):
    """The last `TREND_POINTS` sizes of each name. One that is absent has 0, and is forgotten once all are."""

    def __init__(self) -> None:
        self._points: dict[Name, deque[int]] = {}

    def add(self, sizes: Iterable[tuple[Name, int]]) -> None:
        now = dict(sizes)
        for name in now.keys() - self._points.keys():
            self._points[name] = deque(maxlen=TREND_POINTS)
        for name, points in list(self._points.items()):
            points.append(now.get(name, 0))
            if name not in now and not any(points):
                del self._points[name]

    def __contains__(self, name: Name) -> bool:
        return name in self._points

    def values(self) -> dict[Name, tuple[int, ...]]:
        return {name: tuple(points) for name, points in self._points.items()}


@dataclass(slots=True)
class _Gone:
    """A buffer that was missed: if a later capture has it after all (captures are not atomic), it is no new one."""

    missed_at: float
    first_seen: float
    refreshes: int = 0


class _Memory:
    """What a session remembers of one boot. Costs what changed, plus one copy of each mapping per refresh: a `History`
    that was handed over never changes.
    """

    def __init__(self) -> None:
        self._first_seen: dict[int, float] = {}
        self._gone: dict[int, _Gone] = {}
        self._last_holders: dict[int, tuple[str, ...]] = {}
        self.let_go: dict[int, LetGo] = {}
        self._base_bytes: dict[ProcessId, int] = {}
        self._growth: dict[ProcessId, int] = {}
        self._heaps: _Trends[str] = _Trends()
        self._exporters: _Trends[str | None] = _Trends()
        self._processes: _Trends[ProcessId] = _Trends()
        self._total: deque[int] = deque(maxlen=TREND_POINTS)

    def begin(self, snapshot: Snapshot, now: float, known: Mapping[int, float]) -> None:
        """The first look at this boot; `known` is when buffers were first seen before it."""
        self._first_seen = {buffer.inode: known.get(buffer.inode, now) for buffer in snapshot.buffers}
        self._note_holders(snapshot.buffers)
        self._note_sizes(snapshot)

    def follow(self, snapshot: Snapshot, delta: Delta, now: float) -> None:
        """Every later look."""
        for inode, gone in list(self._gone.items()):
            gone.refreshes += 1
            if gone.refreshes >= GONE_REFRESHES:
                del self._gone[inode]
                self._last_holders.pop(inode, None)
                self.let_go.pop(inode, None)
        for buffer in delta.gone:
            self._gone[buffer.inode] = _Gone(now, self._first_seen.pop(buffer.inode, now))
        for old, buffer in delta.changed:
            if old.holders and not buffer.holders:
                self.let_go[buffer.inode] = LetGo(tuple((one.process, one.comm) for one in old.holders), now)
            elif buffer.holders:
                self.let_go.pop(buffer.inode, None)
        for buffer in delta.new:
            back = self._gone.pop(buffer.inode, None)
            self._first_seen[buffer.inode] = now if back is None else back.first_seen
        self._note_holders(chain(delta.new, (buffer for _, buffer in delta.changed)))
        self._note_sizes(snapshot)

    def history(self) -> History:
        """A copy of it all."""
        return History(
            first_seen=dict(self._first_seen),
            gone={inode: gone.missed_at for inode, gone in self._gone.items()},
            last_holders=dict(self._last_holders),
            growth_bytes=self._growth,
            heap_trend_bytes=self._heaps.values(),
            process_trend_bytes=self._processes.values(),
            total_trend_bytes=tuple(self._total),
            exporter_trend_bytes=self._exporters.values(),
            let_go=dict(self.let_go),
        )

    def _note_holders(self, buffers: Iterable[Buffer]) -> None:
        for buffer in buffers:
            if buffer.holders:
                self._last_holders[buffer.inode] = tuple(holder.comm for holder in buffer.holders)

    def _note_sizes(self, snapshot: Snapshot) -> None:
        rss = {process.id: process.rss_bytes for process in snapshot.processes}
        self._processes.add(rss.items())
        bases = self._base_bytes
        self._base_bytes = {process: size for process, size in bases.items() if process in self._processes}
        for process, size in rss.items():
            self._base_bytes.setdefault(process, size)
        self._growth = {process: size - self._base_bytes[process] for process, size in rss.items()}
        self._heaps.add((heap.name, heap.size_bytes) for heap in snapshot.heaps if heap.size_bytes is not None)
        self._exporters.add((total.name, total.size_bytes) for total in snapshot.exporters)
        self._total.append(snapshot.size_bytes)


def ways_to(buffer: Buffer) -> tuple[Way, ...]:
    """Where a buffer can be got at to look into it, as it was when it was captured."""
    fds = [FdAt(holder.process.pid, ref.fd, ref.tid) for holder in buffer.holders for ref in holder.fds]
    maps = [
        MapAt(holder.process.pid, ref.start, ref.start + ref.length_bytes)
        for holder in buffer.holders
        for ref in holder.maps
    ]
    return (*fds, *maps)
