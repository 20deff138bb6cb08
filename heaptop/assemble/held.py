"""Who holds what, kept up to date."""

from bisect import insort
from collections import Counter
from collections.abc import Callable, Mapping
from operator import attrgetter

from heaptop.assemble import processes
from heaptop.assemble.parts import Holding
from heaptop.assemble.processes import Device, View
from heaptop.assemble.troubles import Odd, is_odd
from heaptop.capture import ProcessCapture
from heaptop.changes import Rows, changed_items
from heaptop.compiled import compiled

_quick = compiled("heaptop.assemble._quick")
_PID = attrgetter("pid")

Held = Mapping[int, tuple[Holding, ...]]
"""How processes hold each buffer, by inode, in the order of pids."""


class HeldReader:
    """Reads captures one after the other; a process that is the very same object as before is not read again."""

    def __init__(self) -> None:
        self._processes: tuple[ProcessCapture, ...] = ()
        self._views: Rows[int, View] = Rows()
        self._odd: Rows[int, tuple[ProcessCapture, View]] = Rows()
        self.page_votes: Counter[int | None] = Counter()
        """How many processes tell each page size, or none."""
        self._devices: Counter[Device] = Counter()
        self._known_devices: frozenset[Device] = frozenset()
        self._mine: dict[int, dict[int, Holding]] = {}
        self._held: Held = {}

    def read(self, captured: tuple[ProcessCapture, ...]) -> Held:
        """All that is held; the very same object while nothing changes."""
        changed = {pid: now for pid, _, now in changed_items(self._processes, captured, _PID)}
        self._processes = captured
        for pid, process in changed.items():
            self._look(pid, process)
        devices = frozenset(self._devices)
        again = changed.keys() if devices == self._known_devices else {*changed, *self._mine}
        self._known_devices = devices
        if again:
            held = dict(self._held)
            if sum([self._hold(pid, held) for pid in sorted(again)]):
                self._held = held
        return self._held

    @property
    def views(self) -> tuple[View, ...]:
        """What each process tells, by pid; the very same object while nothing changes."""
        return self._views.all()

    @property
    def odd(self) -> Odd:
        """Those of which there is a trouble to tell; the very same object while nothing changes."""
        return self._odd.all()

    def _look(self, pid: int, process: ProcessCapture | None) -> None:
        before = self._views.get(pid)
        view = None if process is None else processes.view(process)
        for one, count in ((before, -1), (view, 1)):
            if one is not None:
                self.page_votes[one.page_bytes] += count
                for device in one.devices:
                    self._devices[device] += count
                    if not self._devices[device]:
                        del self._devices[device]
        self._views.put(pid, view)
        self._odd.put(
            pid, (process, view) if process is not None and view is not None and is_odd(process, view) else None
        )

    def _hold(self, pid: int, held: dict[int, tuple[Holding, ...]]) -> bool:
        """Join what a process holds now. Whether that is another than before."""
        view = self._views.get(pid)
        before = self._mine.pop(pid, {})
        now = {} if view is None else processes.holdings(view, self._known_devices)
        is_other = (_join if _quick is None else _quick.join)(pid, now, before, held, _with)
        for inode in before:  # what is left, it let go
            is_other = True
            held[inode] = tuple([one for one in held[inode] if _pid(one) != pid])
            if not held[inode]:
                del held[inode]
        if view is not None:
            self._mine[pid] = now
        return is_other


def _join(
    pid: int,
    now: dict[int, Holding],
    before: dict[int, Holding],
    held: dict[int, tuple[Holding, ...]],
    with_one: Callable[[tuple[Holding, ...], int, Holding], tuple[Holding, ...]],
) -> bool:
    """Put what a process holds now into what all hold, unless it held the same before, which is taken out of `before`.
    Whether anything was put.
    """
    is_other = False
    for inode, holding in now.items():
        if before.pop(inode, None) != holding:
            is_other = True
            held[inode] = with_one(held.get(inode, ()), pid, holding)
    return is_other


def _pid(holding: Holding) -> int:
    return holding.holder.process.pid


def _with(holdings: tuple[Holding, ...], pid: int, holding: Holding) -> tuple[Holding, ...]:
    """The holdings with this one in its place."""
    if not holdings or _pid(holdings[-1]) < pid:
        return (*holdings, holding)
    others = [one for one in holdings if _pid(one) != pid]
    insort(others, holding, key=_pid)
    return tuple(others)
