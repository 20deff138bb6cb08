"""Looking at all processes again and again, at the price of what changed.

A process can change its descriptors and mappings only by running, and the kernel tells for how long it has run
(`Clocks`). So a process is looked at again when it, or one that shares its table or memory, has run; and each buffer
that such a process holds, or held, is asked once, by one descriptor, since its name and count are the same through all.
What that misses (a reference in flight is dropped, a driver lets go) is found by asking some of the others each time,
round and round.

Flags of descriptors, libraries and private mappings are found by a close look alone, which costs half as much again. So
only those whose details are shown are always looked at closely; others when it is their turn. What a close look found
holds for the descriptors that are still the same ones.
"""

import re
from collections.abc import Collection, Iterable, Iterator
from collections.abc import Set as AbstractSet
from itertools import islice
from types import MappingProxyType
from typing import Final, NamedTuple, Protocol, TypeVar

from heaptop.capture import NOTHING, BufferInfo, ProcessCapture
from heaptop.changes import Kept, Rows
from heaptop.scan._reader import LATER
from heaptop.scan.chunks import LIBRARIES, MAPS, Chunks
from heaptop.scan.holders import Seen, Way
from heaptop.scan.refs import Ref, Refs, refs_of
from heaptop.scan.sharing import Sharing

Item = TypeVar("Item")


class Rounds(NamedTuple):
    """How many are asked without a reason of their own: processes (closely) and buffers, by turns, and each time
    processes whose details the first look left out (all of it at once would make that slow; it leaves out nothing where
    that is 0).
    """

    processes: int = 1
    buffers: int = 100
    details: int = 300


ROUNDS: Final = Rounds()

_PRIVATE: Final = re.compile(rb"^[^ \n]+ ...p ", re.MULTILINE)


class Clocks(Protocol):
    """All processes, as far as they have run. The kernel tells for how long each has, in nanoseconds.

    It counts a turn on a CPU at a tick of the clock or when it ends (kernel/sched/cputime.c thread_group_cputime brings
    the caller's own up to date alone). So what a process does while it is looked at can be left to the next look.
    """

    def look(self) -> tuple[list[int], list[int], int]:
        """Who has run since the look before, or is new; who has ended; and how many there are. One that may not be
        asked for how long it has run counts as one that has.

        Raises:
            OSError: they cannot be listed.
        """


class _Known:
    """A process as it was when it was last looked at. `held` is one descriptor of each buffer, None where it has a
    mapping alone.
    """

    __slots__ = ("capture", "held")

    def __init__(self, capture: ProcessCapture | None, held: Refs = NOTHING) -> None:
        self.capture = capture
        self.held = held


class IncrementalScan:
    """Looks at one proc file system. `look` is for one thread at a time."""

    def __init__(self, chunks: Chunks, clocks: Clocks, rounds: Rounds = ROUNDS) -> None:
        self._rounds = rounds
        self._chunks = chunks
        self._clocks = clocks
        self._sharing = Sharing()
        self._known: dict[int, _Known] = {}
        self._closely: set[int] = set()
        self._all_closely = False
        self._waiting: set[int] = set()
        self._hurried: set[int] = set()
        self._holders: dict[int, set[int]] = {}
        self._asked: dict[int, Ref] = {}
        self._infos: Kept[int, BufferInfo] = Kept()
        self._moved: set[int] = set()
        self._shown: Rows[int, ProcessCapture] = Rows()
        self._is_turn_of_buffers = False
        self._next_processes: Iterator[int] = iter(())
        self._next_buffers: Iterator[int] = iter(())

    @property
    def way(self) -> Way:
        """See `Holders`."""
        return self._chunks.way

    def close(self) -> None:
        """See `Holders`."""
        self._chunks.close()

    def attend(self, pids: Iterable[int] | None = None) -> None:
        """From the next look on, look closely at these processes (at all, where None is given)."""
        if pids is None:
            self._all_closely = True
        else:
            new = set(pids) - self._closely
            self._closely |= new
            self._waiting |= new

    def look(self) -> Seen:
        """All processes, as they are now.

        Raises:
            OSError: proc cannot be listed.
        """
        ran, ended, count = self._clocks.look()
        is_first = not self._known and self._rounds.details > 0
        touched = self._forget(ended)
        self._waiting |= self._sharing.together(ran)
        self._is_turn_of_buffers = not self._is_turn_of_buffers
        processes, buffers = (0, self._rounds.buffers) if self._is_turn_of_buffers else (self._rounds.processes, 0)
        self._next_processes, in_turn = _some(self._next_processes, self._known, processes)
        closely = {pid for pid in in_turn if pid in self._known}
        touched |= self._look_at((self._waiting & self._known.keys()).union(ran, closely), closely, hurried=is_first)
        if not is_first and self._hurried:
            self._complete()
        self._next_buffers, some = _some(self._next_buffers, self._infos.all(), buffers)
        lost = self._refresh(touched.union(some))
        # A name can have been changed by the last descriptor, and mappings that were looked at before have the old one.
        again = {pid for inode in lost for pid in self._holders.get(inode, ())}
        self._look_at(again)
        self._moved |= self._sharing.settle()
        self._show()
        return Seen(self._shown.all(), self._infos.all(), count)

    def _look_at(
        self, pids: AbstractSet[int], in_turn: AbstractSet[int] = frozenset(), *, hurried: bool = False
    ) -> set[int]:
        """The buffers that these processes hold, or held before. Who is `in_turn` is looked at closely, this once. One
        in which a look hangs waits for the next one.
        """
        touched: set[int] = set()
        self._waiting |= pids
        for closely in (False, True):
            chosen = sorted(pid for pid in pids if closely == (self._is_close(pid) or pid in in_turn))
            is_hurried = hurried and not closely
            for pid, capture, table in self._chunks.each(chosen, complete=closely, hurried=is_hurried):
                self._waiting.discard(pid)
                (self._hurried.add if is_hurried and capture is not None else self._hurried.discard)(pid)
                touched |= self._note(pid, capture, is_close=closely)
                self._sharing.note(pid, self._known[pid].capture, table or None)
        return touched

    def _is_close(self, pid: int) -> bool:
        """Whether every look at a process is a close one: where its details are shown, or only such a look finds all
        that it holds.
        """
        known = self._known.get(pid)
        return self._all_closely or pid in self._closely or (known is not None and has_private(known.capture))

    def _complete(self) -> None:
        """Read some of the details that the first look left out: of processes that have not run since."""
        for pid, texts in self._chunks.details(sorted(self._hurried)[: self._rounds.details]).items():
            self._hurried.discard(pid)
            known = self._known[pid]
            if known.capture is not None:
                files = {name: raw for name, raw in known.capture.files.items() if name != LATER}
                known.capture = known.capture._replace(files=MappingProxyType({**files, **texts}))
                self._moved.add(pid)

    def _note(self, pid: int, capture: ProcessCapture | None, *, is_close: bool) -> set[int]:
        before = self._known.get(pid) or _Known(None)
        if before.capture is not None and capture is not None:
            capture = capture if is_close else with_close_look(before.capture, capture)
            if is_as_before(before.capture, capture):
                return set(before.held)
        held = {} if capture is None else refs_of(capture)
        if capture is not before.capture:
            self._moved.add(pid)
        self._let_go(pid, before.held, held)
        for inode in held.keys() - before.held.keys():
            self._holders.setdefault(inode, set()).add(pid)
        self._known[pid] = _Known(capture, held)
        return {*before.held, *held}

    def _forget(self, pids: Iterable[int]) -> set[int]:
        touched: set[int] = set()
        for pid in pids:
            known = self._known.pop(pid, _Known(None))
            self._moved.add(pid)
            self._closely.discard(pid)
            self._waiting.discard(pid)
            self._hurried.discard(pid)
            touched.update(known.held)
            self._let_go(pid, known.held, NOTHING)
            self._sharing.note(pid, None)
        return touched

    def _let_go(self, pid: int, before: Refs, now: Refs) -> None:
        """Forget who holds what by which descriptor, as far as that is over."""
        for inode, ref in before.items():
            if inode not in now:
                holders = self._holders[inode]
                holders.discard(pid)
                if not holders:
                    del self._holders[inode]
            if now.get(inode) != ref and self._asked.get(inode) == ref:
                del self._asked[inode]

    def _refresh(self, inodes: Iterable[int]) -> list[int]:
        """Ask each of these buffers by one of its descriptors. Returns those that have none any more."""
        lost = []
        failed: dict[int, list[Ref]] = {}
        waiting = list(inodes)
        while waiting:
            asked = []
            for inode in waiting:
                ref = self._ref(inode, failed.get(inode, ()))
                if ref is not None:
                    asked.append((*ref, inode))
                elif self._infos.get(inode) is not None:
                    self._infos.put(inode, None)
                    lost.append(inode)
            waiting = []
            asked.sort()
            for (pid, tid, fd, inode), raw in zip(asked, self._chunks.infos(asked), strict=True):
                if raw is not None:
                    self._infos.put(inode, BufferInfo(pid, tid or None, fd, raw))
                else:
                    failed.setdefault(inode, []).append(Ref(pid, tid, fd))
                    waiting.append(inode)
        return lost

    def _ref(self, inode: int, failed: Collection[Ref]) -> Ref | None:
        """By which descriptor to ask a buffer: the one of last time, else any that did not fail."""
        ref = self._asked.get(inode)
        if ref is not None and ref not in failed:
            return ref
        for pid in sorted(self._holders.get(inode, ())):
            ref = self._known[pid].held[inode]
            if ref is not None and ref not in failed:
                self._asked[inode] = ref
                return ref
        self._asked.pop(inode, None)
        return None

    def _show(self) -> None:
        """Put together what is handed over: the very same objects where nothing changed."""
        for pid in self._moved:
            known = self._known.get(pid)
            capture = None if known is None else known.capture
            self._shown.put(pid, None if capture is None else self._sharing.noted(capture))
        self._moved.clear()


def _some(following: Iterator[Item], everything: Iterable[Item], count: int) -> tuple[Iterator[Item], list[Item]]:
    """The next few, from the start again once all had their turn; and what continues from there."""
    some = list(islice(following, count))
    if len(some) == count:
        return following, some
    following = iter(list(everything))
    return following, some + list(islice(following, count - len(some)))


_VOLATILE: Final = frozenset({"stat", "status", "statm"})
_SAME: Final = ("comm", "cmdline")
"""What another program has otherwise, as a rule."""


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


def with_close_look(before: ProcessCapture, now: ProcessCapture) -> ProcessCapture:
    """What a process was seen to have, with what a close look before found, as far as that still holds: the libraries
    of a program that is the same, the fdinfo of descriptors that are.
    """
    libraries = before.files.get(LIBRARIES)
    if (
        libraries is None
        or MAPS not in now.files
        or any(before.files.get(name) != now.files.get(name) for name in _SAME)
    ):
        return now
    links = set(before.table.links)
    kept = {link.fd: raw for link in now.table.links if link in links and (raw := before.table.fdinfo.get(link.fd))}
    return now._replace(
        files=MappingProxyType({**now.files, LIBRARIES: libraries}),
        table=now.table._replace(fdinfo=MappingProxyType({**kept, **now.table.fdinfo})),
    )


def has_private(capture: ProcessCapture | None) -> bool:
    """Whether it has a private mapping of a buffer, which only a close look finds."""
    text = None if capture is None else capture.files.get(MAPS)
    return isinstance(text, bytes) and _PRIVATE.search(text) is not None
