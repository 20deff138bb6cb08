"""The emulator's text is the kernel's: real captures rendered again are the same bytes, and the parsers read it."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heaptop.parse import bufinfo, cma_debugfs, cma_sysfs, dma_heap, fdinfo, kernel, maps, meminfo, pagetypeinfo, vmstat
from heaptop_emulator import text, text_machine
from heaptop_emulator.layout import MIB_PAGES
from heaptop_emulator.machine import Machine
from heaptop_emulator.others import heaps_of
from heaptop_emulator.wire import BufferState
from tests.conftest import CaptureDir

HEAPS = ("system", "reserved", "camera")
BOOT_ID = "00000000-0000-4000-8000-000000000001"
NAME = st.none() | st.binary(max_size=31).map(lambda name: name.replace(b"\0", b""))
BUFFER = st.builds(
    BufferState,
    inode=st.integers(1, 1 << 40),
    heap=st.sampled_from(HEAPS),
    exporter=st.sampled_from(HEAPS),
    size_bytes=st.integers(1, 1 << 20).map(lambda pages: pages << 12),
    access=st.sampled_from([os.O_RDONLY, os.O_WRONLY, os.O_RDWR]),
    serial=st.integers(1, 1 << 20),
    name=NAME,
)


@pytest.fixture
def debian_6_12(capture_dir: CaptureDir) -> Path:
    return capture_dir("6.12.117-x86_64")


def test_real_fdinfo_is_rendered_again(debian_6_12: Path) -> None:
    rendered = 0
    for path in debian_6_12.glob("proc/*/fdinfo/*"):
        raw = path.read_bytes()
        record = fdinfo.parse(raw)
        if record is None or record.ino is None:
            continue
        buffer = BufferState(record.ino, "", record.exp_name.decode(), record.size, record.flags & 3, 1, record.name)
        assert text.fdinfo(buffer, flags=record.flags, mnt_id=record.mnt_id, count=record.file_count) == raw
        rendered += 1
    assert rendered > 10


def test_real_bufinfo_is_rendered_again(debian_6_12: Path) -> None:
    raw = (debian_6_12 / "sys/kernel/debug/dma_buf/bufinfo").read_bytes()
    rows = [row for row in bufinfo.parse(raw).rows if not row.attachments and not row.extra]
    assert len(rows) > 30
    header, _, _ = raw.partition(b"\n0")
    for row in rows:
        assert row.exp_name is not None
        assert row.ino is not None
        buffer = BufferState(row.ino, "", row.exp_name.decode(), row.size, row.flags & 3, 1, row.name)
        alone = text.bufinfo([buffer], {row.ino: row.file_count})
        block = alone.removeprefix(header + b"\n").removesuffix(b"\nTotal 1 objects, %d bytes\n" % row.size)
        assert block in raw


def test_real_pagetypeinfo_has_the_same_lines(debian_6_12: Path) -> None:
    real = (debian_6_12 / "proc/pagetypeinfo").read_bytes().splitlines()
    ours = text_machine.machine_files(Machine(), HEAPS, BOOT_ID)["proc/pagetypeinfo"].splitlines()
    assert [(len(line), line[:21]) for line in ours] == [(len(line), line[:21]) for line in real]


@given(st.lists(BUFFER, max_size=6, unique_by=(lambda one: one.inode, lambda one: one.serial)))
def test_the_parsers_read_buffers(buffers: list[BufferState]) -> None:
    newest_first = sorted(buffers, key=lambda one: -one.serial)
    counts = {buffer.inode: 1 + buffer.serial % 7 for buffer in buffers}
    names = {buffer.inode: buffer.name for buffer in buffers if buffer.name is not None}
    told = bufinfo.parse(text.bufinfo(buffers, counts), names)
    assert told.consistent
    assert [(row.ino, row.size, row.file_count, row.flags) for row in told.rows] == [
        (buffer.inode, buffer.size_bytes, counts[buffer.inode], buffer.access) for buffer in newest_first
    ]
    for buffer in buffers:
        record = fdinfo.parse(text.fdinfo(buffer, flags=0o2000002, mnt_id=9, count=counts[buffer.inode]))
        assert record is not None
        assert (record.ino, record.size, record.name) == (buffer.inode, buffer.size_bytes, buffer.name)
        assert (record.file_count, record.exp_name, record.flags) == (
            counts[buffer.inode],
            buffer.exporter.encode(),
            0o2000002,
        )


@given(NAME)
def test_the_parser_reads_map_lines(name: bytes | None) -> None:
    start = b"7f0a1c000000-7f0a1c400000 rw-s 00000000 00:0b 18".ljust(73)
    (vma,) = maps.dmabufs(start + text.map_path(name) + b"\n")
    assert vma.inode == 18


def test_the_parsers_read_the_machine() -> None:
    machine = Machine()
    system, *cma_heaps = heaps_of(machine)
    system.allocate(777)
    for heap in cma_heaps:
        heap.allocate(1000)
        hole = heap.allocate(5)
        heap.allocate(1)
        hole.release()
    files = text_machine.machine_files(machine, HEAPS, BOOT_ID)
    memory = meminfo.parse(files["proc/meminfo"])
    assert memory["MemTotal"] == 1 << 30
    assert memory["MemFree"] == (1024 - 64 << 20) - (777 + 2 * 1001 << 12)
    assert (memory["CmaTotal"], memory["CmaFree"]) == (96 << 20, (96 << 20) - (2 * 1001 << 12))
    counters = vmstat.parse(files["proc/vmstat"])
    assert (counters["nr_free_cma"], counters["cma_alloc_success"], counters["cma_alloc_fail"]) == (
        96 * MIB_PAGES - 2002,
        6,
        0,
    )
    free = pagetypeinfo.parse(files["proc/pagetypeinfo"]).free
    assert sum(count << order for row in free for order, count in enumerate(row.counts)) == machine.free_pages
    for name, area in machine.areas.items():
        folder = f"sys/kernel/debug/cma/{name}"
        used = cma_debugfs.number(files[f"{folder}/used"])
        assert used == 1001
        assert cma_debugfs.number(files[f"{folder}/count"]) == area.count_pages
        assert cma_debugfs.number(files[f"{folder}/base_pfn"]) == area.ranges[0].base_pfn
        assert cma_debugfs.number(files[f"{folder}/maxchunk"]) == area.max_free_run_pages
        assert cma_debugfs.order_per_bit(files[f"{folder}/order_per_bit"]) == 0
        bits = cma_debugfs.bitmap(files[f"{folder}/bitmap"])
        assert int.from_bytes(bits, "little").bit_count() == used
        counter = f"sys/kernel/mm/cma/{name}"
        assert cma_sysfs.counter(files[f"{counter}/alloc_pages_success"]) == 1006
        assert cma_sysfs.counter(files[f"{counter}/release_pages_success"]) == 5
        assert cma_sysfs.counter(files[f"{counter}/alloc_pages_fail"]) == 0
    assert kernel.osrelease(files["proc/sys/kernel/osrelease"]) == b"6.12.0-heaptop-emulated"
    assert kernel.version(files["proc/version"]) == b"6.12.0-heaptop-emulated"
    assert kernel.boot_id(files["proc/sys/kernel/random/boot_id"]) == BOOT_ID.encode()


def test_the_parsers_read_the_heaps() -> None:
    files = text_machine.machine_files(Machine(), HEAPS, BOOT_ID)
    nodes = dma_heap.parse(files["dev.ls"])
    assert [(node.name.decode(), node.mode) for node in nodes] == [(name, 0o600) for name in sorted(HEAPS)]
    for node in nodes:
        told = dma_heap.device(files[f"sys/devices/virtual/dma_heap/{node.name.decode()}/dev"])
        assert told == (node.major, node.minor)
    assert dma_heap.class_heaps(text_machine.machine_links(Machine(), HEAPS)) == tuple(sorted(HEAPS))
