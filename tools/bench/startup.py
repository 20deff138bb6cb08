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
LIMIT_MS: Final = 60
TO_THE_SCAN: Final = """
import os, sys
from heaptop.__main__ import main
from heaptop.backend.kernel import KernelBackend
KernelBackend.capture = lambda backend: os._exit(0)
sys.exit(main())
"""
"""The command line, up to where the first look would begin."""


def rows() -> Iterator[Row]:
    """What of it is Python's own; then a list verb up to its scan, on this machine, and the whole of it over an empty
    root: its start and its output, without a scan.
    """
    verb = ["heaps", "--json", "-b", "kernel"]
    with tempfile.TemporaryDirectory() as root:
        os.mkdir(os.path.join(root, "proc"))
        commands = {
            "python -S -c pass": [sys.executable, "-S", "-c", "pass"],
            "python -c pass": [sys.executable, "-c", "pass"],
            "python -c 'import argparse, typing'": [sys.executable, "-c", "import argparse, typing"],
            "heaptop heaps --json, before the scan starts": [sys.executable, "-c", TO_THE_SCAN, *verb],
            "heaptop heaps --json, all but the scan": [HEAPTOP, *verb, "--root", root],
        }
        used = cpu.in_turns({name: partial(cpu.command, words) for name, words in commands.items()}, ROUNDS)
    for name, one in used.items():
        if name.startswith("heaptop"):
            yield at_most(name, one.cpu_ms, LIMIT_MS, "ms", peak_bytes=one.peak_bytes)
        else:
            yield plain(name, one.cpu_ms, "ms", peak_bytes=one.peak_bytes)
