"""The emulator's allocators against C that does the same, plain Python, and a loop over bytes; pictures of memory.

reference.c is compiled with all that this processor has. drive.pyx has the same loops over the emulator's own
allocators; checksums tell that both did the same.
"""

import random
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from importlib.machinery import ExtensionFileLoader
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from statistics import median
from types import ModuleType
from typing import Final

from heaptop.analysis.occupancy import cells
from heaptop_emulator._buddy import Buddy
from heaptop_emulator._buddy_view import bitmap
from heaptop_emulator._cma import CmaBitmap
from tools.bench import cpu
from tools.bench.allocators.plain import PlainBuddy
from tools.bench.rows import Row, at_most, plain, ratio_at_least

TITLE = "The emulator's allocators"
HERE: Final = Path(__file__).parent
EMULATOR: Final = HERE.parents[2] / "emulator"
ROUNDS: Final = 3
STEPS: Final = 300_000
PLAIN_STEPS: Final = 4_000
CMA_SECONDS: Final = 0.4
PERCENTS: Final = (50, 90, 99)
GIB_PAGES: Final = (1 << 30) >> 12
SYSTEM_ORDERS: Final = (8, 4, 0)


def rows() -> Iterator[Row]:
    """Buddies, CMA areas, a heat map."""
    with tempfile.TemporaryDirectory() as folder:
        reference, drive = build(Path(folder))
        for gib in (4, 64):
            for percent in PERCENTS:
                yield from _buddy_rows(reference, drive, gib, percent)
        for gib in (4, 64):
            for percent in PERCENTS:
                yield _cma_row(reference, drive, gib, percent)
    yield _call_row()
    yield _heat_map_row()


def build(folder: Path) -> tuple[str, ModuleType]:
    """Compile reference.c and drive.pyx in a folder: the first's path, and the second as a module.

    Raises:
        subprocess.CalledProcessError: there is no compiler, or no Cython; it has said so.
    """
    compiler = (sysconfig.get_config_var("CC") or "cc").split()
    reference = str(folder / "reference")
    subprocess.run([*compiler, "-O3", "-march=native", "-o", reference, str(HERE / "reference.c")], check=True)
    source, module = str(folder / "drive.c"), str(folder / f"drive{sysconfig.get_config_var('EXT_SUFFIX')}")
    cython = [sys.executable, "-m", "cython", "-3", "-I", str(EMULATOR), str(HERE / "drive.pyx"), "-o", source]
    subprocess.run(cython, check=True)
    flags = ["-shared", "-fPIC", "-O3", "-DNDEBUG", f"-I{sysconfig.get_path('include')}"]
    subprocess.run([*compiler, *flags, source, "-o", module], check=True)
    spec = spec_from_file_location("drive", module, loader=ExtensionFileLoader("drive", module))
    assert spec is not None
    assert spec.loader is not None
    drive = module_from_spec(spec)
    spec.loader.exec_module(drive)
    return reference, drive


def _reference(program: str, what: str, pages: int, percent: int, amount: float) -> tuple[float, int]:
    """Operations a second of reference.c, and its checksum."""
    arguments = [program, what, str(pages), str(percent), f"{amount:g}"]
    count, seconds, checksum, _ = subprocess.run(arguments, check=True, capture_output=True, text=True).stdout.split()
    return int(count) / float(seconds), int(checksum)


def _buddy_rows(reference: str, drive: ModuleType, gib: int, percent: int) -> Iterator[Row]:
    """The same steps in C and here, in turns; then in Python, and what a picture of that memory costs."""
    pages = gib * GIB_PAGES
    in_c, here = [], []
    for _ in range(ROUNDS):
        rate, checksum = _reference(reference, "buddy", pages, percent, STEPS)
        in_c.append(rate)
        buddy = Buddy(pages)
        took, mine = drive.drive_buddy(buddy, percent, STEPS)
        here.append(STEPS / took)
        if mine != checksum:
            raise AssertionError("the two did not do the same")
    what = f"system heap, {gib} GiB, {percent} % full"
    yield plain(f"{what}: C", median(in_c), "/s")
    yield ratio_at_least(f"{what}: Cython", median(here), median(in_c), 0.8, unit="/s", of="C")
    if gib == 4:
        rate = _plain_rate(pages, percent)
        yield ratio_at_least(f"{what}: Cython", median(here), rate, 15, unit="/s", of="Python")
    else:
        snapshot_ms = min(cpu.call(lambda: bitmap(buddy)) for _ in range(2 * ROUNDS))
        yield at_most(f"which pages of {gib} GiB are used, {percent} % full", snapshot_ms, 1, "ms")


def _plain_rate(pages: int, percent: int) -> float:
    """Steps a second in plain Python."""
    buddy = PlainBuddy(pages)
    most, random_ = pages * percent // 100, random.Random(1)
    live: list[list[tuple[int, int]]] = []

    def steps(count: int) -> None:
        for _ in range(count):
            low = 1 << random_.randrange(14)
            size = low + random_.randrange(low)
            if pages - buddy.free_pages + size <= most:
                taken = buddy.allocate_chunks(size, SYSTEM_ORDERS)
                if taken is not None:
                    live.append(taken)
            else:
                at = random_.randrange(len(live))
                live[at], live[-1] = live[-1], live[at]
                buddy.free_chunks(live.pop())

    steps(PLAIN_STEPS)
    return PLAIN_STEPS / cpu.call(lambda: steps(PLAIN_STEPS)) * 1000


def _cma_row(reference: str, drive: ModuleType, gib: int, percent: int) -> Row:
    """First fit with alignment against one byte a page, looked at one by one."""
    pages = gib * GIB_PAGES
    in_bytes, here = [], []
    for _ in range(3):
        in_bytes.append(_reference(reference, "cma", pages, percent, CMA_SECONDS)[0])
        count, seconds = drive.drive_cma(CmaBitmap(pages, 0), percent, CMA_SECONDS / 4)
        here.append(count / seconds)
    what = f"CMA first fit, {gib} GiB, {percent} % full"
    return ratio_at_least(what, median(here), median(in_bytes), 50, unit="/s", of="byte loop")


def _call_row() -> Row:
    """A buffer taken and given back by calls from Python, as the emulator does it."""
    buddy, random_ = Buddy(4 * GIB_PAGES), random.Random(1)
    sizes = [(1 << random_.randrange(14)) + 1 for _ in range(20_000)]
    live = [buddy.allocate_chunks(size, SYSTEM_ORDERS) for size in sizes[:400]]

    def turn() -> None:
        for index, size in enumerate(sizes):
            chunks = live[index % 400]
            if chunks is not None:
                buddy.free_chunks(chunks)
            live[index % 400] = buddy.allocate_chunks(size, SYSTEM_ORDERS)

    fastest = min(cpu.call(turn) for _ in range(ROUNDS))
    return plain("system heap, called from Python: pairs of allocate and free", len(sizes) / fastest * 1000, "/s")


def _heat_map_row() -> Row:
    """A million pages as 200 x 50 cells, as the app draws them."""
    pages = random.Random(1).randbytes((1 << 20) // 8)
    took_ms = min(cpu.call(lambda: cells(pages, 0, 1 << 20, 200 * 50)) for _ in range(10 * ROUNDS))
    return at_most("heat map of 1M pages, 10,000 cells", took_ms * 1000, 100, "µs")
