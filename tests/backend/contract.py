"""What every source of captures must do, and every one that can allocate besides.

One suite for all: `test_contract.py` holds the emulator and recordings to it, tests/vm/guest a real kernel.
"""

import errno
import mmap
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from heaptop import recording
from heaptop.analysis.occupancy import runs, used_bits
from heaptop.assemble import assemble
from heaptop.backend.base import Allocation, Allocator, Backend, whole_capture
from heaptop.backend.select import open_backend
from heaptop.capture import Capture, ReadError
from heaptop.errors import AllocationError, UsageError
from heaptop.model import Buffer, Snapshot
from heaptop.report import json
from heaptop.units import text_of

HOSTILE = b"a\nsize:\t1\x1b[31m[/x]\xff"


def open_fds() -> int:
    return len(os.listdir("/proc/self/fd"))


def told(snapshot: Snapshot) -> json.Json:
    """All that it tells but for the source."""
    document = json.document(snapshot, json.LISTS)
    del document["source"]
    return document


class BackendContract:
    """A subclass says the `source`."""

    @pytest.fixture
    def source(self) -> str:
        """As `-b` takes it."""
        raise NotImplementedError

    @pytest.fixture
    def backend(self, source: str) -> Iterator[Backend]:
        backend = open_backend(source).backend
        yield backend
        backend.close()

    @pytest.fixture
    def capture(self, backend: Backend) -> Capture:
        return whole_capture(backend)

    @pytest.fixture
    def snapshot(self, capture: Capture) -> Snapshot:
        return assemble(capture)

    def test_it_says_what_it_is(self, backend: Backend, source: str, capture: Capture, snapshot: Snapshot) -> None:
        assert isinstance(backend, Backend)
        assert backend.source == capture.source == snapshot.source == source

    def test_a_capture_is_raw_and_cannot_be_changed(self, capture: Capture) -> None:
        assert all(isinstance(raw, bytes | ReadError) for raw in capture.files.values())
        assert not [path for path in (*capture.files, *capture.links) if path.startswith("/") or ".." in path]
        for mapping in (capture.files, *(process.files for process in capture.processes)):
            with pytest.raises(TypeError):
                mapping["x"] = b""  # type: ignore[index]

    def test_processes_and_descriptors_rise(self, capture: Capture) -> None:
        pids = [process.pid for process in capture.processes]
        assert pids == sorted(set(pids))
        assert capture.processes_seen is None or capture.processes_seen >= len(pids)
        for process in capture.processes:
            fds = [link.fd for link in process.table.links]
            assert fds == sorted(set(fds))

    def test_lists_are_in_order_and_hold_all_once(self, snapshot: Snapshot) -> None:
        for names in ([heap.name for heap in snapshot.heaps], [area.name for area in snapshot.cma]):
            assert names == sorted(set(names))
        for numbers in ([one.inode for one in snapshot.buffers], [one.id.pid for one in snapshot.processes]):
            assert numbers == sorted(set(numbers))

    def test_there_is_something_to_see(self, snapshot: Snapshot) -> None:
        assert snapshot.heaps
        assert snapshot.buffers
        assert snapshot.processes
        assert snapshot.memory.total_bytes

    def test_gaps_say_what_and_why(self, snapshot: Snapshot) -> None:
        assert all(gap.what and gap.why for gap in snapshot.gaps)

    def test_processes_and_buffers_agree(self, snapshot: Snapshot) -> None:
        by_buffer = {(h.process, buffer.inode) for buffer in snapshot.buffers for h in buffer.holders}
        by_process = {(process.id, inode) for process in snapshot.processes for inode in process.inodes}
        assert by_buffer == by_process
        sizes = {buffer.inode: buffer.size_bytes or 0 for buffer in snapshot.buffers}
        for process in snapshot.processes:
            assert process.rss_bytes == sum(sizes[inode] for inode in process.inodes)
            assert process.pss_bytes is not None
            assert process.pss_bytes <= process.rss_bytes

    def test_references_add_up(self, snapshot: Snapshot) -> None:
        for buffer in snapshot.buffers:
            if buffer.file_count is not None and buffer.hidden_refs is not None:
                assert buffer.fd_count is not None
                assert buffer.map_count is not None
                visible = buffer.fd_count + buffer.map_count
                assert max(0, buffer.file_count - visible) <= buffer.hidden_refs <= buffer.file_count

    def test_heaps_are_the_sum_of_their_buffers(self, snapshot: Snapshot) -> None:
        for heap in snapshot.heaps:
            mine = [buffer for buffer in snapshot.buffers if buffer.heap == heap.name]
            if heap.buffers is not None:
                assert (heap.buffers, heap.size_bytes) == (len(mine), sum(one.size_bytes or 0 for one in mine))

    def test_cma_areas_agree_with_their_bitmaps(self, snapshot: Snapshot) -> None:
        for area in snapshot.cma:
            order, bitmaps = area.order_per_bit, [part.bitmap for part in area.ranges]
            if order is None or not bitmaps or None in bitmaps:
                continue
            used = free = 0
            for part in area.ranges:
                assert part.bitmap is not None
                count_bits = part.count_pages >> order
                used += used_bits(part.bitmap, count_bits) << order
                free = max([free, *(r.count_bits << order for r in runs(part.bitmap, count_bits) if not r.used)])
            assert (area.used_pages, area.max_free_run_pages) == (used, free)

    @pytest.mark.parametrize("name", ["folder", "archive.tar", "archive.tar.gz"])
    def test_its_recording_tells_the_same(self, capture: Capture, tmp_path: Path, name: str) -> None:
        path = str(tmp_path / name)
        recording.write(capture, path)
        assert told(assemble(recording.read(path))) == told(assemble(capture))

    def test_one_boot(self, backend: Backend, snapshot: Snapshot) -> None:
        again = assemble(backend.capture())
        assert (again.boot_id, again.kernel) == (snapshot.boot_id, snapshot.kernel)
        if again.captured_at is not None and snapshot.captured_at is not None:
            assert again.captured_at >= snapshot.captured_at

    def test_closing_leaves_nothing_open(self, source: str) -> None:
        before = open_fds()
        backend = open_backend(source).backend
        backend.capture()
        backend.close()
        backend.close()
        assert open_fds() == before


class AllocatorContract:
    """For a `BackendContract` whose source can allocate from a heap called system."""

    @pytest.fixture
    def allocator(self, backend: Backend) -> Allocator:
        assert isinstance(backend, Allocator)
        return backend

    @pytest.fixture
    def allocation(self, allocator: Allocator) -> Iterator[Allocation]:
        allocation = allocator.allocate("system", 5000, HOSTILE)
        yield allocation
        os.close(allocation.fd)

    @staticmethod
    def seen(backend: Backend, inode: int) -> Buffer:
        (buffer,) = [buffer for buffer in assemble(backend.capture()).buffers if buffer.inode == inode]
        return buffer

    def test_its_heaps_are_those_it_shows(self, allocator: Allocator, snapshot: Snapshot) -> None:
        assert sorted(allocator.heaps()) == [heap.name for heap in snapshot.heaps]

    def test_a_test_buffer_is_seen(self, backend: Backend, allocation: Allocation) -> None:
        buffer = self.seen(backend, allocation.inode)
        size = -(-5000 // mmap.PAGESIZE) * mmap.PAGESIZE
        assert buffer.size_bytes == allocation.size_bytes == os.lseek(allocation.fd, 0, os.SEEK_END) == size
        assert (buffer.exporter, buffer.heap, buffer.name) == ("system", "system", text_of(HOSTILE))
        assert (buffer.file_count, buffer.hidden_refs) == (1, 0)
        (holder,) = buffer.holders
        assert holder.process.pid == os.getpid()
        assert [ref.fd for ref in holder.fds] == [allocation.fd]
        assert holder.maps == ()

    def test_its_pages_are_zeros_that_can_be_written(self, backend: Backend, allocation: Allocation) -> None:
        with mmap.mmap(allocation.fd, allocation.size_bytes) as memory:
            assert memory[:] == bytes(allocation.size_bytes)
            memory[:5] = b"hello"
            buffer = self.seen(backend, allocation.inode)
            assert (buffer.fd_count, buffer.map_count, buffer.hidden_refs) == (2, 1, 0)  # mmap has an fd of its own
        assert self.seen(backend, allocation.inode).file_count == 1

    def test_it_goes_with_its_last_reference(self, backend: Backend, allocator: Allocator) -> None:
        allocation = allocator.allocate("system", mmap.PAGESIZE)
        assert self.seen(backend, allocation.inode).name is None
        os.close(allocation.fd)
        assert allocation.inode not in {buffer.inode for buffer in assemble(backend.capture()).buffers}

    @pytest.mark.parametrize(
        ("heap", "size_bytes", "number"),
        [
            ("nowhere", 4096, errno.ENOENT),
            ("../system", 4096, errno.ENOENT),
            ("system", 0, errno.EINVAL),
            ("system", -1, errno.EINVAL),
            ("system", 1 << 62, errno.ENOMEM),
        ],
    )
    def test_refusals(self, allocator: Allocator, heap: str, size_bytes: int, number: int) -> None:
        before = open_fds()
        with pytest.raises(AllocationError) as refused:
            allocator.allocate(heap, size_bytes)
        assert refused.value.errno == number
        assert open_fds() == before

    @pytest.mark.parametrize("name", [b"x" * 32, b"a\0b"])
    def test_names_that_do_not_fit(self, allocator: Allocator, name: bytes) -> None:
        before = open_fds()
        with pytest.raises(UsageError):
            allocator.allocate("system", 4096, name)
        assert open_fds() == before
