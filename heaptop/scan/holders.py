"""Who holds buffers: by the compiled pass where there is one and it will do, else by its plain twin."""

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import NamedTuple, Protocol

from heaptop.capture import BufferInfo, ProcessCapture
from heaptop.scan.patience import TIMEOUT_S, Patience
from heaptop.scan.proc import ProcScan, silent
from heaptop.scan.sharing import with_sharing


class Seen(NamedTuple):
    """What one look showed: as in a `Capture`."""

    processes: tuple[ProcessCapture, ...]
    infos: Mapping[int, BufferInfo]
    processes_seen: int


class Holders(Protocol):
    """A way of looking at all processes."""

    def attend(self, pids: Iterable[int] | None = None) -> None:
        """From the next look on, look closely at these processes (at all, where None is given)."""

    def look(self) -> Seen:
        """All processes, as they are now.

        Raises:
            OSError: proc cannot be listed.
        """


class PlainHolders:
    """Every process, each time, in full."""

    def __init__(self, scan: ProcScan, timeout_s: float = TIMEOUT_S) -> None:
        """A process is given up after `timeout_s`, as `Patience` does."""
        self._scan = scan
        self._patience = Patience(scan.process, timeout_s)

    def attend(self, pids: Iterable[int] | None = None) -> None:
        """It always does."""

    def look(self) -> Seen:
        """See `Holders`."""
        pids = self._scan.pids()
        found, hanging = self._patience.each(pids)
        processes = [process for process in found.values() if process is not None]
        processes += map(silent, hanging)
        processes.sort(key=lambda process: process.pid)
        shown = with_sharing(processes) if self._scan.root == "/proc" else tuple(processes)
        return Seen(shown, MappingProxyType({}), len(pids))


def find_holders(scan: ProcScan, timeout_s: float = TIMEOUT_S) -> Holders:
    """The quickest way of those that find what `scan` finds."""
    if scan.root != "/proc" or scan.off & {"fd", "fdinfo", "tasks"}:
        return PlainHolders(scan, timeout_s)
    try:
        from heaptop.scan._clocks import ProcClocks  # noqa: PLC0415
        from heaptop.scan.chunks import Chunks  # noqa: PLC0415  (there may be no compiled part)
        from heaptop.scan.incremental import IncrementalScan  # noqa: PLC0415
    except ImportError:
        return PlainHolders(scan, timeout_s)
    return IncrementalScan(Chunks(scan, timeout_s), ProcClocks(scan.root))
