"""A session: one backend looked at again and again, with what only time can tell.

The app and the headless verbs both stand on it. It keeps first sightings, who held a buffer last, growth per process,
short trends and the mark; it draws and prints nothing.
"""

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Final, NamedTuple

from heaptop.analysis.clock_setting import ClockSetting
from heaptop.analysis.diff import Delta, Since, diff, other_boot
from heaptop.analysis.growth_watch import GrowthWatch
from heaptop.analysis.history import History, Memory
from heaptop.analysis.orphans import LetGo
from heaptop.analysis.places import Places
from heaptop.analysis.serials import Serials
from heaptop.analysis.suspects import NO_GROWTH, Growth
from heaptop.assemble import Assembler
from heaptop.assemble.gaps import REFUSED
from heaptop.backend.base import Backend, FdAt, MapAt, Searching, Timeline, Way
from heaptop.capture import NOTHING, Capture
from heaptop.errors import UsageError
from heaptop.model import Buffer, Event, Gap, Snapshot
from heaptop.pattern import pattern

_COUNT: Final = pattern(r"\d+( of \d+)? \w+")
"""Of how many processes a gap is, which changes from look to look."""


class Cost(NamedTuple):
    """What one refresh cost: wall time of capture and assembly, and own CPU use since the last one (0..1+)."""

    capture_s: float
    assemble_s: float
    cpu_share: float


class Mark(NamedTuple):
    """A moment the user set to compare with."""

    label: str
    snapshot: Snapshot
    set_at: float


class Update(NamedTuple):
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


def uptime() -> float:
    """Seconds since boot, time asleep included: nobody sets this clock."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


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
        uptime: Callable[[], float] = uptime,
    ) -> None:
        """`clock` gives seconds since the epoch (an argument, so that tests and recordings have their own); it is asked
        only where a capture does not tell its time. `cpu_clock` is the CPU time of this process; `timer` only rises,
        and so does `monotonic`, by which growth is judged where the wall clock is set. `uptime` goes on while the
        machine sleeps, too: what it does not explain, the clock was set.
        """
        self._backend = backend
        self._clock = clock
        self._cpu_clock = cpu_clock
        self._timer = timer
        self._cpu_s = cpu_clock()
        self._wall_s = timer()
        self._assembler = Assembler()
        self._memory: Memory | None = None
        self._serials: Serials | None = None
        self._growing = GrowthWatch(monotonic, is_timeline=isinstance(backend, Timeline))
        self._setting = None if isinstance(backend, Timeline) else ClockSetting(uptime)
        self._places = Places()
        self._number = 0
        self._marks = 0
        self._snapshot: Snapshot | None = None
        self._mark: Mark | None = None
        self._since: Since | None = None
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

    def refresh(self, ahead: tuple[Capture, float] | None = None) -> Update:
        """Capture, assemble, compare. `ahead` is a capture that was taken before, and how many seconds that took.

        Raises:
            SourceError, RecordingError: as `Backend.capture`.
        """
        began = self._timer()
        capture = self._backend.capture() if ahead is None else ahead[0]
        captured = self._timer()
        capture_s = captured - began if ahead is None else ahead[1]
        snapshot = self._places.put_into(self._assembler.assemble(capture))
        assembled = self._timer()
        before, self._snapshot = self._snapshot, snapshot
        self._number += 1
        # Nothing is new at the first look: there is nothing to compare with.
        delta = diff(before or snapshot, snapshot)
        now = self._now(snapshot)
        set_by_s = 0.0 if self._setting is None else self._setting.since_last(now)
        memory = self._memory
        if memory is None or before is None or other_boot(before, snapshot):
            memory = self._memory = Memory(snapshot, now, self.known_before())
            self._growing.begin(snapshot, now)
            self._serials = Serials(snapshot)
        else:
            if set_by_s:
                memory.move(set_by_s)
            memory.follow(snapshot, delta, now)
            self._growing.follow(snapshot, delta, now)
            if self._serials is not None:
                self._serials.follow(snapshot)
        if isinstance(self._backend, Searching):
            self._backend.search(wanted=memory.has_hidden)
        update = Update(
            snapshot=snapshot,
            delta=delta,
            since_mark=None if self._since is None else self._since.follow(snapshot),
            history=memory.history(),
            cost=Cost(capture_s, assembled - captured, self._cpu_share()),
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
        return NOTHING if self._memory is None else self._memory.let_go

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
        self._since = Since(self._snapshot)
        return self._mark

    def clear_mark(self) -> None:
        """Forget the mark."""
        self._mark = self._since = None

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


def ways_to(buffer: Buffer) -> tuple[Way, ...]:
    """Where a buffer can be got at to look into it, as it was when it was captured."""
    fds = [FdAt(holder.process.pid, ref.fd, ref.tid) for holder in buffer.holders for ref in holder.fds]
    maps = [
        MapAt(holder.process.pid, ref.start, ref.start + ref.length_bytes)
        for holder in buffer.holders
        for ref in holder.maps
    ]
    return (*fds, *maps)
