"""Where the emulator's buffers lie: what it tells is what its machine has."""

from collections.abc import Iterator

import pytest

from heaptop.assemble import assemble
from heaptop.backend.emulated import EmulatedBackend
from heaptop.backend.reach import OwnEmulator
from heaptop.model import Snapshot


@pytest.fixture(scope="module")
def snapshot() -> Iterator[Snapshot]:
    backend = EmulatedBackend(OwnEmulator("steady"))
    yield assemble(backend.capture())
    backend.close()


def test_each_buffer_has_all_its_pages_and_shares_none(snapshot: Snapshot) -> None:
    seen: set[int] = set()
    for buffer in snapshot.buffers:
        assert buffer.runs is not None
        pages = [pfn + n for pfn, count in buffer.runs for n in range(count)]
        assert len(pages) * snapshot.page_bytes == buffer.size_bytes
        assert seen.isdisjoint(pages)
        seen.update(pages)


def test_the_areas_bitmaps_are_their_buffers(snapshot: Snapshot) -> None:
    for area in snapshot.cma:
        (part,) = area.ranges
        assert part.bitmap is not None
        assert part.base_pfn is not None
        bits = int.from_bytes(part.bitmap, "little")
        used = {part.base_pfn + n for n in range(part.count_pages) if bits >> n & 1}
        mine = [run for buffer in snapshot.buffers if buffer.exporter == area.name for run in buffer.runs or ()]
        assert {pfn + n for pfn, count in mine for n in range(count)} == used


def test_runs_are_the_blocks_that_the_heap_took(snapshot: Snapshot) -> None:
    for buffer in snapshot.buffers:
        counts = [run.count_pages for run in buffer.runs or ()]
        if buffer.exporter == "system":
            assert set(counts) <= {256, 16, 1}
            assert counts == sorted(counts, reverse=True)
        else:
            assert len(counts) == 1
