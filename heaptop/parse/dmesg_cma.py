r"""What the kernel log tells of CMA (mm/cma.c, kernel/dma/contiguous.c; 5.10 to 7.3).

cma: Reserved 64 MiB at 0x000000005be00000[ on node -1]
Reserved memory: created CMA memory pool at 0x000000006e000000, size 32 MiB
cma: cma_alloc: reserved: alloc failed, req-size: 128 pages, ret: -12        (up to 5.12 without the area)
cma: number of available pages: 3@125+12@140=> 15 free of 16384 total pages  (7.3 one for each range)

Up to 6.14 -12 is that no run is large enough and -16 that pages could not be moved; 7.3 says -16 to both.
"""

from typing import Final, NamedTuple

from heaptop.pattern import pattern

_TIME: Final = pattern(rb"\[ *([0-9]{1,10}\.[0-9]{1,9})\]")
_FAILED: Final = pattern(
    rb"\bcma: (_*cma_alloc\w*): (?:(.+): )?alloc failed, req-size: ([0-9]{1,19}) pages, ret: (-?[0-9]{1,4})"
)
_FREE: Final = pattern(
    rb"number of available pages: ((?:[0-9]{1,19}@[0-9]{1,19}\+?)*)=> ([0-9]{1,19}) free of ([0-9]{1,19}) total pages"
)
_RUN: Final = pattern(rb"([0-9]+)@([0-9]+)")
_RESERVED: Final = pattern(rb"\bcma: Reserved ([0-9]{1,9}) MiB at 0x([0-9a-f]{1,16})")
_POOL: Final = pattern(rb"\bcreated CMA memory pool at 0x([0-9a-f]{1,16}), size ([0-9]{1,9}) MiB")


class Failure(NamedTuple):
    """A CMA allocation that failed, `time` seconds after boot where the log has times. `area` is None up to 5.12."""

    time: float | None
    function: bytes
    area: bytes | None
    pages: int
    ret: int


class FreeRuns(NamedTuple):
    """An area's free runs when an allocation failed: (pages, bit) each; `total` pages in all."""

    area: bytes | None
    runs: tuple[tuple[int, int], ...]
    free: int
    total: int


class Pool(NamedTuple):
    """Memory set aside for CMA, in bytes: `base` is its physical address."""

    base: int
    size: int


class CmaLog(NamedTuple):
    """All of it, oldest first."""

    failures: tuple[Failure, ...] = ()
    free_runs: tuple[FreeRuns, ...] = ()
    pools: tuple[Pool, ...] = ()


def parse(data: bytes) -> CmaLog:
    """Every line that matches; the rest is the kernel's business. Total."""
    failures: list[Failure] = []
    free_runs: list[FreeRuns] = []
    pools: list[Pool] = []
    for line in data.splitlines():
        if found := _FAILED.search(line):
            time = _TIME.search(line[: found.start()])
            failures.append(Failure(float(time[1]) if time else None, found[1], found[2], int(found[3]), int(found[4])))
        elif found := _FREE.search(line):
            runs = tuple((int(count), int(bit)) for count, bit in _RUN.findall(found[1]))
            area = failures[-1].area if failures else None
            free_runs.append(FreeRuns(area, runs, int(found[2]), int(found[3])))
        elif found := _RESERVED.search(line):
            pools.append(Pool(int(found[2], 16), int(found[1]) << 20))
        elif found := _POOL.search(line):
            pools.append(Pool(int(found[1], 16), int(found[2]) << 20))
    return CmaLog(tuple(failures), tuple(free_runs), tuple(pools))
