"""The scan, to the Snapshot: full, by remembering, and how it grows; against the tight C on the same processes."""

import gc
import math
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Final

from heaptop.backend.kernel import KernelBackend
from heaptop.scan.bpf_here import make as programs
from heaptop.scan.btf import BtfError
from heaptop.scan.incremental import ROUNDS as ROUNDS_OF_A_LOOK
from heaptop.session import Session
from tools.bench import cpu, workload
from tools.bench.looking import backend
from tools.bench.rows import Row, absent, at_most, plain, ratio_at_most
from tools.bench.workload import LAPTOP, PHONE, STRESS, Load

TITLE = "Scan to Snapshot"
ROUNDS: Final = 5
TICKS: Final = 15
TICK_S: Final = 1.0
ACTIVE_PERCENT: Final = 10


def rows() -> Iterator[Row]:
    """Full scans on the phone's load, refreshes, and full scans from the laptop's to the stress load."""
    tight = partial(cpu.command, [workload.program("tight"), workload.PREFIX])
    works: dict[str, Callable[[], cpu.Used | float]] = {"T": tight}
    why_not = without_bpf()
    ways = {"full": {"bpf": False}, "text": {"bpf": False, "asks": False, "probes": False}}
    ways |= {} if why_not else {"bpf": {}}
    works |= {name: partial(full_ms, partial(backend, **way)) for name, way in ways.items()}
    with workload.running(PHONE):
        used = cpu.in_turns(works, ROUNDS)
    reference = used["T"].cpu_ms
    yield plain("tight C (T), phone", reference, "ms", peak_bytes=used["T"].peak_bytes)
    yield ratio_at_most("full scan, phone, /proc only", used["full"].cpu_ms, reference, 0.75)
    yield ratio_at_most("full scan, phone, maps as text and listed folders", used["text"].cpu_ms, reference, 1.15)
    if not why_not:
        yield ratio_at_most("full scan, phone, with BPF", used["bpf"].cpu_ms, reference, 0.2)
    yield at_most("refresh, phone, nobody active", refresh_ms(PHONE), 6, "ms")
    busy, active = PHONE._replace(active_percent=ACTIVE_PERCENT), f"{ACTIVE_PERCENT} % of processes active"
    yield at_most(f"refresh, phone, {active}", refresh_ms(busy), 90, "ms")
    if why_not:
        yield absent("with BPF", why_not)
    else:
        yield at_most(f"refresh, phone, {active}, with BPF", refresh_ms(busy, bpf=True), 35, "ms")
    yield growth()


def full_ms(make: Callable[[], KernelBackend]) -> float:
    """CPU of one look by a new session, without the collector: as a verb does it."""

    def look() -> None:
        made = make()
        try:
            Session(made, time.time).refresh()
        finally:
            made.close()

    gc.collect()
    gc.disable()
    try:
        return cpu.call(look)
    finally:
        gc.enable()


def without_bpf() -> str:
    """Why processes cannot be looked at by BPF here; "" where they can."""
    try:
        programs().close()
    except (BtfError, OSError) as why:
        return str(why)
    return ""


def refresh_ms(load: Load, *, bpf: bool = False) -> float:
    """CPU of one more refresh, as the app makes it once nothing is left that the first look put off. Whatever else runs
    here is left out.
    """
    with workload.running(load) as leader:
        made = backend(leader, bpf=bpf)
        session = Session(made, time.time)
        for _ in range(1 + math.ceil(load.processes / ROUNDS_OF_A_LOOK.details)):
            session.refresh()
        gc.freeze()
        found = []
        for _ in range(TICKS):
            time.sleep(TICK_S)
            found.append(cpu.call(session.refresh))
        gc.unfreeze()
        made.close()
    return sorted(found)[TICKS // 2]


def growth() -> Row:
    """The exponent by which the cost grows with what there is to look at, from laptop to stress."""
    costs = {}
    for load in (LAPTOP, STRESS):
        with workload.running(load):
            work = partial(full_ms, partial(backend, bpf=False))
            costs[load] = cpu.in_turns({"full": work}, 3)["full"].cpu_ms
    things = {load: load.processes * (load.descriptors + load.mappings / 20) for load in costs}
    exponent = math.log(costs[STRESS] / costs[LAPTOP]) / math.log(things[STRESS] / things[LAPTOP])
    return at_most(
        "growth of a full scan with descriptors and mappings, laptop to stress", exponent, 1.05, "(exponent)"
    )
