"""Processes that share an fd table or a memory (clone(2) with CLONE_FILES or CLONE_VM, vfork): what one holds, the
other holds too, by the very same reference.
"""

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Final

from heaptop.capture import ProcessCapture
from heaptop.scan.threads import FILES, MEMORY, sharers

FD_SHARED: Final = "fd.shared"
MAPS_SHARED: Final = "maps.shared"
"""Files of a process's capture: the pid, lower than its own, of the process whose table or memory this is as well."""


def with_sharing(
    processes: Sequence[ProcessCapture], sharers_of: Callable[[Iterable[int], int], dict[int, int]] = sharers
) -> tuple[ProcessCapture, ...]:
    """The processes, with what they share noted. Only those that look alike are compared."""
    tables = _found(processes, _table, FILES, sharers_of)
    memories = _found(processes, lambda process: process.files.get("maps") or None, MEMORY, sharers_of)
    return tuple(_noted(process, tables.get(process.pid), memories.get(process.pid)) for process in processes)


def _found(
    processes: Iterable[ProcessCapture],
    key: Callable[[ProcessCapture], Hashable],
    what: int,
    sharers_of: Callable[[Iterable[int], int], dict[int, int]],
) -> dict[int, int]:
    alike: dict[Hashable, list[int]] = {}
    for process in processes:
        alike.setdefault(key(process), []).append(process.pid)
    alike.pop(None, None)
    found: dict[int, int] = {}
    for pids in alike.values():
        if len(pids) > 1:
            found |= sharers_of(pids, what)
    return found


def _table(process: ProcessCapture) -> Hashable:
    """The descriptors that are buffers; None where there is none."""
    held = tuple((link.fd, link.stat.inode) for link in process.table.links if link.stat is not None)
    return held or tuple(process.table.fdinfo) or None


def _noted(process: ProcessCapture, table: int | None, memory: int | None) -> ProcessCapture:
    if table is None and memory is None:
        return process
    notes = {name: b"%d\n" % pid for name, pid in ((FD_SHARED, table), (MAPS_SHARED, memory)) if pid is not None}
    return replace(process, files=MappingProxyType({**process.files, **notes}))
