"""Which of the processes that look alike have the very same thing: an fd table, a memory.

The kernel tells of two tasks how theirs compare (kcmp(2)), in an order that is total. So who looks alike is kept in
that order, and a process that has run since is put at its new place by few comparisons, however many there are.
"""

from bisect import bisect_left
from collections.abc import Callable, Hashable, Iterable

Compare = Callable[[int, int, int], int | None]
"""How what two tasks have (FILES or MEMORY) compares: below 0, 0 or above; None where that is not told."""


class _Same:
    """Processes that have the very same; `first` is the lowest of them when all was settled last."""

    __slots__ = ("first", "key", "pids")

    def __init__(self, key: Hashable, first: int) -> None:
        self.key = key
        self.first = first
        self.pids: set[int] = set()


class _UntoldError(Exception):
    """A process, or the one that it was compared to, of which nothing is told: it has ended, or may not be traced."""

    def __init__(self, pid: int) -> None:
        super().__init__(pid)
        self.pid = pid


class Alike:
    """Processes by what would be equal if they shared it: `note` what is new, then `settle`."""

    def __init__(self, what: int, compare: Compare) -> None:
        self._what = what
        self._compare = compare
        self._keys: dict[int, Hashable] = {}
        self._same: dict[int, _Same] = {}
        self._orders: dict[Hashable, list[_Same]] = {}
        self._waiting: dict[int, Hashable] = {}
        self._left: dict[int, _Same] = {}
        self.lower: dict[int, int] = {}
        """Of those that share with a process of a lower pid, the lowest of these."""

    def note(self, pid: int, key: Hashable | None) -> None:
        """A process as it is now; with None it has nothing to share."""
        same = self._same.get(pid)
        if self._keys.get(pid) == key and (same is None or self._is_alone(same)):
            return
        if same is not None:
            self._leave(pid, same)
        self._waiting.pop(pid, None)
        self._keys.pop(pid, None)
        if key is not None:
            self._keys[pid] = self._waiting[pid] = key

    def settle(self) -> set[int]:
        """Compare what was noted since. For whom `lower` has changed."""
        for key in {same.key for same in self._left.values()}:
            self._orders[key] = [same for same in self._orders[key] if same.pids]
        for pid, key in self._waiting.items():
            self._place(pid, key)
        placed = (self._same[pid] for pid in self._waiting if pid in self._same)
        affected = self._waiting.keys() | self._left.keys()
        for same in {*placed, *self._left.values()}:
            same.first = min(same.pids, default=same.first)
            affected |= same.pids
            if not self._orders.get(same.key, True):
                del self._orders[same.key]
        self._waiting = {}
        self._left = {}
        return {pid for pid in affected if self._tell(pid)}

    def together(self, pids: Iterable[int]) -> set[int]:
        """All that share with one of these."""
        found = {same for pid in pids if (same := self._same.get(pid)) is not None}
        return {pid for same in found if len(same.pids) > 1 for pid in same.pids}

    def _is_alone(self, same: _Same) -> bool:
        return len(same.pids) == 1 and len(self._orders[same.key]) == 1

    def _leave(self, pid: int, same: _Same) -> None:
        same.pids.discard(pid)
        self._left[pid] = self._same.pop(pid)

    def _place(self, pid: int, key: Hashable) -> None:
        order = self._orders.setdefault(key, [])
        while True:
            try:
                at = bisect_left(order, 0, key=lambda same: self._order(same, pid))
                is_there = at < len(order) and self._order(order[at], pid) == 0
                break
            except _UntoldError as untold:
                if self._compare(pid, pid, self._what) is None:
                    self._drop(pid, order)
                    return
                self._drop(untold.pid, order)
        if not is_there:
            order.insert(at, _Same(key, pid))
        order[at].pids.add(pid)
        self._same[pid] = order[at]

    def _drop(self, pid: int, order: list[_Same]) -> None:
        """Leave a process out until it is noted again."""
        del self._keys[pid]
        if (same := self._same.get(pid)) is not None:
            self._leave(pid, same)
            if not same.pids:
                order.remove(same)

    def _order(self, same: _Same, pid: int) -> int:
        """How what `same` have compares to what the process has."""
        one = next(iter(same.pids))
        answer = self._compare(one, pid, self._what)
        if answer is None:
            raise _UntoldError(one)
        return answer

    def _tell(self, pid: int) -> bool:
        """Whether something else is to be told of a process than before."""
        same = self._same.get(pid)
        lower = None if same is None or same.first == pid else same.first
        if self.lower.get(pid) == lower:
            return False
        if lower is None:
            del self.lower[pid]
        else:
            self.lower[pid] = lower
        return True
