"""ION's, MediaTek's and Rockchip's files, and the kernel log."""

import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heaptop.errors import ParseError
from heaptop.parse import dmesg_cma, ion_heap, mtk_heaps, rk_heaps
from heaptop.parse.dmesg_cma import Failure, FreeRuns, Pool
from heaptop.parse.dump import DumpedBuffer, DumpedHolding, DumpedUse

DUMPS = Path(__file__).parent.parent / "dumps"
KIB = 1024


def dump(name: str) -> bytes:
    return (DUMPS / name).read_bytes()


def test_ion() -> None:
    found = ion_heap.parse(dump("ion-system"), b"system")
    assert found.comms == {1: b"adsprpc-smd", 512: b"surfaceflinger"}
    assert found.uses == {1: DumpedUse(4096), 512: DumpedUse(12345678)}
    assert found.heaps == {b"system": 12644686}
    assert found.nameless == ((b"system", 294912),)
    assert (found.pools, found.unread) == (4194304, 0)


def test_ion_with_a_column_for_the_user() -> None:
    text = (
        b"          client              pid             size\n"
        b"----------------------------------------------------\n"
        b"orphaned allocations (info is from last known client):\n"
        b"          client      pid             user user_pid             size  mcnt  rcnt\n"
        b" allocator@2.0-s      257  composer@2.1-se      258          7372800     0     1\n"
        b"  total orphaned          7372800\n"
        b"          total           7372800\n"
    )
    found = ion_heap.parse(text, b"system")
    assert found.nameless == ((b"system", 7372800),)
    assert (found.heaps, found.unread) == ({b"system": 7372800}, 0)


def test_mediatek_with_descriptors() -> None:
    found = mtk_heaps.parse(dump("mtk-fds.txt"))
    assert found.buffers == (DumpedBuffer(62, 8388608, b"mtk_mm", None, 3),)
    assert found.holdings == (DumpedHolding(62, 812, 2, None, (14, 15)),)
    assert (found.comms, found.unread) == ({812: b"cameraserver"}, 0)


def test_mediatek_by_buffer() -> None:
    found = mtk_heaps.parse(dump("mtk-all.txt"))
    assert found.buffers == (DumpedBuffer(62, 8388608, b"mtk_mm", b"cam", 3, (b"soc:camera",)),)
    assert found.holdings == (DumpedHolding(62, 812, 1, 1, (14,)),)
    assert found.heaps == {b"mtk_mm": 8192 * KIB}
    assert (found.pools, found.kernel_only, found.unread) == (1024 * KIB, 0, 0)


def test_mediatek_table_by_its_titles() -> None:
    text = (
        b"[mtk_mm] buffer total size: 4 KB\n"
        b"\theap_name \tdmabuf \tsize(hex) \texp_name \tdmabuf_name \tf_flag \tf_mode \tf_count \tino \tpid(name)\n"
        b"mtk_mm \t00000000deadbeef \t0x1000 \tmtk_mm \tNULL \t2 \t80007 \t2 \t9 \t7(x)\n"
    )
    assert mtk_heaps.parse(text).buffers == (DumpedBuffer(9, 4096, b"mtk_mm", None, 2),)


def test_a_list_of_descriptors_that_is_cut_names_none() -> None:
    """The driver's list has room for 99 bytes."""
    text = b"\tpid:8(x) \tinode:6 size:4096     fd_cnt:40 mmap_cnt:0 fd_list:1 2 3\n"
    assert mtk_heaps.parse(text).holdings == (DumpedHolding(6, 8, 40, 0, ()),)


def test_rockchip() -> None:
    found = rk_heaps.parse(dump("rk.txt"))
    spans = ((0x10000000, 0x107FFFFF),)
    assert found.buffers == (DumpedBuffer(62, 8 << 20, b"cma", b"camera", None, (b"fdff0000.rkisp",), spans),)
    assert found.heaps == {b"cma": (8 << 20) + 4096}
    assert found.nameless == ((b"cma", 4096),)
    assert (found.unread, found.trouble) == (0, "")
    assert "its total says" in rk_heaps.parse(dump("rk.txt").replace(b"0x801000 (8196", b"0x1000 (4")).trouble


@pytest.mark.parametrize("parser", [mtk_heaps.parse, rk_heaps.parse, lambda data: ion_heap.parse(data, b"x")])
def test_another_text_is_refused(parser: object) -> None:
    with pytest.raises(ParseError):
        parser(b"hello\n")  # type: ignore[operator]


LOG = b"""\
[    0.049378] cma: Reserved 64 MiB at 0x000000005be00000 on node -1
[    0.049379] Reserved memory: created CMA memory pool at 0x000000006e000000, size 32 MiB
<6>[    3.172777][  T123] cma: __cma_alloc: reserved: alloc failed, req-size: 15360 pages, ret: -12
[    3.174271] cma: number of available pages: 16@1280+8064@8320=> 8080 free of 16384 total pages
cma: cma_alloc: alloc failed, req-size: 2040 pages, ret: -12
"""


def test_kernel_log() -> None:
    found = dmesg_cma.parse(LOG)
    assert found.failures == (
        Failure(3.172777, b"__cma_alloc", b"reserved", 15360, -12),
        Failure(None, b"cma_alloc", None, 2040, -12),
    )
    assert found.free_runs == (FreeRuns(b"reserved", ((16, 1280), (8064, 8320)), 8080, 16384),)
    assert found.pools == (Pool(0x5BE00000, 64 << 20), Pool(0x6E000000, 32 << 20))


@given(st.binary(max_size=400), st.sampled_from(["ion-system", "mtk-fds.txt", "mtk-all.txt", "rk.txt"]))
def test_total_but_for_refusals(noise: bytes, name: str) -> None:
    text = dump(name)
    mixed = text[: len(text) // 2] + noise + text[len(text) // 2 :]
    dmesg_cma.parse(LOG[:200] + noise)
    for data in (noise, mixed):
        for parser in (mtk_heaps.parse, rk_heaps.parse, lambda data: ion_heap.parse(data, b"x")):
            with contextlib.suppress(ParseError):
                parser(data)
