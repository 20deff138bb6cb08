"""The programs on this machine's own kernel, as far as it allows; tests/vm/guest/test_bpf.py has real buffers."""

import errno
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heaptop.capture import ReadError
from heaptop.scan import bpf_pages, bpf_programs
from heaptop.scan.bpf import LIST, PAGES, BpfSource
from heaptop.scan.bpf_call import Iterator, SharedMemory
from heaptop.scan.bpf_pages import PagePlaces, line_of_runs, once
from heaptop.scan.bpf_programs import PAGE_BYTES, SYSTEM_HEAP, Row, rows
from heaptop.scan.btf import STRUCT, VMLINUX, Btf, BtfError, has_struct
from heaptop.scan.frames import first_struct_page
from tests.scan.test_btf import Maker

REFUSED = {errno.EPERM, errno.EACCES, errno.ENOSYS}


def open_files() -> set[str]:
    """What this process has open besides the listing itself."""
    found = set()
    for fd in os.listdir("/proc/self/fd"):
        try:
            found.add(f"{fd} {os.readlink(f'/proc/self/fd/{fd}')}")
        except OSError:
            continue
    return found


@pytest.fixture
def btf() -> Btf:
    path = Path(f"/{VMLINUX}")
    if not path.exists():
        pytest.skip("this kernel has no BTF")
    return Btf(path.read_bytes())


def test_it_tells_or_says_why_not_and_leaves_nothing() -> None:
    before = open_files()
    source = BpfSource()
    files = source.read()
    assert source.read().keys() == files.keys()
    told = files.get(LIST)
    if isinstance(told, bytes):
        assert told.startswith(b"ino\tsize\tcount\texp_name\tname\n")
    elif told is not None:
        assert told.errno in REFUSED
        assert PAGES not in files
    source.close()
    source.close()
    assert source.read() == {}
    assert open_files() == before


def test_a_kernel_without_type_information_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "vmlinux").write_bytes(b"\0bpf_iter_dmabuf\0")
    assert BpfSource(str(tmp_path / "vmlinux")).read() == {}
    assert BpfSource(str(tmp_path / "missing")).read() == {}


def test_rows_of_the_list_program() -> None:
    row = bpf_programs._ROW.pack(7, 4096, 2, 0xFFFF0001, 0xFFFF0002, b"system\0rest", b"a\nb\0rest")
    unnamed = bpf_programs._ROW.pack(8, 4096, 1, 0, 0xFFFF0002, b"drm", b"")
    assert list(rows(row + b"system_heap_dma_buf_release\n" + unnamed + b"drm_gem_dmabuf_release [drm]\n")) == [
        Row(7, 4096, 2, b"system", b"a\nb", 0xFFFF0002, "system_heap_dma_buf_release"),
        Row(8, 4096, 1, b"drm", None, 0xFFFF0002, "drm_gem_dmabuf_release [drm]"),
    ]


def test_neighbouring_chunks_are_one_run() -> None:
    first, size = 0xFFFFEA0000000000, 64
    chunks = [(first + 100 * size, 2 * PAGE_BYTES), (first + 102 * size, PAGE_BYTES), (first + 7 * size, PAGE_BYTES)]
    assert line_of_runs(5, chunks, first, size) == b"5\t100+3 7+1\n"
    assert line_of_runs(5, [(first + 1, PAGE_BYTES)], first, size) == b""
    assert line_of_runs(5, [(first - size, PAGE_BYTES)], first, size) == b""


def test_buffers_of_no_known_heap_have_no_place(btf: Btf) -> None:
    assert PagePlaces(btf).read([Row(1, 4096, 1, b"drm", None, 1, "drm_gem_dmabuf_release")]) is None


def test_page_frames_are_measured(btf: Btf) -> None:
    places = PagePlaces(btf)
    try:
        first = first_struct_page(places._cached_pages, btf.size("page"))
    except OSError as error:
        if error.errno not in REFUSED:
            raise
        pytest.skip("this takes root")
    assert first == first_struct_page(places._cached_pages, btf.size("page"))


def test_what_does_not_agree_is_refused() -> None:
    with pytest.raises(OSError, match=r"not supported|not permitted"):
        first_struct_page(dict, 64)


def test_shared_memory_is_given_back() -> None:
    before = open_files()
    try:
        shared = SharedMemory(PAGE_BYTES)
    except OSError as error:
        if error.errno not in REFUSED:
            raise
        pytest.skip("this takes root")
    shared.memory[:4] = b"abcd"
    shared.close()
    assert open_files() == before


def test_heaps_that_this_kernel_does_not_have_in_its_types(btf: Btf) -> None:
    places = PagePlaces(btf)
    if any(has_struct(btf, name) for name in ("system_heap_buffer", "cma_heap_buffer")):
        pytest.skip("this kernel has them")
    told = places.read([Row(1, 4096, 1, b"system", None, 1, "system_heap_dma_buf_release [system_heap]")])
    assert told == ReadError("btf", errno.ENOTSUP)


def test_a_heap_that_is_a_module_has_its_types_beside(btf: Btf, tmp_path: Path) -> None:
    if has_struct(btf, "system_heap_buffer"):
        pytest.skip("it is built in")
    if not has_struct(btf, "bpf_iter__dmabuf"):
        pytest.skip("older than 6.16, or built without it")
    maker = Maker(base=btf)
    maker.struct("system_heap_buffer", 64, [("sg_table", btf.id_of("sg_table", STRUCT), 8 * 24)])
    (tmp_path / "system_heap").write_bytes(maker.data())
    places = PagePlaces(btf, str(tmp_path))
    row = Row(1, 4096, 1, b"system", None, 1, "system_heap_dma_buf_release [system_heap]")
    types = places._types_of(row)
    assert types is not None
    program = bpf_programs.pages_program(btf, {1: SYSTEM_HEAP}, 3, 1 << 20, {SYSTEM_HEAP: types})
    assert len(program) % 8 == 0
    with pytest.raises(BtfError):
        bpf_programs.pages_program(btf, {1: SYSTEM_HEAP}, 3, 1 << 20)
    assert PagePlaces(btf, str(tmp_path))._types_of(row._replace(release="cma_heap_dma_buf_release [other]")) is None


def test_a_kernel_without_the_iterator_over_buffers_passes_all_descriptors(tmp_path: Path) -> None:
    """As if this kernel were one: its types without that iterator's name."""
    path = Path(f"/{VMLINUX}")
    if not path.exists():
        pytest.skip("this kernel has no BTF")
    vmlinux = tmp_path / "vmlinux"
    vmlinux.write_bytes(path.read_bytes().replace(b"\0bpf_iter_dmabuf\0", b"\0bpf_iter_nothing"[:16] + b"\0"))
    before = open_files()
    source = BpfSource(str(vmlinux))
    told = source.read()
    assert LIST not in told
    assert isinstance(told.get(PAGES, b""), bytes)
    assert source.read() == told
    source.close()
    assert open_files() == before


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(1, 9)), min_size=1), st.integers(1, 5))
def test_a_buffer_that_is_met_several_times_counts_once(chunks: list[tuple[int, int]], times: int) -> None:
    assert once(chunks * times, sum(size for _, size in chunks)) == chunks
    assert once(chunks, 1 << 20) == chunks


def test_an_answer_that_is_cut_ends_with_the_last_whole_row() -> None:
    row = bpf_programs._ROW.pack(7, 4096, 2, 0, 1, b"system", b"") + b"release\n"
    assert [found.inode for found in rows(row * 2 + row[:-3])] == [7, 7]
    assert list(rows(row[:100])) == []


def test_pages_are_measured_where_an_iterator_cannot_be_restricted(btf: Btf, monkeypatch: pytest.MonkeyPatch) -> None:
    """As before 6.1, where the kernel does not know what `of_this_process` asks."""
    restricted: list[bool] = []

    class Old(Iterator):
        def __init__(self, program: bytes, function_id: int, *, of_this_process: bool = False) -> None:
            restricted.append(of_this_process)
            if of_this_process:
                raise OSError(errno.E2BIG, os.strerror(errno.E2BIG))
            super().__init__(program, function_id)

    places, size = PagePlaces(btf), btf.size("page")
    try:
        first = first_struct_page(places._cached_pages, size)
    except OSError as error:
        if error.errno not in REFUSED:
            raise
        pytest.skip("this takes root")
    monkeypatch.setattr(bpf_pages, "Iterator", Old)
    assert first_struct_page(places._cached_pages, size) == first
    assert set(restricted) == {True, False}
