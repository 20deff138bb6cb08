"""What a call stack costs: copied from a thread that stands, walked through libstdc++ and a library, and named."""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Final

from heaptop.stacks.catch import Copy, Spaces
from heaptop.stacks.recorder import stack_of
from heaptop.symbols.symbolizer import Symbolizer
from tests.stacks.programs import copy_of, deep, waiting
from tools.bench import cpu
from tools.bench.rows import Row, absent, at_most, plain

TITLE = "Call stacks"
COLD_ROUNDS: Final = 15
WARM_ROUNDS: Final = 200
OPTIONS: Final = ("-O2", "-fomit-frame-pointer", "-g")
WHAT: Final = "a stack of {} frames through libstdc++, "


def rows() -> Iterator[Row]:
    """Cold: nothing is known of the process or its files. Warm: the same place allocates again."""
    with tempfile.TemporaryDirectory() as folder, waiting([deep(Path(folder), *OPTIONS)]) as tid:
        yield from _rows(tid)


def _rows(tid: int) -> Iterator[Row]:
    cold, copies = [], []
    for _ in range(COLD_ROUNDS):
        spaces = Spaces()
        copies.append(_copied(spaces, tid))
        cold.append(cpu.call(copies[-1].walk))
        spaces.close()
    spaces = Spaces()
    copy = _copied(spaces, tid)
    stack = stack_of(copy)
    what = WHAT.format(len(stack.frames))
    yield at_most(f"{what}cold", median(cold), 2, "ms")
    yield at_most(f"{what}warm", median(cpu.call(copy.walk) for _ in range(WARM_ROUNDS)), 0.1, "ms")
    yield plain(
        "the copy alone, first of a process", median(cpu.call(lambda: _copied(Spaces(), tid)) for _ in range(9)), "ms"
    )
    yield plain("the copy alone, later", median(cpu.call(lambda: _copied(spaces, tid)) for _ in range(50)), "ms")
    symbolizer = Symbolizer()
    yield plain("its names, first time (symbols, lines, inlines)", cpu.call(lambda: symbolizer.names(stack)), "ms")
    yield plain("its names, again", cpu.call(lambda: symbolizer.names(stack)), "ms")
    symbolizer.close()
    spaces.close()
    if stack.cut:
        yield absent("the whole stack", stack.cut)


def _copied(spaces: Spaces, tid: int) -> Copy:
    copy = copy_of(spaces, tid)
    if copy is None:
        raise RuntimeError("the thread is gone")
    return copy
