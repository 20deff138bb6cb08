"""What only looking again and again can tell: first sightings, who held a buffer last, growth of processes, trends."""

from collections.abc import Iterable, Mapping
from itertools import chain
from operator import attrgetter
from typing import Final, NamedTuple

from heaptop.analysis.diff import Delta
from heaptop.analysis.orphans import LetGo
from heaptop.analysis.trends import TREND_POINTS, Trends, differences
from heaptop.capture import NOTHING
from heaptop.changes import Kept, changed_items
from heaptop.model import Buffer, Process, ProcessId, Snapshot

GONE_REFRESHES: Final = 3
"""For how many refreshes a buffer that is gone is still told of."""

_PID = attrgetter("id.pid")


class History(NamedTuple):
    """What was seen over the life of a session. Times are seconds since the epoch, trends oldest first, bounded.

    `first_seen` by inode (for buffers alive now), `gone` inodes with the time they were first missed (kept for three
    refreshes), `last_holders` by inode: comms of those who held it when it was last held, `growth_bytes` RSS now less
    RSS when the process was first seen. `let_go` by inode: of buffers alive that nobody is seen to hold any more, who
    did last and until when. A process is forgotten once it has held nothing for a whole trend.

    What did not change since the look before is the very same object; a trend is made when it is asked for.
    """

    first_seen: Mapping[int, float]
    gone: Mapping[int, float]
    last_holders: Mapping[int, tuple[str, ...]]
    growth_bytes: Mapping[ProcessId, int]
    heap_trend_bytes: Mapping[str, tuple[int, ...]]
    process_trend_bytes: Mapping[ProcessId, tuple[int, ...]]
    total_trend_bytes: tuple[int, ...]
    exporter_trend_bytes: Mapping[str | None, tuple[int, ...]] = NOTHING
    let_go: Mapping[int, LetGo] = NOTHING


class _Gone(NamedTuple):
    """A buffer that was missed: if a later capture has it after all (captures are not atomic), it is no new one."""

    missed_at: float
    first_seen: float
    forgotten_at: int


class Memory:
    """Remembers one boot, at the price of what changed from look to look."""

    def __init__(self, snapshot: Snapshot, now: float, known: Mapping[int, float]) -> None:
        """The first look at this boot; `known` is when buffers were first seen before it."""
        self._look = 0
        self._first_seen: Kept[int, float] = Kept()
        self._missed: dict[int, _Gone] = {}
        self._gone: Kept[int, float] = Kept()
        self._last_holders: Kept[int, tuple[str, ...]] = Kept()
        self._let_go: Kept[int, LetGo] = Kept()
        self._hidden: set[int] = set()
        self._first_bytes: dict[ProcessId, int] = {}
        self._growth: Kept[ProcessId, int] = Kept()
        self._processes: tuple[Process, ...] = ()
        self._process_trends: Trends[ProcessId] = Trends()
        self._heaps: dict[str, int] = {}
        self._heap_trends: Trends[str] = Trends()
        self._exporters: dict[str | None, int] = {}
        self._exporter_trends: Trends[str | None] = Trends()
        self._total: tuple[int, ...] = (snapshot.size_bytes,)
        for buffer in snapshot.buffers:
            self._first_seen.put(buffer.inode, known.get(buffer.inode, now))
        self._note_buffers(snapshot.buffers)
        self._note_sizes(snapshot)

    @property
    def has_hidden(self) -> bool:
        """Whether any buffer has a reference that nothing visible explains."""
        return bool(self._hidden)

    @property
    def let_go(self) -> Mapping[int, LetGo]:
        """As in a `History`."""
        return self._let_go.all()

    def follow(self, snapshot: Snapshot, delta: Delta, now: float) -> None:
        """Every later look."""
        self._look += 1
        self._forget()
        for buffer in delta.gone:
            first_seen = self._first_seen.get(buffer.inode)
            self._missed[buffer.inode] = _Gone(
                now, now if first_seen is None else first_seen, self._look + GONE_REFRESHES
            )
            self._gone.put(buffer.inode, now)
            self._first_seen.put(buffer.inode, None)
            self._hidden.discard(buffer.inode)
        for old, buffer in delta.changed:
            if old.holders and not buffer.holders:
                holders = tuple((one.process, one.comm) for one in old.holders)
                self._let_go.put(buffer.inode, LetGo(holders, now))
            elif buffer.holders:
                self._let_go.put(buffer.inode, None)
        for buffer in delta.new:
            back = self._missed.pop(buffer.inode, None)
            self._gone.put(buffer.inode, None)
            self._first_seen.put(buffer.inode, now if back is None else back.first_seen)
        self._note_buffers(chain(delta.new, (buffer for _, buffer in delta.changed)))
        self._total = (*self._total, self._total[-1] + delta.size_bytes)[-TREND_POINTS:]
        self._note_sizes(snapshot)

    def move(self, step_s: float) -> None:
        """The clock was set by so much since the last look: earlier times become what it would have told then."""
        for kept in (self._first_seen, self._gone):
            for inode, at in list(kept.all().items()):
                kept.put(inode, at + step_s)
        for inode, gone in self._missed.items():
            self._missed[inode] = gone._replace(missed_at=gone.missed_at + step_s, first_seen=gone.first_seen + step_s)
        for inode, let_go in list(self._let_go.all().items()):
            self._let_go.put(inode, let_go._replace(at=let_go.at + step_s))

    def _forget(self) -> None:
        """Those that were missed for long enough."""
        for inode in [inode for inode, gone in self._missed.items() if gone.forgotten_at <= self._look]:
            del self._missed[inode]
            self._gone.put(inode, None)
            self._last_holders.put(inode, None)
            self._let_go.put(inode, None)

    def history(self) -> History:
        """All of it, as it is now."""
        return History(
            first_seen=self._first_seen.all(),
            gone=self._gone.all(),
            last_holders=self._last_holders.all(),
            growth_bytes=self._growth.all(),
            heap_trend_bytes=self._heap_trends.all(),
            process_trend_bytes=self._process_trends.all(),
            total_trend_bytes=self._total,
            exporter_trend_bytes=self._exporter_trends.all(),
            let_go=self._let_go.all(),
        )

    def _note_buffers(self, buffers: Iterable[Buffer]) -> None:
        for buffer in buffers:
            if buffer.holders:
                self._last_holders.put(buffer.inode, tuple([holder.comm for holder in buffer.holders]))
            (self._hidden.add if buffer.hidden_refs else self._hidden.discard)(buffer.inode)

    def _note_sizes(self, snapshot: Snapshot) -> None:
        sizes: dict[ProcessId, int | None] = {}
        for _, before, process in changed_items(self._processes, snapshot.processes, _PID):
            if before is not None:
                sizes[before.id] = None
            if process is not None:
                sizes[process.id] = process.rss_bytes
        self._processes = snapshot.processes
        for process_id in self._process_trends.follow(sizes.items()):
            del self._first_bytes[process_id]
        for process_id, size in sizes.items():
            growth = None if size is None else size - self._first_bytes.setdefault(process_id, size)
            self._growth.put(process_id, growth)
        heaps = {heap.name: heap.size_bytes for heap in snapshot.heaps if heap.size_bytes is not None}
        self._heap_trends.follow(differences(self._heaps, heaps))
        exporters = {total.name: total.size_bytes for total in snapshot.exporters}
        self._exporter_trends.follow(differences(self._exporters, exporters))
        self._heaps, self._exporters = heaps, exporters
