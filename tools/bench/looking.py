"""A kernel backend to which the workload's files are dma-bufs, and heaptop's command line with it."""

import os
import sys
from typing import Any

from heaptop.backend import select
from heaptop.backend.kernel import KernelBackend
from heaptop.cli.main import main as run
from heaptop.scan._clocks import ProcClocks
from heaptop.scan.bpf_chunks import BpfChunks
from heaptop.scan.bpf_here import make, memory_files
from heaptop.scan.chunks import Chunks
from heaptop.scan.incremental import Clocks, IncrementalScan
from heaptop.scan.proc import ProcScan
from tools.bench.workload import PREFIX


def backend(session: int | None = None, *, bpf: bool = True, **ways: bool) -> KernelBackend:
    """A new one; of the processes of one session alone, where given. By `bpf` where that is to be had; `ways` as `Look`
    has them.
    """
    prefix = PREFIX.encode()
    scan = ProcScan(is_buffer=lambda link: link.startswith(prefix), needle=prefix)
    options: dict[str, Any] = {"prefixes": (prefix,), "stand_ins": True, **ways}
    if bpf:
        stand_ins = memory_files(prefix.removeprefix(b"/memfd:"))
        chunks: Chunks = BpfChunks(scan, make=lambda: make(stand_ins), **options)
    else:
        chunks = Chunks(scan, **options)
    clocks = ProcClocks(scan.root)
    if session is None:
        return KernelBackend(holders=IncrementalScan(chunks, clocks))
    chosen = frozenset(pid for pid in scan.pids() if _session_of(pid) == session)
    return KernelBackend(holders=IncrementalScan(chunks, _Chosen(clocks, chosen)))


class _Chosen:
    """The clocks of some processes."""

    def __init__(self, clocks: Clocks, pids: frozenset[int]) -> None:
        self._clocks = clocks
        self._pids = pids

    def look(self) -> tuple[list[int], list[int], int]:
        ran, ended, _ = self._clocks.look()
        return [pid for pid in ran if pid in self._pids], [pid for pid in ended if pid in self._pids], len(self._pids)


def _session_of(pid: int) -> int | None:
    try:
        return os.getsid(pid)
    except OSError:
        return None


def main(arguments: list[str]) -> int:
    """Run heaptop with these arguments."""
    select._kernel = lambda _root, off: backend(bpf="bpf" not in off)  # type: ignore[assignment]  # noqa: SLF001
    return run(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
