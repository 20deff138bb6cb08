"""Processes that share an fd table or a memory (clone(2) with CLONE_FILES or CLONE_VM, vfork): what one holds, the
other holds too, by the very same reference.
"""

from collections.abc import Hashable, Iterable, Sequence
from types import MappingProxyType
from typing import Final

from heaptop.capture import ProcessCapture
from heaptop.scan.alike import Alike, Compare
from heaptop.scan.threads import FILES, MEMORY, compare

FD_SHARED: Final = "fd.shared"
MAPS_SHARED: Final = "maps.shared"
"""Files of a process's capture: the pid, lower than its own, of the process whose table or memory this is as well."""


def with_sharing(processes: Sequence[ProcessCapture], compared: Compare = compare) -> tuple[ProcessCapture, ...]:
    """The processes, with what they share noted. Only those that look alike are compared."""
    sharing = Sharing(compared)
    for process in processes:
        sharing.note(process.pid, process)
    sharing.settle()
    return tuple(map(sharing.noted, processes))


class Sharing:
    """Who shares what, kept up to date: `note` what is new, then `settle`."""

    def __init__(self, compared: Compare = compare) -> None:
        self._tables = Alike(FILES, compared)
        self._memories = Alike(MEMORY, compared)
        self._noted: dict[int, tuple[ProcessCapture, tuple[int | None, int | None], ProcessCapture]] = {}

    def note(self, pid: int, process: ProcessCapture | None, table: Hashable | None = None) -> None:
        """A process as it is now; None where it holds nothing, or has ended. Who shares its fd table has an equal
        `table`; where that is not given, what is held tells.
        """
        self._tables.note(pid, table or (None if process is None else _table(process)))
        self._memories.note(pid, None if process is None else _memory(process))
        if process is None:
            self._noted.pop(pid, None)

    def settle(self) -> set[int]:
        """Compare those that look alike since something was noted of them. Of whom something else is noted now."""
        return self._tables.settle() | self._memories.settle()

    def together(self, pids: Iterable[int]) -> set[int]:
        """These processes, and all that share with one of them."""
        found = set(pids)
        return found | self._tables.together(found) | self._memories.together(found)

    def noted(self, process: ProcessCapture) -> ProcessCapture:
        """The process with what it shares noted: the very same object while neither changes."""
        shared = self._tables.lower.get(process.pid), self._memories.lower.get(process.pid)
        if shared == (None, None):
            return process
        before = self._noted.get(process.pid)
        if before is not None and before[0] is process and before[1] == shared:
            return before[2]
        notes = {name: b"%d\n" % pid for name, pid in zip((FD_SHARED, MAPS_SHARED), shared, strict=True) if pid}
        noted = process._replace(files=MappingProxyType({**process.files, **notes}))
        self._noted[process.pid] = process, shared, noted
        return noted


def _table(process: ProcessCapture) -> Hashable | None:
    """The descriptors that are buffers; None where there is none."""
    held = tuple((link.fd, link.stat.inode) for link in process.table.links if link.stat is not None)
    return held or tuple(process.table.fdinfo) or None


def _memory(process: ProcessCapture) -> Hashable | None:
    """The text of its mappings; None where there are none of buffers."""
    return process.files.get("maps.buffers") or process.files.get("maps") or None
