"""The whole program on some processes, whose memfds named `dmabuf-…` stand for buffers: `python -m tests.scan.whole
PID,PID… ARGUMENT…` (a `-` for all processes).
"""

import json
import subprocess
import sys
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

from heaptop.backend import select
from heaptop.backend.kernel import KernelBackend
from heaptop.cli.main import main as run
from heaptop.scan._clocks import ProcClocks
from heaptop.scan.incremental import IncrementalScan
from tests.scan.churn import chunks_of
from tests.scan.listed import ListedClocks

ROOT = Path(__file__).parent.parent.parent
TIMEOUT_S = 0.25
"""Rather than two seconds, so that tests are quick."""


def command(pids: Iterable[int] | None, *arguments: str) -> list[str]:
    """How to start it."""
    chosen = "-" if pids is None else ",".join(map(str, pids))
    return [sys.executable, "-m", __name__, chosen, *arguments]


def told(pids: Iterable[int] | None, *arguments: str) -> Any:
    """What it prints as JSON; None for all processes."""
    words = command(pids, *arguments, "--json", "-b", "kernel")
    done = subprocess.run(words, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True, timeout=60)
    return json.loads(done.stdout)


def backend_of(pids: Iterable[int] | None, timeout_s: float = TIMEOUT_S, *, bpf: bool = False) -> KernelBackend:
    """The kernel's, of these processes; None for all."""
    chunks = chunks_of(bpf=bpf, timeout_s=timeout_s)
    clocks = ProcClocks("/proc") if pids is None else ListedClocks(partial(sorted, pids))
    return KernelBackend(timeout_s=timeout_s, holders=IncrementalScan(chunks, clocks))


def main(chosen: str, arguments: list[str]) -> int:
    """Run heaptop with these arguments."""
    pids = None if chosen == "-" else list(map(int, chosen.split(",")))
    select._kernel = lambda _root, _off: backend_of(pids)  # type: ignore[assignment]
    return run(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
