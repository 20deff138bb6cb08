"""Where buffers lie that are held by descriptors, on a kernel with BTF, but without the iterator over dma-bufs."""

import os
from collections.abc import Mapping

import pytest

from heaptop.scan.bpf import LIST, PAGES, BpfSource
from tests.vm.guest.truth import Json, Truth, rows

VMLINUX = "/sys/kernel/btf/vmlinux"


@pytest.fixture(autouse=True)
def kernel() -> None:
    if not os.path.exists(VMLINUX):
        pytest.skip("this kernel has no BTF")
    with open(VMLINUX, "rb") as file:
        types = file.read()
    if b"\0bpf_iter__dmabuf\0" in types or b"\0system_heap_buffer\0" not in types:
        pytest.skip("this kernel has the dmabuf iterator, or no system heap")


def test_every_buffer_of_the_system_heap_that_is_held_by_a_descriptor(
    truth: Truth, buffers: Mapping[int, Json]
) -> None:
    taken: set[int] = set()
    placed = 0
    for inode, true in truth.buffers.items():
        if true.exporter != "system" or not any(holder.fds for holder in true.holders):
            continue
        runs = rows(buffers[inode]["runs"])
        pages = [int(str(run["pfn"])) + page for run in runs for page in range(int(str(run["count_pages"])))]
        assert len(pages) * os.sysconf("SC_PAGE_SIZE") == true.size_bytes
        assert taken.isdisjoint(pages)
        taken.update(pages)
        placed += 1
    assert placed > 5


def test_it_leaves_nothing_and_rests(truth: Truth) -> None:
    assert truth.holds
    before = os.listdir("/proc/self/fd")
    source = BpfSource()
    told = source.read()
    assert PAGES in told
    assert LIST not in told
    assert source.read()[PAGES] is told[PAGES], "the next pass comes later"
    source.close()
    assert os.listdir("/proc/self/fd") == before
