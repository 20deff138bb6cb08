"""Whatever a capture holds, assembly gives a snapshot, and gives the same again."""

import errno
import random

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from heaptop.analysis.occupancy import fit, free_runs_by_order
from heaptop.assemble import assemble
from heaptop.capture import Capture, FdTable, ProcessCapture, Raw, ReadError
from heaptop.model import Snapshot
from tests.assemble.captures import real
from tests.support import CAPTURES

ERRORS = (errno.EACCES, errno.ENOENT, errno.EIO, errno.ESRCH, 12345)
PIECES = (b"\n", b"\t", b"-1", b"9" * 25, b"\xff", b"\0", b"name:\tx\n", b"size:\t1\n", b"ino:\t1\n", b"00000001", b" ")


def spoil(raw: Raw, rng: random.Random) -> Raw:
    """One way in which a text can go wrong."""
    if not isinstance(raw, bytes):
        return b""
    at, other = sorted((rng.randint(0, len(raw)), rng.randint(0, len(raw))))
    ways: list[Raw] = [
        raw[:at],
        raw[at:],
        raw[:at] + raw[other:],
        raw[:at] + rng.choice(PIECES) + raw[other:],
        raw[:at] + raw[at:other] * 2 + raw[other:],
        rng.randbytes(rng.randint(0, 60)),
        ReadError(rng.choice(["open", "read"]), rng.choice(ERRORS)),
    ]
    return rng.choice(ways)


def spoil_table(table: FdTable, rng: random.Random, share: float) -> FdTable:
    links = [
        link._replace(stat=None) if rng.random() < share else link for link in table.links if rng.random() >= share / 2
    ]
    fdinfo = {fd: spoil(raw, rng) if rng.random() < share else raw for fd, raw in table.fdinfo.items()}
    error = ReadError("readdir", rng.choice(ERRORS)) if rng.random() < share / 4 else table.error
    return FdTable(tuple(links), fdinfo, error)


def spoil_capture(whole: Capture, seed: int, share: float) -> Capture:
    rng = random.Random(seed)

    def process(old: ProcessCapture) -> ProcessCapture:
        files = {name: spoil(raw, rng) if rng.random() < share else raw for name, raw in old.files.items()}
        tasks = tuple(task._replace(table=spoil_table(task.table, rng, share)) for task in old.tasks)
        return old._replace(files=files, table=spoil_table(old.table, rng, share), tasks=tasks)

    files = {
        path: spoil(raw, rng) if rng.random() < share else raw
        for path, raw in whole.files.items()
        if rng.random() >= share / 4
    }
    return whole._replace(files=files, processes=tuple(map(process, whole.processes)))


def check(shot: Snapshot) -> None:
    """What holds for every snapshot."""
    assert [buffer.inode for buffer in shot.buffers] == sorted({buffer.inode for buffer in shot.buffers})
    assert shot.gaps == tuple(sorted(set(shot.gaps)))
    for buffer in shot.buffers:
        for name in ("size_bytes", "exporter", "file_count", "hidden_refs", "attachments", "fences"):
            assert (getattr(buffer, name) is not None) is buffer.told(name)
        assert buffer.hidden_refs is None or buffer.hidden_refs >= 0
    held = {holder.process for buffer in shot.buffers for holder in buffer.holders}
    assert {process.id for process in shot.processes} == held
    for area in shot.cma:
        fit(area, 256, 8)
        for part in area.ranges:
            free_runs_by_order(part, area.order_per_bit or 0)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(CAPTURES), st.integers(0, 1 << 32), st.sampled_from([0.01, 0.1, 0.5, 1.0]))
def test_spoilt_captures(name: str, seed: int, share: float) -> None:
    spoilt = spoil_capture(real(name), seed, share)
    shot = assemble(spoilt)
    check(shot)
    assert assemble(spoilt) == shot


paths = st.sampled_from(
    [
        "dev.ls",
        "uname",
        "recording",
        "proc",
        "proc/mounts",
        "proc/meminfo",
        "proc/vmstat",
        "sys/kernel/dmabuf/buffers",
        "sys/kernel/dmabuf/buffers/3/size",
        "sys/kernel/debug",
        "sys/kernel/debug/dma_buf/bufinfo",
        "sys/kernel/debug/cma/a/bitmap",
        "sys/kernel/debug/cma/a/count",
        "sys/kernel/debug/cma/a/order_per_bit",
        "sys/kernel/debug/cma/a/ranges/0/bitmap",
        "sys/kernel/debug/cma/a/ranges/1/bitmap",
        "sys/kernel/debug/cma/cma-a/used",
        "sys/kernel/mm/cma/a/total_pages",
        "sys/kernel/mm/cma/a/available_pages",
        "sys/class/dma_heap/a/dev",
    ]
) | st.text(max_size=20)
numbers = st.integers(0, 1 << 64).map(lambda number: b"%d\n" % number)
raws = (
    st.binary(max_size=80)
    | numbers
    | st.lists(numbers, max_size=5).map(lambda parts: b" ".join(part[:-1] for part in parts) + b"\n")
)


@settings(max_examples=150, deadline=None)
@given(
    st.dictionaries(paths, raws | st.sampled_from(ERRORS).map(lambda number: ReadError("open", number)), max_size=12)
)
def test_any_files(files: dict[str, Raw]) -> None:
    check(assemble(Capture("test", None, files, {}, ())))
