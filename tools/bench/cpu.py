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
    """Run a whole command, its output thrown away. Its peak is 0 where it is no more than this process's own, which it
    was until it began.

    Raises:
        subprocess.CalledProcessError: it was ended by a signal.
    """
    cached = {name: value for name, value in (env or os.environ).items() if name != "PYTHONDONTWRITEBYTECODE"}
    process = subprocess.Popen(
        arguments, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=cached
    )
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode < 0:
        raise subprocess.CalledProcessError(process.returncode, arguments)
    peak = usage.ru_maxrss * 1024
    return Used((usage.ru_utime + usage.ru_stime) * 1000, peak if peak > peak_bytes() else 0)


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
