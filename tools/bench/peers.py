"""Whole commands on the phone's load: heaptop's next to those of its peers."""

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from functools import partial
from typing import Final

from tools.bench import cpu, workload
from tools.bench.rows import Row, absent, plain, ratio_at_most
from tools.bench.workload import PHONE

TITLE = "Peers: whole commands, phone"
ROUNDS: Final = 3
DUMP: Final = "DMABUF_DUMP"
"""The environment variable with the path of Android's dmabuf_dump, where one has been built."""
PLAIN: Final = """
import os
for pid in filter(str.isdigit, os.listdir("/proc")):
    try:
        for entry in os.scandir(f"/proc/{pid}/fd"):
            if os.readlink(entry.path).startswith("/memfd:dmabuf-"):
                open(f"/proc/{pid}/fdinfo/{entry.name}").read()
        sum("/memfd:dmabuf-" in line for line in open(f"/proc/{pid}/maps"))
    except OSError:
        pass
"""
"""What one would write without thinking of its cost."""
LIMITS: Final = {"dmabuf_dump": 3, "lsof": 6, "lsfd": 8}


def rows() -> Iterator[Row]:
    """Heaptop first, then each peer that is here, and how many times as much it takes."""
    heaptop = [sys.executable, "-m", "tools.bench.looking"]
    verb = ["heaps", "--json", "-b", "kernel"]
    commands = {"heaptop": [*heaptop, *verb], "heaptop --no-bpf": [*heaptop, "--no-bpf", *verb]}
    commands |= {"plain Python": [sys.executable, "-c", PLAIN], "lsof": ["lsof", "-n", "-P", "-w"], "lsfd": ["lsfd"]}
    dump = os.environ.get(DUMP, "")
    commands |= {"dmabuf_dump": [dump]} if dump else {}
    here = {name: words for name, words in commands.items() if shutil.which(words[0])}
    works: dict[str, Callable[[], cpu.Used | float]] = {
        name: partial(cpu.command, words) for name, words in here.items()
    }
    with workload.running(PHONE):
        used = cpu.in_turns(works, ROUNDS)
    mine = used["heaptop"]
    yield plain("heaptop heaps --json", mine.cpu_ms, "ms", peak_bytes=mine.peak_bytes)
    for name in ("heaptop --no-bpf", "plain Python", *LIMITS):
        if name not in used:
            why = f"set {DUMP} to its path" if name == "dmabuf_dump" else f"{name} is not installed"
            yield absent(name, why)
            continue
        theirs = used[name]
        yield plain(name, theirs.cpu_ms, "ms", peak_bytes=theirs.peak_bytes)
        if name in LIMITS:
            what = f"heaptop against {name}"
            yield ratio_at_most(what, mine.cpu_ms, theirs.cpu_ms, 1 / LIMITS[name], of=name)
