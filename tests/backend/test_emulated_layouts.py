"""Emulated machines of all kinds, seen through heaptop: ranges, wide bits, pools, pins, heaps of all kinds."""

import errno
import os
from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest

from heaptop.analysis.occupancy import fit, used_bits
from heaptop.assemble import assemble
from heaptop.backend.base import FdAt
from heaptop.backend.emulated import EmulatedBackend
from heaptop.backend.reach import OwnEmulator
from heaptop.errors import AllocationError, SourceError
from heaptop_emulator.layout_text import layout_file, parse_layout

MIB = 1 << 20


@contextmanager
def emulated(words: str) -> Iterator[EmulatedBackend]:
    with closing(EmulatedBackend(OwnEmulator("idle", layout=layout_file(parse_layout(words))))) as backend:
        yield backend


def test_an_area_of_several_ranges_is_told_range_by_range() -> None:
    with emulated("area=video:8M+4M+2M,area=odd:8M:order_per_bit=3") as backend:
        held = [backend.allocate("video", size) for size in (5 * MIB, 3 * MIB, 3 * MIB, 2 * MIB)]
        held.append(backend.allocate("odd", 9 * 4096))
        snapshot = assemble(backend.capture())
        odd, video = snapshot.cma
        assert not [gap for gap in snapshot.gaps if "CMA" in gap.what or "cma" in gap.what]
        assert [part.count_pages for part in video.ranges] == [2048, 1024, 512]
        assert (video.count_pages, video.used_pages, video.order_per_bit) == (3584, 13 * 256, 0)
        assert [used_bits(part.bitmap or b"", part.count_pages) for part in video.ranges] == [2048, 768, 512]
        assert (odd.order_per_bit, odd.used_pages, odd.count_pages) == (3, 16, 2048)
        by_inode = {buffer.inode: buffer for buffer in snapshot.buffers}
        for given in held:
            (run,) = by_inode[given.inode].runs or ()
            assert run.count_pages * 4096 == given.size_bytes
            area = odd if given.heap == "odd" else video
            assert any(
                part.base_pfn is not None and part.base_pfn <= run.pfn < part.base_pfn + part.count_pages
                for part in area.ranges
            )
        found = fit(video, 512, 8)
        assert (found.fits, found.in_the_way_pages, found.range_index) == (False, 256, 1)
        for given in held:
            os.close(given.fd)


def test_pools_are_told_and_fill_as_buffers_go() -> None:
    with emulated("pools") as backend:
        assert assemble(backend.capture()).memory.pools_bytes == 0
        given = backend.allocate("system", 3 * MIB)
        os.close(given.fd)
        assert assemble(backend.capture()).memory.pools_bytes == 3 * MIB


def test_memory_that_borrows_an_area_is_free_of_buffers_all_the_same() -> None:
    with emulated("area=reserved:16M:borrowed=6M:pinned=300") as backend:
        snapshot = assemble(backend.capture())
        (area,) = snapshot.cma
        assert (area.used_pages, snapshot.memory.cma_free_bytes) == (0, 10 * MIB)
        given = backend.allocate("reserved", 2 * MIB)
        snapshot = assemble(backend.capture())
        (run,) = next(buffer.runs or () for buffer in snapshot.buffers if buffer.inode == given.inode)
        assert run.pfn - (snapshot.cma[0].base_pfn or 0) == 512, "the first window with room has the pinned page in it"
        assert snapshot.memory.cma_free_bytes == 10 * MIB, "what was in the way has moved elsewhere"
        with pytest.raises(AllocationError) as refused:
            backend.allocate("reserved", 15 * MIB)
        assert refused.value.errno == errno.ENOMEM
        os.close(given.fd)


def test_every_kind_of_heap_gives_buffers_that_are_told() -> None:
    words = "ion,heap=system-contig,heap=carveout:4M,heap=chunk:4M:chunk=64K,heap=system-uncached,heap=secure:4M"
    with emulated(words) as backend:
        names = backend.heaps()
        assert set(names) == {
            "system",
            "reserved",
            "camera",
            "system-contig",
            "carveout",
            "chunk",
            "system-uncached",
            "secure",
        }
        held = {name: backend.allocate(name, 100 * 1024) for name in names}
        snapshot = assemble(backend.capture_whole())
        assert {heap.name: (heap.buffers, heap.size_bytes) for heap in snapshot.heaps} == dict.fromkeys(
            names, (1, 100 * 1024)
        )
        by_exporter = {buffer.exporter: buffer for buffer in snapshot.buffers}
        counts = {name: [run.count_pages for run in by_exporter[name].runs or ()] for name in names}
        assert counts["system-contig"] == counts["carveout"] == counts["secure"] == [25]
        assert counts["chunk"] == [16, 16]
        assert counts["system-uncached"] == counts["system"] == [16, *[1] * 9]
        secure = by_exporter["secure"]
        (ref,) = (ref for holder in secure.holders for ref in holder.fds)
        assert ref.flags is not None
        assert ref.flags & os.O_ACCMODE == os.O_RDWR
        with pytest.raises(SourceError, match="mapped"):
            backend.open_content(secure.inode, [FdAt(os.getpid(), held["secure"].fd)])
        for given in held.values():
            os.close(given.fd)


def test_rfc_v4_names_its_heaps_and_exporters_its_own_way() -> None:
    with emulated("v4,area=reserved:64M") as backend:
        held = [backend.allocate(name, MIB) for name in ("system_heap", "reserved")]
        snapshot = assemble(backend.capture())
        assert [(heap.name, heap.exporter, heap.buffers) for heap in snapshot.heaps] == [
            ("reserved", "cma_heap", 1),
            ("system_heap", "system_heap", 1),
        ]
        free = snapshot.memory.available_bytes
        for given in held:
            os.close(given.fd)
        after = assemble(backend.capture()).memory.available_bytes
        assert free is not None
        assert after == free + MIB + 4096, "255 of the 256 pages of the order-8 block never come back"
