"""Crowds of processes, as crowd.c makes them, and what looking at them costs.

`python -m tests.scan.crowd [--bpf] [COUNT]` (20,000 without) looks at several kinds of crowd, and prints the CPU time
of looks.
"""

import contextlib
import ctypes
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from heaptop.scan import patience
from heaptop.scan.incremental import IncrementalScan
from heaptop.session import Session
from tests.scan.churn import NOTHING_ROUND, chunks_of
from tests.scan.listed import ListedClocks

SOURCE = Path(__file__).with_name("crowd.c")
COUNT = 20_000
PR_SET_CHILD_SUBREAPER = 36

_libc = ctypes.CDLL(None, use_errno=True)


@cache
def program() -> str:
    """The crowd's, built.

    Raises:
        FileNotFoundError: there is no C compiler.
    """
    folder = Path(tempfile.mkdtemp(prefix="heaptop-crowd-"))
    built = folder / "crowd"
    subprocess.run(["cc", "-std=gnu11", "-O2", "-static", "-o", str(built), str(SOURCE)], check=True)
    return str(built)


def forget_program() -> None:
    """Take the built one away."""
    if program.cache_info().currsize:
        shutil.rmtree(Path(program()).parent)
        program.cache_clear()


@contextmanager
def standing(count: int, shared: str, buffers: int, every_us: int | None = None) -> Iterator[int]:
    """A crowd, until the end of the block; the pid of the parent of all."""
    words = [program(), str(count), shared, str(buffers), *([] if every_us is None else [str(every_us)])]
    with subprocess.Popen(words, stdout=subprocess.PIPE, start_new_session=True) as process:
        _libc.prctl(PR_SET_CHILD_SUBREAPER, 1)  # whose parent is killed is then waited for here
        try:
            assert process.stdout is not None
            pid = int(process.stdout.readline() or 0)
            if pid == 0:
                raise OSError("too many processes for this user")
            yield pid
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            with contextlib.suppress(ChildProcessError):
                while True:  # their pids are wanted again
                    os.waitpid(-process.pid, 0)
            _libc.prctl(PR_SET_CHILD_SUBREAPER, 0)


def pids_of(parent: int) -> list[int]:
    """All of a crowd, rising."""
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text()
    return sorted([parent, *map(int, children.split())])


def scan_of(parent: int, *, bpf: bool = False) -> IncrementalScan:
    """A scan of a crowd alone."""
    return IncrementalScan(chunks_of(bpf=bpf), ListedClocks(lambda: pids_of(parent)), NOTHING_ROUND)


def main(arguments: list[str]) -> int:
    from tests.scan.whole import backend_of

    bpf = "--bpf" in arguments
    count = next((int(each) for each in arguments if each != "--bpf"), COUNT)
    for shared, buffers, every_us in (
        ("-", 0, None),
        ("-", 4, None),
        ("f", 4, None),
        ("fm", 4, 100_000),
        ("-", 4, 2000),
    ):
        with standing(count, shared, buffers, every_us):
            session = Session(backend_of(None, patience.TIMEOUT_S, bpf=bpf), time.time)
            costs = []
            for _ in range(5):
                began = time.process_time()
                update = session.refresh()
                costs.append(f"{(time.process_time() - began) * 1000:.0f}")
            seen = len(update.snapshot.processes)
        sys.stdout.write(f"{count} {shared} {buffers} {every_us}: {' '.join(costs)} ms CPU; {seen} holders\n")
        sys.stdout.flush()
    forget_program()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
