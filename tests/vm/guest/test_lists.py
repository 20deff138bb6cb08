"""heaps, processes and cma are what the kernel says, and what follows from the workload's ground truth."""

import os
import platform
from pathlib import Path

import pytest

from tests.vm.guest.conftest import Answer
from tests.vm.guest.kernel_text import AREAS, bitmap, free_runs, number
from tests.vm.guest.truth import Truth, bytes_of, rows

SYSFS_AREAS = Path("/sys/kernel/mm/cma")


def test_heaps(truth: Truth, answer: Answer) -> None:
    heaps = {str(row["name"]): row for row in rows(answer("heaps")["heaps"])}
    assert sorted(heaps) == sorted(os.listdir("/dev/dma_heap"))
    for name, heap in heaps.items():
        mine = [buffer for buffer in truth.buffers.values() if buffer.exporter == name]
        assert (heap["buffers"], heap["size_bytes"]) == (len(mine), sum(buffer.size_bytes for buffer in mine))
        status = os.stat(f"/dev/dma_heap/{name}")
        assert heap["device"] == [os.major(status.st_rdev), os.minor(status.st_rdev)]
        assert (heap["cma_area"] is None) is (name == "system")


def test_exporters(truth: Truth, answer: Answer) -> None:
    exporters = {row["name"]: row for row in rows(answer("heaps")["exporters"]) if row["buffers"]}
    assert exporters.keys() == {buffer.exporter for buffer in truth.buffers.values()}
    for name, exporter in exporters.items():
        mine = [buffer for buffer in truth.buffers.values() if buffer.exporter == name]
        assert (exporter["buffers"], exporter["size_bytes"]) == (len(mine), sum(buffer.size_bytes for buffer in mine))
        assert exporter["is_heap"] is os.path.exists(f"/dev/dma_heap/{name}")


def test_processes(truth: Truth, answer: Answer) -> None:
    processes = {row["pid"]: row for row in rows(answer("processes")["processes"])}
    buffers = truth.buffers.values()
    assert processes.keys() == {held.pid for buffer in buffers for held in buffer.holders}
    uids = {hold.pid: hold.uid for hold in truth.holds}
    for pid, process in processes.items():
        mine = [buffer for buffer in buffers if any(held.pid == pid for held in buffer.holders)]
        assert process["inodes"] == sorted(buffer.inode for buffer in mine)
        assert process["rss_bytes"] == sum(buffer.size_bytes for buffer in mine)
        share = sum(buffer.size_bytes / len(buffer.holders) for buffer in mine)
        assert abs(float(str(process["pss_bytes"])) - share) <= len(mine)
        assert process["uid"] == uids[int(str(pid))]
        assert bytes_of(process["comm"]) == truth.comms()[int(str(pid))]


def test_totals(truth: Truth, answer: Answer) -> None:
    totals = answer("processes")["totals"]
    assert isinstance(totals, dict)
    assert totals["total_bytes"] == sum(buffer.size_bytes for buffer in truth.buffers.values())


def test_threads_with_a_table_of_their_own(truth: Truth, answer: Answer) -> None:
    true: dict[int, set[int]] = {}
    for hold in truth.holds:
        if hold.tid != hold.pid:
            true.setdefault(hold.pid, set()).add(hold.tid)
    told = {
        row["pid"]: set(rows_of_numbers(row["threads_with_own_table"]))
        for row in rows(answer("processes")["processes"])
    }
    assert {pid: tids for pid, tids in told.items() if tids} == true


def rows_of_numbers(value: object) -> list[int]:
    assert isinstance(value, list)
    return value


ATOMIC_POOLS_BYTES = 2 << 20


def test_cma_areas(truth: Truth, answer: Answer) -> None:
    if not truth.cma_heap:
        pytest.skip("this kernel has no CMA heap")
    areas = {str(row["name"]): row for row in rows(answer("cma")["cma"])}
    assert sorted(areas) == sorted(os.listdir(AREAS))
    for name, told in areas.items():
        area = AREAS / name
        count, bits = number(area / "count"), bitmap(area)
        assert told["count_pages"] == count
        assert told["base_pfn"] == number(area / "base_pfn")
        assert told["order_per_bit"] == 0
        assert told["used_pages"] == bits.bit_count() == number(area / "used")
        assert told["max_free_run_pages"] == number(area / "maxchunk")
        (part,) = rows(told["ranges"])
        runs = [
            {"pfn": number(area / "base_pfn") + start, "count_pages": length}
            for start, length in free_runs(bits, count)
        ]
        assert part["free_runs"] == runs
        assert len(runs) > 10  # the workload has left holes
        for counter in ("alloc_pages_success", "alloc_pages_fail"):
            assert told[counter] == number(SYSFS_AREAS / name / counter)


def test_cma_memory_is_what_its_heaps_hold(truth: Truth, answer: Answer) -> None:
    if not truth.cma_heap:
        pytest.skip("this kernel has no CMA heap")
    used = sum(int(str(row["used_pages"])) for row in rows(answer("cma")["cma"]))
    held = sum(buffer.size_bytes for buffer in truth.buffers.values() if buffer.exporter == truth.cma_heap)
    own = used * os.sysconf("SC_PAGE_SIZE") - held
    if platform.machine() == "x86_64":
        assert own == 0
    else:  # arm64 takes pools for devices that are not coherent from CMA (kernel/dma/pool.c)
        assert 0 <= own <= ATOMIC_POOLS_BYTES
