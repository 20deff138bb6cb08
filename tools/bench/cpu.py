"""CPU time and peak memory of commands and of calls."""

import os
import resource
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any


@dataclass(frozen=True, slots=True)
class Used:
    """CPU time (user and system) and the most memory; a median where there were several rounds."""

    cpu_ms: float
    peak_bytes: int


def command(arguments: Sequence[str], env: Mapping[str, str] | None = None) -> Used:
    """Run a whole command, its output thrown away.

    Raises:
        subprocess.CalledProcessError: it was ended by a signal.
    """
    process = subprocess.Popen(
        arguments, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=env
    )
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode < 0:
        raise subprocess.CalledProcessError(process.returncode, arguments)
    return Used((usage.ru_utime + usage.ru_stime) * 1000, usage.ru_maxrss * 1024)


def call(work: Callable[[], Any]) -> float:
    """CPU milliseconds of one call, over all threads of this process."""
    began = time.process_time()
    work()
    return (time.process_time() - began) * 1000


def peak_bytes() -> int:
    """The most memory this process had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def in_turns(works: Mapping[str, Callable[[], Used | float]], rounds: int) -> dict[str, Used]:
    """Medians of several measurements that take turns, by name."""
    found: dict[str, list[Used]] = {name: [] for name in works}
    for _ in range(rounds):
        for name, work in works.items():
            used = work()
            found[name].append(used if isinstance(used, Used) else Used(used, 0))
    return {
        name: Used(median(used.cpu_ms for used in all_used), max(used.peak_bytes for used in all_used))
        for name, all_used in found.items()
    }
