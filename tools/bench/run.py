"""Programs under `heaptop run`: how many buffers a second, and what the filter costs where it has nothing to do.

All processes (the program, the supervisor, the emulator) share one processor, and what counts is the time that they ran
on it, so a busy machine matters less.
"""

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from heaptop_emulator import shared
from tools.bench.rows import Row, absent, at_least, at_most, plain

TITLE: Final = "A program under `heaptop run`, all on one processor"
_SOURCE: Final = Path(__file__).with_name("run_client.c")
_ROUNDS: Final = 5
_ALLOCATIONS: Final = 4000
_CALLS: Final = 1_000_000
_LIMIT_PER_S: Final = 8000
_LIMIT_NS: Final = 150


def rows() -> Iterator[Row]:
    """Allocation, with and without call sites; then calls that the filter lets pass."""
    if shutil.which("gcc") is None:
        yield absent("allocate and free 64 KiB", "needs gcc")
        return
    with tempfile.TemporaryDirectory() as folder:
        program = f"{folder}/client"
        subprocess.run(["gcc", "-O2", "-o", program, str(_SOURCE)], check=True)
        with _client(folder, program) as native:
            without = {call: min(native.ask(call, _CALLS) for _ in range(_ROUNDS)) for call in ("getppid", "ioctl")}
        run = (sys.executable, "-m", "heaptop", "run", "-q")
        with _client(folder, *run, "--no-stacks", "--", program) as client:
            yield at_least("allocate and free 64 KiB", _per_s(client), _LIMIT_PER_S, "/s")
            for call, what in (("getppid", "another system call"), ("ioctl", "another ioctl")):
                added_s = min(client.ask(call, _CALLS) for _ in range(_ROUNDS)) - without[call]
                yield at_most(f"the filter, for {what}", added_s / _CALLS * 1e9, _LIMIT_NS, "ns")
        with _client(folder, *run, "--", program) as client:
            yield plain("the same, with call sites", _per_s(client), "/s", note="of 500 a second after the first 4000")


@dataclass(frozen=True)
class _Client:
    """The program, and whom else it keeps busy."""

    process: "subprocess.Popen[str]"
    others: tuple[int, ...]

    def ask(self, what: str, count: int) -> float:
        """Its own CPU time for so many calls, in seconds."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{what} {count}\n")
        self.process.stdin.flush()
        return float(self.process.stdout.readline())


@contextlib.contextmanager
def _client(folder: str, *command: str) -> Iterator[_Client]:
    """Start it, with an emulator of its own where it is run by heaptop."""
    processor = str(max(os.sched_getaffinity(0)))
    environment = {**os.environ, "XDG_RUNTIME_DIR": folder}
    pipe = subprocess.PIPE
    with subprocess.Popen(
        ["taskset", "-c", processor, *command], stdin=pipe, stdout=pipe, text=True, env=environment
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        others: tuple[int, ...] = ()
        if len(command) > 1:
            with shared.connect(f"{folder}/heaptop") as emulator:
                others = (_child_of(process.pid), emulator.about().pid)
        yield _Client(process, others)
        process.communicate("")
    shared.stop(f"{folder}/heaptop")


def _per_s(client: _Client) -> float:
    """Buffers for each second that all of them ran: the best round's."""
    best = 0.0
    for _ in range(_ROUNDS):
        before = sum(map(_ran_s, client.others))
        own_s = client.ask("alloc", _ALLOCATIONS)
        best = max(best, _ALLOCATIONS / (own_s + sum(map(_ran_s, client.others)) - before))
    return best


def _ran_s(pid: int) -> float:
    with open(f"/proc/{pid}/schedstat", encoding="ascii") as file:
        return int(file.read().split()[0]) * 1e-9


def _child_of(pid: int) -> int:
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
        return int(file.read().split()[0])
