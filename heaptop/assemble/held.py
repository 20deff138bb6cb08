"""Who holds what, kept up to date."""

from collections import Counter
from collections.abc import Mapping
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
        put: dict[int, list[Holding]] = {}
        gone: dict[int, set[int]] = {}
        for pid in sorted(again):
            self._hold(pid, put, gone)
        if put or gone:
            held = dict(self._held)
            for inode in put.keys() | gone.keys():
                held[inode] = _with(held.get(inode, ()), put.get(inode, []), gone.get(inode, set()))
                if not held[inode]:
                    del held[inode]
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

    def _hold(self, pid: int, put: dict[int, list[Holding]], gone: dict[int, set[int]]) -> None:
        """Note what a process holds in another way than before (`put`), and no more (`gone`), by inode."""
        view = self._views.get(pid)
        before = self._mine.pop(pid, {})
        now = {} if view is None else processes.holdings(view, self._known_devices)
        (_others if _quick is None else _quick.others)(now, before, put)
        for inode in before:  # what is left
            gone.setdefault(inode, set()).add(pid)
        if view is not None:
            self._mine[pid] = now


def _others(now: dict[int, Holding], before: dict[int, Holding], put: dict[int, list[Holding]]) -> None:
    """Put what is another than before, and take out of `before` all that there is now."""
    for inode, holding in now.items():
        if before.pop(inode, None) != holding:
            put.setdefault(inode, []).append(holding)


def _pid(holding: Holding) -> int:
    return holding.holder.process.pid


def _with(holdings: tuple[Holding, ...], put: list[Holding], gone: set[int]) -> tuple[Holding, ...]:
    """The holdings with these, which are in the order of pids, and without those of who is gone."""
    if not holdings or (not gone and _pid(holdings[-1]) < _pid(put[0])):
        return (*holdings, *put)
    gone = gone.union(map(_pid, put))
    kept = [one for one in holdings if _pid(one) not in gone]
    return tuple(sorted([*kept, *put], key=_pid))
