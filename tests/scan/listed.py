"""Processes that a test lists, where `ProcClocks` has all that there are; how long they have run may be made up."""

from collections.abc import Callable, Mapping

from heaptop.scan._scan import run_times


class ListedClocks:
    def __init__(
        self, pids: Callable[[], list[int]], run_times_of: Callable[[list[int]], list[int]] = run_times
    ) -> None:
        self._pids = pids
        self._run_times_of = run_times_of
        self._times: Mapping[int, int] = {}

    def look(self) -> tuple[list[int], list[int], int]:
        pids = self._pids()
        before, self._times = self._times, dict(zip(pids, self._run_times_of(pids), strict=True))
        ran = [pid for pid, time_ns in self._times.items() if before.get(pid) != time_ns or not time_ns]
        return ran, [pid for pid in before if pid not in self._times], len(pids)
