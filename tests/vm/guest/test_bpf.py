"""The dmabuf iterator by BPF, where the kernel has one: what it lists, where buffers lie, and who may ask."""

import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from heaptop.backend.kernel import KernelAllocator
from heaptop.capture import ReadError
from heaptop.scan.bpf import LIST, PAGES, BpfSource
from tests.vm.guest.conftest import Answer, document, run_heaptop
from tests.vm.guest.kernel_text import AREAS, bitmap, bufinfo, number
from tests.vm.guest.truth import Json, Truth, bytes_of, rows

BTF = Path("/sys/kernel/btf/vmlinux")
HAS_ITERATOR = BTF.exists() and b"\0bpf_iter_dmabuf\0" in BTF.read_bytes()
PAGE_BYTES = 4096

with_iterator = pytest.mark.skipif(not HAS_ITERATOR, reason="this kernel has no dmabuf iterator (6.16 on, BTF)")

Pages = set[int]


def provenance(row: Json, field: str) -> list[str]:
    told = row["provenance"]
    assert isinstance(told, dict)
    sources = told.get(field, [])
    assert isinstance(sources, list)
    return sources


def pages_of(row: Json) -> list[int]:
    """A buffer's page frames in its order."""
    runs = [(int(str(run["pfn"])), int(str(run["count_pages"]))) for run in rows(row["runs"])]
    return [pfn + n for pfn, count in runs for n in range(count)]


@pytest.mark.skipif(HAS_ITERATOR, reason="this kernel has the iterator")
def test_a_kernel_without_it_is_no_gap(truth: Truth, buffers: Mapping[int, Json], answer: Answer) -> None:
    assert BpfSource().read() == {}
    assert all(row["runs"] is None for row in buffers.values())
    assert [gap for gap in rows(answer("buffers")["gaps"]) if "BPF" in str(gap)] == []


@with_iterator
def test_it_lists_what_bufinfo_lists(truth: Truth) -> None:
    source = BpfSource()
    text = source.read()[LIST]
    source.close()
    assert isinstance(text, bytes)
    listed = {int(row[0]): row[1:] for row in (line.split(b"\t") for line in text.split(b"\n")[1:-1])}
    assert listed.keys() == truth.buffers.keys()
    for inode, row in bufinfo().items():
        assert (int(listed[inode][0]), int(listed[inode][1])) == (row.size_bytes, row.file_count)
        assert listed[inode][2].decode() == row.exporter


@with_iterator
def test_names_and_counts_are_its(truth: Truth, buffers: Mapping[int, Json]) -> None:
    for inode, row in buffers.items():
        assert bytes_of(row["name"]) == truth.buffers[inode].name
        for field in ("size_bytes", "exporter", "name", "file_count"):
            assert provenance(row, field)[0] == "bpf"


@with_iterator
def test_all_is_listed_without_debugfs(truth: Truth) -> None:
    alone = ("unshare", "--mount", "sh", "-c", 'umount /sys/kernel/debug && exec "$@"', "sh")
    found = document("buffers", before=alone)
    assert {int(str(row["inode"])) for row in rows(found["buffers"])} == truth.buffers.keys()
    for row in rows(found["buffers"]):
        assert bytes_of(row["name"]) == truth.buffers[int(str(row["inode"]))].name


@with_iterator
def test_heaps_buffers_have_all_their_pages_and_share_none(truth: Truth, buffers: Mapping[int, Json]) -> None:
    seen: Pages = set()
    for inode, true in truth.buffers.items():
        row = buffers[inode]
        if true.exporter not in ("system", truth.cma_heap):
            assert row["runs"] is None
            continue
        pages = pages_of(row)
        assert len(pages) * PAGE_BYTES == true.size_bytes
        assert seen.isdisjoint(pages)
        seen.update(pages)


@with_iterator
def test_cma_buffers_lie_where_the_bitmap_is_set(truth: Truth, buffers: Mapping[int, Json]) -> None:
    (area,) = AREAS.iterdir()
    base, bits = number(area / "base_pfn"), bitmap(area)
    of_area: Pages = {base + n for n in range(number(area / "count")) if bits >> n & 1}
    found: Pages = set()
    for inode, true in truth.buffers.items():
        if true.exporter == truth.cma_heap:
            runs = list(rows(buffers[inode]["runs"]))
            assert len(runs) == 1
            assert of_area.issuperset(pages_of(buffers[inode]))
            found.update(pages_of(buffers[inode]))
        elif buffers[inode]["runs"] is not None:
            assert of_area.isdisjoint(pages_of(buffers[inode]))
    assert found == of_area


@with_iterator
def test_a_plain_user_is_told_who_may(truth: Truth, plain_user: int) -> None:
    found = document("buffers", uid=plain_user)
    (gap,) = (gap for gap in rows(found["gaps"]) if "BPF" in str(gap["what"]))
    assert gap["why"] == "permission denied"
    assert "CAP_BPF" in str(gap["remedy"])
    assert all(row["runs"] is None for row in rows(found["buffers"]))


@with_iterator
def test_nothing_is_left(truth: Truth) -> None:
    before = number_of_programs()
    assert run_heaptop("buffers").returncode == 0
    assert number_of_programs() == before


def number_of_programs() -> int:
    """BPF programs that processes hold."""
    count = 0
    for info in Path("/proc").glob("[0-9]*/fdinfo/*"):
        try:
            count += b"prog_id:" in info.read_bytes()
        except OSError:
            continue
    return count


@with_iterator
def test_new_buffers_are_followed_and_old_ones_forgotten(truth: Truth) -> None:
    allocator, source = KernelAllocator(), BpfSource()
    first = source.read()[PAGES]
    given = allocator.allocate("system", 3 << 20)
    second = source.read()[PAGES]
    os.close(given.fd)
    third = source.read()[PAGES]
    source.close()
    assert not isinstance(first, ReadError)
    assert not isinstance(second, ReadError)
    added = set(second.splitlines()) - set(first.splitlines())
    assert [line.split(b"\t")[0] for line in added] == [b"%d" % given.inode]
    assert third == first
