"""A pid that is used again between two looks, in a pid namespace of its own: `unshare -pf --mount-proc python -m
tests.scan.reuse`. Prints what a scan that remembers saw, as JSON.
"""

import json
import os
import signal
import socket
import sys
from pathlib import Path

from heaptop.scan._clocks import ProcClocks
from heaptop.scan._scan import run_times
from heaptop.scan.chunks import Chunks
from heaptop.scan.incremental import IncrementalScan
from heaptop.scan.proc import ProcScan
from tests.scan.churn import NOTHING_ROUND, PREFIX
from tests.scan.listed import ListedClocks

PID = 300
LOOKS_MAX = 20


def start(name: str) -> None:
    """A process of that pid that holds one buffer of that name."""
    Path("/proc/sys/kernel/ns_last_pid").write_text(str(PID - 1))
    here, there = socket.socketpair()
    pid = os.fork()
    if pid == 0:
        os.ftruncate(os.memfd_create(f"dmabuf-{name}"), 4096)
        there.send(b".")
        signal.pause()
    here.recv(1)
    here.close()
    there.close()
    assert pid == PID


def end() -> None:
    os.kill(PID, signal.SIGKILL)
    os.waitpid(PID, 0)


def seen(scan: IncrementalScan) -> list[str]:
    return [link.target.decode() for each in scan.look().processes if each.pid == PID for link in each.table.links]


def scan_of(*, is_time_told: bool) -> IncrementalScan:
    """Without a time told, all run as long as all others do: what cannot be, so that it is the worst case."""
    scan = ProcScan(is_buffer=lambda link: link.startswith(PREFIX), needle=PREFIX)
    chunks = Chunks(scan, prefixes=(PREFIX,), stand_ins=True)
    if is_time_told:
        return IncrementalScan(chunks, ProcClocks(scan.root), NOTHING_ROUND)
    return IncrementalScan(chunks, ListedClocks(scan.pids, lambda pids: [1 for _ in pids]))


def main() -> None:
    quick, slow = scan_of(is_time_told=True), scan_of(is_time_told=False)
    start("first")
    first = seen(quick)
    seen(slow)
    (before,) = run_times([PID])
    end()
    start("second")
    (after,) = run_times([PID])
    second = seen(quick)
    looks = next((number for number in range(1, LOOKS_MAX) if seen(slow) == second), None)
    end()
    json.dump(
        {"first": first, "second": second, "gone": seen(quick), "times": [before, after], "looks": looks}, sys.stdout
    )


if __name__ == "__main__":
    main()
