"""Who holds buffers: by the compiled pass where there is one and it will do, else by its plain twin."""

import os
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from heaptop.capture import BufferInfo, ProcessCapture
from heaptop.scan.patience import TIMEOUT_S, Patience
from heaptop.scan.proc import DMABUF_LINKS, ProcScan, silent
from heaptop.scan.sharing import with_sharing

if TYPE_CHECKING:
    from heaptop.scan.chunks import Chunks

PLAIN: Final = "plain Python"
BTF: Final = "/sys/kernel/btf/vmlinux"
"""Without it there are no programs to be made."""


class Seen(NamedTuple):
    """What one look showed: as in a `Capture`."""

    processes: tuple[ProcessCapture, ...]
    infos: Mapping[int, BufferInfo]
    processes_seen: int


class Way(NamedTuple):
    """How processes are looked at, in a word or two; and why not by a quicker way that was tried ("" for none)."""

    name: str
    why: str = ""


class Holders(Protocol):
    """A way of looking at all processes."""

    @property
    def way(self) -> Way:
        """How they are looked at."""

    def close(self) -> None:
        """Let go of what it holds in the kernel. May be called twice."""

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

    @property
    def way(self) -> Way:
        """See `Holders`."""
        return Way(PLAIN)

    def attend(self, pids: Iterable[int] | None = None) -> None:
        """It always does."""

    def close(self) -> None:
        """It holds nothing."""

    def look(self) -> Seen:
        """See `Holders`."""
        pids = self._scan.pids()
        found, hanging = self._patience.each(pids)
        processes = [process for process in found.values() if process is not None]
        processes += map(silent, hanging)
        processes.sort(key=lambda process: process.pid)
        shown = with_sharing(processes) if self._scan.root == "/proc" else tuple(processes)
        return Seen(shown, MappingProxyType({}), len(pids))


def find_holders(scan: ProcScan, timeout_s: float = TIMEOUT_S, prefixes: tuple[bytes, ...] = DMABUF_LINKS) -> Holders:
    """The quickest way of those that find what `scan` finds: links that begin with one of `prefixes`."""
    chunks = find_chunks(scan, timeout_s, prefixes)
    if chunks is None:
        return PlainHolders(scan, timeout_s)
    from heaptop.scan._clocks import ProcClocks  # noqa: PLC0415
    from heaptop.scan.incremental import IncrementalScan  # noqa: PLC0415

    return IncrementalScan(chunks, ProcClocks(scan.root))


def find_chunks(
    scan: ProcScan,
    timeout_s: float = TIMEOUT_S,
    prefixes: tuple[bytes, ...] = DMABUF_LINKS,
    *,
    is_worth_it: bool = False,
) -> "Chunks | None":
    """The compiled look, by BPF where this kernel may have what that takes and dma-bufs alone are wanted; None where
    there is none that will do. `is_worth_it`: programs are made for the first process already.
    """
    if scan.root != "/proc" or scan.off & {"fd", "fdinfo", "tasks"}:
        return None
    try:
        from heaptop.scan.chunks import Chunks  # noqa: PLC0415  (there may be no compiled part)

        if prefixes != DMABUF_LINKS or scan.off & {"bpf", "maps"} or not os.path.exists(BTF):
            return Chunks(scan, timeout_s, prefixes=prefixes)
        from heaptop.scan.bpf_chunks import BpfChunks  # noqa: PLC0415
    except ImportError:
        return None
    return BpfChunks(scan, timeout_s, worth=0) if is_worth_it else BpfChunks(scan, timeout_s)
