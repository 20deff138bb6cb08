"""Assembly against what the workload says that it held, on captures of real kernels."""

from functools import cache

import pytest

from heaptop import recording
from heaptop.assemble import assemble
from heaptop.model import Buffer, Gap, Snapshot
from heaptop.parse import bufinfo
from heaptop.units import text_of
from tests.support import CAPTURES, TrueHolder, archive, truth

HIDDEN = {"in-flight", "io_uring", "gem-handle"}


@cache
def snapshot(name: str) -> Snapshot:
    return assemble(recording.read(str(archive(name))))


def buffers(name: str) -> dict[int, Buffer]:
    return {buffer.inode: buffer for buffer in snapshot(name).buffers}


def holder_fds(buffer: Buffer, row: TrueHolder) -> set[int]:
    return {
        ref.fd
        for each in buffer.holders
        for ref in each.fds
        if each.process.pid == row.pid and ref.tid in (None, row.tid)
    }


def test_every_row_of_the_truth(capture_name: str) -> None:
    found = buffers(capture_name)
    for row in truth(capture_name):
        buffer = found[row.inode]
        assert (buffer.size_bytes, buffer.exporter) == (row.size_bytes, row.exporter)
        assert buffer.name == (None if row.name is None else text_of(row.name))
        assert buffer.told("name")
        assert buffer.file_count is not None
        pids = {each.process.pid for each in buffer.holders}
        if row.how in HIDDEN:
            assert row.pid not in pids
            assert buffer.hidden_refs is not None
            assert buffer.hidden_refs >= 1
        elif row.how == "mmap":
            assert holder_fds(buffer, row) == set()
            assert any(each.maps for each in buffer.holders if each.process.pid == row.pid)
        else:
            assert row.fd in holder_fds(buffer, row)


def test_nothing_else(capture_name: str) -> None:
    rows = truth(capture_name)
    found = buffers(capture_name)
    assert set(found) == {row.inode for row in rows}
    holders = {(row.inode, row.pid) for row in rows if row.how not in HIDDEN}
    seen = {(inode, each.process.pid) for inode, buffer in found.items() for each in buffer.holders}
    assert seen == holders


def test_the_hidden_are_exactly_the_hidden(capture_name: str) -> None:
    hidden = {row.inode for row in truth(capture_name) if row.how in HIDDEN}
    # A vgem buffer that was exported is held by its GEM object too; an attachment by its importer's.
    drm = {row.inode for row in truth(capture_name) if row.exporter == "drm"}
    attached = {buffer.inode for buffer in snapshot(capture_name).buffers if buffer.attachments}
    assert {inode for inode, buffer in buffers(capture_name).items() if buffer.hidden_refs} == hidden | attached | drm
    assert attached
    assert drm


def test_sizes_sum_to_bufinfos_trailer(capture_name: str) -> None:
    raw = recording.read(str(archive(capture_name))).files["sys/kernel/debug/dma_buf/bufinfo"]
    assert isinstance(raw, bytes)
    total = bufinfo.parse(raw)
    assert (len(snapshot(capture_name).buffers), snapshot(capture_name).size_bytes) == (
        total.total_count,
        total.total_size,
    )


def test_the_threads_own_table_counts(capture_name: str) -> None:
    row = next(row for row in truth(capture_name) if row.comm == b"worker-own-fds")
    process = next(each for each in snapshot(capture_name).processes if each.id.pid == row.pid)
    assert process.threads_with_own_table == (row.tid,)
    main = next(each for each in truth(capture_name) if each.name == b"main-thread-fd")
    refs = [ref for each in buffers(capture_name)[main.inode].holders for ref in each.fds]
    assert [ref.tid for ref in refs] == [None, row.tid]
    assert buffers(capture_name)[main.inode].hidden_refs == 0


def test_shared_buffers_are_shared_out(capture_name: str) -> None:
    shot = snapshot(capture_name)
    held = [buffer for buffer in shot.buffers if buffer.holders]
    assert sum(process.pss_bytes or 0 for process in shot.processes) == sum(
        (buffer.size_bytes or 0) // len(buffer.holders) * len(buffer.holders) for buffer in held
    )
    assert [process.id.pid for process in shot.processes] == sorted(
        {each.process.pid for buffer in held for each in buffer.holders}
    )


def test_details_of_processes(capture_name: str) -> None:
    by_comm = {process.comm: process for process in snapshot(capture_name).processes}
    nasty = by_comm["a) R 1 (b\tc"]
    assert nasty.id.start_time
    assert nasty.uid == 0
    assert by_comm["uid1000"].uid == 1000
    assert by_comm["cameraserver"].oom_score_adj == 0
    assert by_comm["cameraserver"].cmdline is not None
    assert by_comm["cameraserver"].cgroup == "/"
    assert by_comm["cameraserver"].libraries == ()  # the workload is static


def test_totals_by_exporter(capture_name: str) -> None:
    sizes: dict[str, dict[int, int]] = {}
    for row in truth(capture_name):
        sizes.setdefault(row.exporter, {})[row.inode] = row.size_bytes
    shot = snapshot(capture_name)
    assert [(each.name, each.buffers, each.size_bytes) for each in shot.exporters] == [
        (name, len(sizes[name]), sum(sizes[name].values())) for name in sorted(sizes)
    ]
    assert {each.name for each in shot.exporters if not each.is_heap} == {"drm", "udmabuf"} & set(sizes)
    for heap in shot.heaps:
        mine = sizes.get(heap.name, {})
        assert (heap.exporter, heap.buffers, heap.size_bytes) == (heap.name, len(mine), sum(mine.values()))
        assert heap.device is not None
        assert heap.mode == 0o600


def test_two_heaps_of_one_area() -> None:
    areas = {heap.name: heap.cma_area for heap in snapshot("7.2.13-x86_64").heaps}
    assert areas == {"default_cma_region": "reserved", "reserved": "reserved", "system": None}
    assert {heap.name: heap.cma_area for heap in snapshot("6.12.117-x86_64").heaps} == {
        "reserved": "reserved",
        "system": None,
    }


@pytest.mark.parametrize("name", ["6.12.117-x86_64", "7.2.13-x86_64"])
def test_the_cma_area(name: str) -> None:
    (area,) = snapshot(name).cma
    assert (area.name, area.count_pages, area.order_per_bit) == ("reserved", 16384, 0)
    mine = sum(
        buffer.size_bytes or 0
        for buffer in snapshot(name).buffers
        if buffer.exporter in ("reserved", "default_cma_region")
    )
    assert area.used_pages is not None
    assert mine // 4096 <= area.used_pages < 16384
    (part,) = area.ranges
    assert part.bitmap is not None
    assert int.from_bytes(part.bitmap, "little").bit_count() == area.used_pages
    assert part.count_pages == 16384
    assert area.base_pfn
    assert area.alloc_pages_fail == 15360
    assert area.max_free_run_pages


def test_the_machine(capture_name: str) -> None:
    shot = snapshot(capture_name)
    assert shot.kernel is not None
    assert shot.kernel.startswith(capture_name.split("-", maxsplit=1)[0].rsplit(".", 1)[0])
    assert shot.page_bytes == 4096
    assert shot.memory.total_bytes
    assert shot.captured_at is None


def test_only_the_boot_id_is_missing(capture_name: str) -> None:
    assert snapshot(capture_name).gaps == (
        Gap("boot id", "not in the capture", "record it too, to compare captures of one boot"),
    )


def test_all_captures_are_there() -> None:
    assert len(CAPTURES) >= 3
