"""Looking at all processes again and again, at the price of what changed.

A process can change its descriptors and mappings only by running, and the kernel tells for how long it has run
(`run_times`). So a process is looked at again when it, or one that shares its table or memory, has run; and each buffer
that such a process holds, or held, is asked once, by one descriptor, since its name and count are the same through all.
What that misses (a reference in flight is dropped, a driver lets go) is found by asking some of the others each time,
round and round.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from itertools import islice
from operator import attrgetter, is_
from types import MappingProxyType
from typing import Final, NamedTuple, TypeVar

from heaptop.capture import NOTHING, BufferInfo, ProcessCapture
from heaptop.scan._reader import LATER
from heaptop.scan._scan import run_times
from heaptop.scan.chunks import Chunks
from heaptop.scan.holders import Seen
from heaptop.scan.refs import Ref, Refs, refs_of
from heaptop.scan.sharing import Sharing

Item = TypeVar("Item")
_PID = attrgetter("pid")


class Rounds(NamedTuple):
    """How many are asked each time without a reason of their own: processes, buffers, holders that were not yet looked
    at closely, and those whose details the first look left out (all of it at once would make that slow; it leaves out
    nothing where `details` is 0).
    """

    processes: int = 1
    buffers: int = 100
    closely: int = 5
    details: int = 300


ROUNDS: Final = Rounds()


class _Known:
    """A process as it was when it was last looked at; `run_time_ns` was read before that. `held` is one descriptor of
    each buffer, None where it has a mapping alone.
    """

    __slots__ = ("capture", "held", "run_time_ns")

    def __init__(self, run_time_ns: int, capture: ProcessCapture | None, held: Refs = NOTHING) -> None:
        self.run_time_ns = run_time_ns
        self.capture = capture
        self.held = held


class IncrementalScan:
    """Looks at one proc file system. `look` is for one thread at a time."""

    def __init__(
        self,
        chunks: Chunks,
        pids: Callable[[], list[int]],
        run_times_of: Callable[[list[int]], list[int]] = run_times,
        rounds: Rounds = ROUNDS,
    ) -> None:
        """`pids` lists the processes, `run_times_of` tells how long each has run, in nanoseconds (0: it has ended)."""
        self._rounds = rounds
        self._chunks = chunks
        self._pids = pids
        self._run_times_of = run_times_of
        self._sharing = Sharing()
        self._known: dict[int, _Known] = {}
        self._closely: set[int] = set()
        self._all_closely = False
        self._unseen: set[int] = set()
        self._hurried: set[int] = set()
        self._holders: dict[int, set[int]] = {}
        self._infos: dict[int, BufferInfo] = {}
        self._has_news = False
        self._has_moved = True
        self._shown_infos: Mapping[int, BufferInfo] = MappingProxyType({})
        self._processes: tuple[ProcessCapture, ...] = ()
        self._next_processes: Iterator[int] = iter(())
        self._next_buffers: Iterator[int] = iter(())

    def attend(self, pids: Iterable[int] | None = None) -> None:
        """From the next look on, look closely at these processes (at all, where None is given)."""
        if pids is None:
            self._all_closely = True
        else:
            new = set(pids) - self._closely
            self._closely |= new
            self._unseen |= new

    def look(self) -> Seen:
        """All processes, as they are now.

        Raises:
            OSError: proc cannot be listed.
        """
        pids = self._pids()
        times = dict(zip(pids, self._run_times_of(pids), strict=True))
        self.attend(
            islice((pid for pid, known in self._known.items() if self._is_hasty(pid, known)), self._rounds.closely)
        )
        touched = self._forget(self._known.keys() - times.keys())
        is_first = not self._known and self._rounds.details > 0
        touched |= self._look_at(self._due(times), times, hurried=is_first)
        if not is_first:
            self._complete()
        self._next_buffers, some = _some(self._next_buffers, self._infos, self._rounds.buffers)
        lost = self._refresh(touched.union(some))
        # A name can have been changed by the last descriptor, and mappings that were looked at before have the old one.
        again = {pid for inode in lost for pid in self._holders.get(inode, ())}
        self._look_at(again, times)
        self._has_moved |= self._sharing.settle()
        self._show()
        return Seen(self._processes, self._shown_infos, len(pids))

    def _due(self, times: Mapping[int, int]) -> set[int]:
        ran = {
            pid
            for pid, time_ns in times.items()
            if (known := self._known.get(pid)) is None or known.run_time_ns != time_ns or not time_ns
        }
        self._next_processes, some = _some(self._next_processes, self._known, self._rounds.processes)
        due = (self._sharing.together(ran) | self._unseen | set(some)) & times.keys()
        self._unseen.clear()
        return due

    def _is_hasty(self, pid: int, known: _Known) -> bool:
        """Whether a holder was not yet looked at closely."""
        return known.capture is not None and not self._all_closely and pid not in self._closely

    def _look_at(self, pids: Collection[int], times: Mapping[int, int], *, hurried: bool = False) -> set[int]:
        """The buffers that these processes hold, or held before."""
        touched: set[int] = set()
        for closely in (False, True):
            chosen = sorted(pid for pid in pids if (self._all_closely or pid in self._closely) == closely)
            is_hurried = hurried and not closely
            for pid, capture, table in self._chunks.each(chosen, complete=closely, hurried=is_hurried):
                (self._hurried.add if is_hurried and capture is not None else self._hurried.discard)(pid)
                touched |= self._note(pid, times[pid], capture)
                self._sharing.note(pid, self._known[pid].capture, table or None)
        return touched

    def _complete(self) -> None:
        """Read some of the details that the first look left out: of processes that have not run since."""
        for pid, texts in self._chunks.details(sorted(self._hurried)[: self._rounds.details]).items():
            self._hurried.discard(pid)
            known = self._known[pid]
            if known.capture is not None:
                files = {name: raw for name, raw in known.capture.files.items() if name != LATER}
                known.capture = known.capture._replace(files=MappingProxyType({**files, **texts}))
                self._has_moved = True

    def _note(self, pid: int, time_ns: int, capture: ProcessCapture | None) -> set[int]:
        before = self._known.get(pid) or _Known(0, None)
        if before.capture is not None and capture is not None and is_as_before(before.capture, capture):
            before.run_time_ns = time_ns
            return set(before.held)
        held = {} if capture is None else refs_of(capture)
        self._has_moved |= capture is not before.capture
        for inode in before.held.keys() - held.keys():
            self._let_go(pid, inode)
        for inode in held.keys() - before.held.keys():
            self._holders.setdefault(inode, set()).add(pid)
        self._known[pid] = _Known(time_ns, capture, held)
        return {*before.held, *held}

    def _forget(self, pids: Iterable[int]) -> set[int]:
        touched: set[int] = set()
        for pid in pids:
            known = self._known.pop(pid)
            held = known.held
            self._has_moved |= known.capture is not None
            self._closely.discard(pid)
            self._hurried.discard(pid)
            touched.update(held)
            for inode in held:
                self._let_go(pid, inode)
            self._sharing.note(pid, None)
        return touched

    def _let_go(self, pid: int, inode: int) -> None:
        holders = self._holders[inode]
        holders.discard(pid)
        if not holders:
            del self._holders[inode]

    def _refresh(self, inodes: Iterable[int]) -> list[int]:
        """Ask each of these buffers by one of its descriptors. Returns those that have none any more."""
        lost = []
        waiting = {inode: self._refs(inode) for inode in inodes}
        while waiting:
            asked: list[tuple[int, Ref]] = []
            for inode, refs in list(waiting.items()):
                if (ref := next(refs, None)) is not None:
                    asked.append((inode, ref))
                    continue
                del waiting[inode]
                if self._infos.pop(inode, None) is not None:
                    self._has_news = True
                    lost.append(inode)
            texts = self._chunks.infos([(*ref, inode) for inode, ref in asked])
            for (inode, ref), raw in zip(asked, texts, strict=True):
                if raw is not None:
                    del waiting[inode]
                    info = BufferInfo(ref.pid, ref.tid or None, ref.fd, raw)
                    if self._infos.get(inode) != info:
                        self._has_news = True
                        self._infos[inode] = info
        return lost

    def _refs(self, inode: int) -> Iterator[Ref]:
        """Its descriptors, one of each process; that by which it was asked last time first."""
        holders = self._holders.get(inode, ())
        info = self._infos.get(inode)
        if info is not None and info.pid in holders:
            last = Ref(info.pid, info.tid or 0, info.fd)
            if self._known[info.pid].held[inode] == last:
                yield last
        for pid in sorted(holders):
            if (ref := self._known[pid].held[inode]) is not None:
                yield ref

    def _show(self) -> None:
        """Put together what is handed over: the very same objects where nothing changed."""
        if self._has_news:
            self._has_news = False
            self._shown_infos = MappingProxyType(dict(self._infos))
        if not self._has_moved:
            return
        self._has_moved = False
        captures = [known.capture for known in self._known.values() if known.capture is not None]
        captures.sort(key=_PID)
        noted = tuple(map(self._sharing.noted, captures))
        if len(noted) != len(self._processes) or not all(map(is_, noted, self._processes)):
            self._processes = noted


def _some(following: Iterator[Item], everything: Iterable[Item], count: int) -> tuple[Iterator[Item], list[Item]]:
    """The next few, from the start again once all had their turn; and what continues from there."""
    some = list(islice(following, count))
    if len(some) == count:
        return following, some
    following = iter(list(everything))
    return following, some + list(islice(following, count - len(some)))


_VOLATILE: Final = frozenset({"stat", "status", "statm"})


def is_as_before(before: ProcessCapture, now: ProcessCapture) -> bool:
    """Whether all is the same but what every process that runs changes: times, sizes, counts of switches."""
    return (
        before.table == now.table
        and before.tasks == now.tasks
        and before.files.keys() == now.files.keys()
        and all(raw == now.files[name] for name, raw in before.files.items() if name not in _VOLATILE)
        and _identity(before) == _identity(now)
    )


def _identity(capture: ProcessCapture) -> tuple[object, ...]:
    """Start time and user."""
    stat, status = capture.files.get("stat"), capture.files.get("status")
    fields = stat.rpartition(b")")[2].split(b" ", 21) if isinstance(stat, bytes) else stat
    start = fields[20:21] if isinstance(fields, list) else fields
    user = status[(at := status.find(b"\nUid:")) : status.find(b"\n", at + 1)] if isinstance(status, bytes) else status
    return start, user
