"""The C programs of the benchmarks, built when they are first wanted, and the workload while something is measured."""

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

SOURCES: Final = Path(__file__).parent / "c"
BUILT: Final = Path("build/bench")
PREFIX: Final = "/memfd:dmabuf-"
"""How the links of what stands for a buffer begin."""


class Load(NamedTuple):
    """What a workload consists of, as workload.c takes it."""

    processes: int
    descriptors: int
    buffers: int
    references: int
    mapped_only: int
    mappings: int
    active_percent: int = 0
    active_ms: int = 100


LAPTOP: Final = Load(300, 30, 200, 500, 50, 150)
PHONE: Final = Load(900, 120, 3000, 8000, 800, 600)
STRESS: Final = Load(3000, 100, 20000, 60000, 4000, 200)


def program(name: str) -> str:
    """Path of a program of ours, built if it is older than its source.

    Raises:
        subprocess.CalledProcessError: the compiler refuses it, and has said why.
    """
    source, built = SOURCES / f"{name}.c", BUILT / name
    if not built.exists() or built.stat().st_mtime < source.stat().st_mtime:
        BUILT.mkdir(parents=True, exist_ok=True)
        flags = ["-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror"]
        subprocess.run([os.environ.get("CC", "cc"), *flags, "-o", str(built), str(source)], check=True)
    return str(built.absolute())


@contextmanager
def running(load: Load) -> Iterator[int]:
    """The workload, until the end of the block; its session, by which its processes are told.

    Raises:
        OSError: it does not stand: too many processes or files for this user.
    """
    process = subprocess.Popen(
        [program("workload"), *map(str, load)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        assert process.stdout is not None
        if process.stdout.readline() != b"ready\n":
            raise OSError("the workload did not start")
        yield process.pid
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
