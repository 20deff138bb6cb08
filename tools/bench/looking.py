"""A kernel backend to which the workload's files are dma-bufs, and heaptop's command line with it."""

import os
import sys

from heaptop.backend import select
from heaptop.backend.kernel import KernelBackend
from heaptop.cli.main import main as run
from heaptop.scan.chunks import Chunks
from heaptop.scan.incremental import IncrementalScan
from heaptop.scan.proc import ProcScan
from tools.bench.workload import PREFIX


def backend(session: int | None = None, **ways: bool) -> KernelBackend:
    """A new one; of the processes of one session alone, where given. `ways` as `Look` has them."""
    prefix = PREFIX.encode()
    scan = ProcScan(is_buffer=lambda link: link.startswith(prefix), needle=prefix)
    chunks = Chunks(scan, prefixes=(prefix,), stand_ins=True, **ways)
    if session is None:
        return KernelBackend(holders=IncrementalScan(chunks, scan.pids))
    chosen = {pid for pid in scan.pids() if _session_of(pid) == session}
    return KernelBackend(holders=IncrementalScan(chunks, lambda: [pid for pid in scan.pids() if pid in chosen]))


def _session_of(pid: int) -> int | None:
    try:
        return os.getsid(pid)
    except OSError:
        return None


def main(arguments: list[str]) -> int:
    """Run heaptop with these arguments."""
    select._kernel = lambda _root, _off: backend()  # type: ignore[assignment]  # noqa: SLF001
    return run(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
