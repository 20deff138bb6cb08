"""Captures without the sources that were switched off, for backends that have theirs whole."""

from types import MappingProxyType

from heaptop.capture import Capture, FdTable, ProcessCapture
from heaptop.sources import PROCESSES, source_of


class Chosen:
    """The same for captures one after the other: of an object that is the very same as before, the result is, too."""

    def __init__(self, off: frozenset[str]) -> None:
        self._off = off
        self._last: tuple[Capture, Capture] | None = None
        self._processes: dict[int, tuple[ProcessCapture, ProcessCapture]] = {}

    def of(self, capture: Capture) -> Capture:
        """The capture without the sources that are off."""
        if not self._off:
            return capture
        if self._last is None or self._last[0] is not capture:
            before, self._processes = self._processes, {}
            for process in capture.processes if not self._off >= PROCESSES else ():
                known = before.get(process.pid)
                is_same = known is not None and known[0] is process
                self._processes[process.pid] = known if known and is_same else (process, _process(process, self._off))
            made = without(capture._replace(processes=()), self._off)
            self._last = capture, made._replace(processes=tuple(made for _, made in self._processes.values()))
        return self._last[1]


def without(capture: Capture, off: frozenset[str]) -> Capture:
    """The capture as a kernel would have given it with these sources off."""
    if not off:
        return capture
    is_pass = not off >= PROCESSES
    return capture._replace(
        files=MappingProxyType({path: raw for path, raw in capture.files.items() if source_of(path) not in off}),
        links=MappingProxyType({path: raw for path, raw in capture.links.items() if source_of(path) not in off}),
        processes=tuple(_process(process, off) for process in capture.processes) if is_pass else (),
        processes_seen=capture.processes_seen if is_pass else None,
        off=capture.off | off,
        infos=capture.infos if is_pass and "fdinfo" not in off else MappingProxyType({}),
        older=MappingProxyType({path: seen for path, seen in capture.older.items() if source_of(path) not in off}),
    )


def _process(process: ProcessCapture, off: frozenset[str]) -> ProcessCapture:
    files = {name: raw for name, raw in process.files.items() if name.partition(".")[0] not in off}
    tasks = () if "tasks" in off else tuple(task._replace(table=_table(task.table, off)) for task in process.tasks)
    return ProcessCapture(process.pid, MappingProxyType(files), _table(process.table, off), tasks)


def _table(table: FdTable, off: frozenset[str]) -> FdTable:
    return FdTable(
        links=() if "fd" in off else table.links,
        fdinfo=MappingProxyType({}) if "fdinfo" in off else table.fdinfo,
        error=None if off >= {"fd", "fdinfo"} else table.error,
    )
