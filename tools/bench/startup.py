"""What heaptop costs before it looks, and when nothing is there to see."""

import os
import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from typing import Final

from tools.bench import cpu
from tools.bench.rows import Row, at_most, plain

TITLE = "Start"
ROUNDS: Final = 15
HEAPTOP: Final = os.path.join(os.path.dirname(sys.executable), "heaptop")


def rows() -> Iterator[Row]:
    """Bare Python, and a list verb over an empty root: its start and its output, without a scan."""
    with tempfile.TemporaryDirectory() as root:
        os.mkdir(os.path.join(root, "proc"))
        verb = [HEAPTOP, "heaps", "--json", "-b", "kernel", "--root", root]
        used = cpu.in_turns(
            {
                "python": partial(cpu.command, [sys.executable, "-c", "pass"]),
                "heaps": partial(cpu.command, verb),
            },
            ROUNDS,
        )
    python, heaps = used["python"], used["heaps"]
    yield plain("python -c pass", python.cpu_ms, "ms", peak_bytes=python.peak_bytes)
    yield at_most("heaptop heaps --json, all but the scan", heaps.cpu_ms, 60, "ms", peak_bytes=heaps.peak_bytes)
