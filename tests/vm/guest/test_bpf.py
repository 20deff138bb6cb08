"""The dmabuf iterator by BPF, where the kernel has one: what it lists, where buffers lie, and who may ask."""

import ctypes
import os
import struct
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from heaptop.backend.kernel import KernelAllocator
from heaptop.capture import ReadError
from heaptop.parse import bpf_pages as bpf_pages_text
from heaptop.scan import bpf_pages
from heaptop.scan.bpf import LIST, PAGES, BpfSource
from heaptop.scan.bpf_asm import EQUAL, R1, R2, R3, R4, R5, R6, R7, SEQ_PRINTF, STACK, Assembler
from heaptop.scan.bpf_call import Iterator, call
from heaptop.scan.bpf_programs import DMABUFS
from heaptop.scan.btf import FUNC, Btf
from tests.vm.guest.conftest import Answer, document, run_heaptop
from tests.vm.guest.kernel_text import AREAS, bitmap, bufinfo, number
from tests.vm.guest.truth import Json, Truth, bytes_of, rows

BTF = Path("/sys/kernel/btf/vmlinux")
HAS_ITERATOR = BTF.exists() and b"\0bpf_iter_dmabuf\0" in BTF.read_bytes()
BPFFS = Path("/sys/fs/bpf")
BPF_OBJ_PIN = 6
PAGE_BYTES = 4096
MANY_PIECES = 300
BOTH_CAPABILITIES = ("--inh-caps=+bpf,+perfmon", "--ambient-caps=+bpf,+perfmon")

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
    assert LIST not in BpfSource().read()
    if not os.path.exists("/sys/kernel/btf/vmlinux"):  # else test_places.py
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
def test_two_capabilities_are_enough_for_the_list(truth: Truth, plain_user: int) -> None:
    words = ("--reuid", "--regid")
    able = ("setpriv", *(f"{word}={plain_user}" for word in words), "--clear-groups", *BOTH_CAPABILITIES)
    found = document("buffers", before=able)
    assert {int(str(row["inode"])) for row in rows(found["buffers"])} == truth.buffers.keys()
    assert all(row["file_count"] is not None for row in rows(found["buffers"]))
    (gap,) = (gap for gap in rows(found["gaps"]) if "BPF" in str(gap["what"]))
    assert (gap["what"], gap["remedy"]) == ("where buffers lie in memory, as BPF tells it", "run as root")


@with_iterator
def test_a_pinned_iterator_lists_all_to_a_plain_user(truth: Truth, plain_user: int) -> None:
    subprocess.run(["mount", "-t", "bpf", "none", str(BPFFS)], check=True)
    try:
        pin_as_android_does(BPFFS / "dmabuf_iter", plain_user)
        found = document("buffers", uid=plain_user)
    finally:
        subprocess.run(["umount", str(BPFFS)], check=True)
    told = {int(str(row["inode"])): row for row in rows(found["buffers"])}
    assert told.keys() == truth.buffers.keys()
    for inode, true in truth.buffers.items():
        assert (told[inode]["size_bytes"], told[inode]["exporter"]) == (true.size_bytes, true.exporter)
        assert "bpf" in provenance(told[inode], "size_bytes")


def pin_as_android_does(path: Path, owner: int) -> None:
    """Pin an iterator that prints four lines a buffer: inode, size, name (which it leaves empty), exporter."""
    btf, asm, text = Btf(BTF.read_bytes()), Assembler(), b"%lu\n%lu\n\n%s\n".ljust(16, b"\0")
    asm.load(R6, R1, btf.offset("bpf_iter__dmabuf", "meta"), btf.offset("bpf_iter_meta", "seq"))
    asm.load(R7, R1, btf.offset("bpf_iter__dmabuf", "dmabuf"))
    asm.jump_if(R7, EQUAL, 0, "end")
    asm.load(R1, R7, btf.offset("dma_buf", "file"), btf.offset("file", "f_inode"), btf.offset("inode", "i_ino"))
    asm.store(STACK, -24, R1)
    for at, member in ((-16, "size"), (-8, "exp_name")):
        asm.load(R1, R7, btf.offset("dma_buf", member))
        asm.store(STACK, at, R1)
    for at in range(0, 16, 8):
        asm.constant(R1, int.from_bytes(text[at : at + 8], "little"))
        asm.store(STACK, at - 40, R1)
    asm.move(R1, R6)
    asm.stack(R2, -40)
    asm.constant(R3, len(text.rstrip(b"\0")) + 1)
    asm.stack(R4, -24)
    asm.constant(R5, 24)
    asm.call(SEQ_PRINTF)
    asm.label("end")
    asm.leave()
    iterator = Iterator(asm.program(), btf.id_of(DMABUFS, FUNC))
    name = ctypes.create_string_buffer(os.fsencode(path))
    call(BPF_OBJ_PIN, struct.pack("<QII", ctypes.addressof(name), iterator._link, 0))
    iterator.close()
    os.chown(path, owner, owner)


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
@pytest.mark.parametrize("map_bytes", [PAGE_BYTES, bpf_pages._MAP_BYTES])
def test_a_scatter_list_of_many_pieces(truth: Truth, map_bytes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A piece is 1 MiB at most (system_heap.c), and a page holds 127 entries and a link to the next page."""
    monkeypatch.setattr(bpf_pages, "_MAP_BYTES", map_bytes)
    given = KernelAllocator().allocate("system", MANY_PIECES << 20)
    source = BpfSource()
    text = source.read()[PAGES]
    source.close()
    os.close(given.fd)
    assert isinstance(text, bytes)
    places = dict(bpf_pages_text.place(line) for line in bpf_pages_text.lines(text))
    pages = [pfn + n for pfn, count in places[given.inode] for n in range(count)]
    assert len(set(pages)) == len(pages) == (MANY_PIECES << 20) // PAGE_BYTES
    others = {
        pfn + n for inode, runs in places.items() if inode != given.inode for pfn, count in runs for n in range(count)
    }
    assert others.isdisjoint(pages)


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
