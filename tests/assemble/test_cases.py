"""Assembly of small captures made by hand: old kernels, odd processes, forged names."""

import errno

import pytest

from heaptop.assemble import assemble
from heaptop.capture import FdLink, FdTable, ProcessCapture, ReadError, TaskCapture
from heaptop.model import FdRef, Gap, MapRef, Source
from tests.assemble.captures import by_inode, capture, fdinfo, gap, link, process, stat_of

BUFINFO = "sys/kernel/debug/dma_buf/bufinfo"
HEAD_5_3 = b"\nDma-buf Objects:\nsize    \tflags   \tmode    \tcount   \texp_name\tino     \n"
HEAD_6_1 = b"\nDma-buf Objects:\nsize    \tflags   \tmode    \tcount   \texp_name\tino     \tname\n"
VMA = "7f0000000000-7f0000002000 rw-s 00001000 %s %d                         %s\n"
DEV_LS = b"/dev/dma_heap:\ntotal 0\n"


def row(size: int, count: int, exporter: str, inode: int, name: str) -> bytes:
    text = f"{size:08}\t00000002\t00080007\t{count:08}\t{exporter}\t{inode:08}\t{name}\n"
    return text.encode("utf-8", "surrogateescape") + b"\tAttached Devices:\nTotal 0 devices attached\n\n"


def bufinfo(*rows: bytes, total: int, head: bytes = HEAD_6_1) -> bytes:
    return head + b"".join(rows) + b"\nTotal %d objects, %d bytes\n" % (len(rows), total)


def nodes(*names: str) -> bytes:
    lines = (f"crw-------    1 0        0         254,   {i} Nov 22 22:45 {name}\n" for i, name in enumerate(names))
    return DEV_LS + "".join(lines).encode()


def test_5_3_to_5_13_stat_has_the_inode() -> None:
    one = process(7, links=[link(3, stat_of(21, 8192), "a")], fdinfo={3: fdinfo(None, 8192, count=2, name="a")})
    (buffer,) = assemble(capture(processes=[one])).buffers
    assert (buffer.inode, buffer.name, buffer.file_count, buffer.hidden_refs) == (21, "a", 2, 1)


def test_without_ino_and_stat_the_buffer_is_not_known() -> None:
    one = process(7, links=[link(3, None, "a")], fdinfo={3: fdinfo(None, 8192)})
    shot = assemble(capture(processes=[one]))
    assert shot.buffers == ()
    assert gap(shot, "1 descriptor of unknown buffers").remedy == "capture stat of descriptors too"


def test_up_to_5_2_there_is_no_identity() -> None:
    anonymous = FdLink(3, b"anon_inode:dmabuf")
    maps = (VMA % ("00:0c", 1034, "anon_inode:dmabuf")).encode()
    text = (
        b"\nDma-buf Objects:\nsize    \tflags   \tmode    \tcount   \texp_name\n"
        b"00008192\t00000002\t00000005\t00000002\tion\n\tAttached Devices:\nTotal 0 devices attached\n\n"
        b"\nTotal 1 objects, 8192 bytes\n"
    )
    shot = assemble(capture({BUFINFO: text}, [process(7, links=[anonymous], maps=maps)]))
    assert (shot.buffers, shot.processes) == ((), ())
    assert [(each.name, each.buffers, each.size_bytes) for each in shot.exporters] == [("ion", 1, 8192)]
    assert gap(shot, "2 references without identity").remedy == "use kernel 5.3 or newer"
    assert (
        gap(shot, "1 buffer of bufinfo without identity").why == "buffers have no inode of their own up to kernel 5.2"
    )


def test_heap_helpers_hide_the_heap() -> None:
    one = process(7, links=[link(3, stat_of(1, 4096))], fdinfo={3: fdinfo(1, 4096, exporter="heap_helpers")})
    shot = assemble(capture({"dev.ls": nodes("reserved", "system")}, [one]))
    assert [(heap.exporter, heap.buffers, heap.size_bytes) for heap in shot.heaps] == [("heap_helpers", None, None)] * 2
    assert shot.buffers[0].heap is None
    assert shot.exporters[0].is_heap
    assert gap(shot, "which heap a buffer is from").why == "its exporter is heap_helpers whatever the heap"


@pytest.mark.parametrize(
    ("heaps", "heap", "totals"),
    [
        (["system_heap", "reserved"], "reserved", [(1, 4096), (0, 0)]),
        (["system_heap", "reserved", "video"], None, [(None, None), (0, 0), (None, None)]),
    ],
)
def test_v4_names_the_cma_heap_where_there_is_one(heaps: list[str], heap: str | None, totals: object) -> None:
    one = process(7, links=[link(3, stat_of(1, 4096))], fdinfo={3: fdinfo(1, 4096, exporter="cma_heap")})
    shot = assemble(capture({"dev.ls": nodes(*heaps)}, [one]))
    assert shot.buffers[0].heap == heap
    assert [(each.buffers, each.size_bytes) for each in shot.heaps] == totals
    assert [each.exporter for each in shot.heaps if each.name != "system_heap"] == ["cma_heap"] * (len(heaps) - 1)


@pytest.mark.parametrize(
    ("areas", "heaps", "expected"),
    [
        (["reserved", "video"], ["default_cma_region"], "reserved"),
        (["default-pool"], ["default_cma_region"], "default-pool"),
        (["linux,cma@58000000", "video"], ["default_cma_region"], "linux,cma@58000000"),
        (["pool-a", "pool-b"], ["default_cma_region", "pool-b"], "pool-b"),
        (["pool-a", "pool-b"], ["default_cma_region"], None),
        ([], ["default_cma_region"], None),
    ],
)
def test_the_default_area(areas: list[str], heaps: list[str], expected: str | None) -> None:
    files = {f"sys/kernel/mm/cma/{area}/total_pages": b"1024\n" for area in areas}
    shot = assemble(capture({"dev.ls": nodes(*heaps), **files}))
    assert {heap.name: heap.cma_area for heap in shot.heaps}["default_cma_region"] == expected
    told = any("the CMA area of heap" in each.what for each in shot.gaps)
    assert told is (expected is None and bool(areas))


def test_a_cut_debugfs_name_is_the_area_of_sysfs() -> None:
    files = {f"sys/kernel/debug/cma/cma-default_cma/{name}": text for name, text in CMA_FILES.items()}
    files["sys/kernel/mm/cma/default_cma_pool/alloc_pages_success"] = b"9\n"
    (area,) = assemble(capture(files)).cma
    assert (area.name, area.count_pages, area.alloc_pages_success) == ("default_cma_pool", 64, 9)


CMA_FILES = {"count": b"64\n", "base_pfn": b"4096\n", "order_per_bit": b"1\n", "bitmap": b"7\n"}


def test_order_per_bit_counts_in_pages() -> None:
    (area,) = assemble(capture({f"sys/kernel/debug/cma/a/{name}": text for name, text in CMA_FILES.items()})).cma
    assert (area.order_per_bit, area.used_pages, area.max_free_run_pages) == (1, 6, 58)
    assert area.ranges[0].count_pages == 64


def test_several_ranges() -> None:
    base = "sys/kernel/debug/cma/a"
    files = {f"{base}/count": b"100\n", f"{base}/order_per_bit": b"0\n"}
    for index, (pfn, words) in enumerate([(100, b"3\n"), (500, b"0 0 4294967295\n")]):
        files |= {f"{base}/ranges/{index}/base_pfn": b"%d\n" % pfn, f"{base}/ranges/{index}/bitmap": words}
    (area,) = assemble(capture(files)).cma
    assert [(part.base_pfn, part.count_pages) for part in area.ranges] == [(100, 32), (500, 68)]
    assert (area.used_pages, area.max_free_run_pages) == (2 + 4, 64)


def test_processes_that_share_a_table_never_hide_less_than_nothing() -> None:
    shared = [process(pid, links=[link(3, stat_of(1, 4096))], fdinfo={3: fdinfo(1, 4096)}) for pid in (7, 8)]
    (buffer,) = assemble(capture(processes=shared)).buffers
    assert (buffer.file_count, buffer.fd_count, buffer.hidden_refs) == (1, 2, 0)


def test_a_threads_table_counts_once_and_only_if_its_own() -> None:
    def table(*fds: int) -> FdTable:
        return FdTable(tuple(link(fd, stat_of(1, 4096)) for fd in fds), {fd: fdinfo(1, 4096, count=3) for fd in fds})

    tasks = (TaskCapture(8, {}, table(3)), TaskCapture(9, {}, table(3, 4)), TaskCapture(10, {}, table(3, 4)))
    shot = assemble(capture(processes=[ProcessCapture(7, {"maps": b""}, table(3), tasks)]))
    refs = shot.buffers[0].holders[0].fds
    assert [(ref.fd, ref.tid) for ref in refs] == [(3, None), (3, 9), (4, 9)]
    assert shot.processes[0].threads_with_own_table == (9,)
    assert shot.buffers[0].hidden_refs == 0


def test_a_regular_file_of_that_name_is_no_buffer() -> None:
    plain = b"pos:\t0\nflags:\t0100002\nmnt_id:\t20\nino:\t77\n"
    with_type = FdLink(3, b"/dmabuf:fake", stat_of(77, 10, mode=0o100644))
    without_stat = FdLink(4, b"/dmabuf:fake")
    true = link(5, stat_of(1, 4096), "true")
    maps = "".join(VMA % (dev, inode, "/dmabuf:fake") for dev, inode in (("08:01", 77), ("00:0c", 1))).encode()
    one = process(7, links=[with_type, without_stat, true], fdinfo={3: plain, 4: plain, 5: fdinfo(1, 4096)}, maps=maps)
    (buffer,) = assemble(capture(processes=[one])).buffers
    assert (buffer.inode, buffer.fd_count) == (1, 1)
    assert buffer.holders[0].maps == (MapRef(0x7F0000000000, 0x2000, 0x1000, "rw-s"),)
    only_mapped = assemble(capture(processes=[process(7, maps=maps)]))
    assert [each.inode for each in only_mapped.buffers] == [1]


def test_a_vma_does_not_tell_the_size() -> None:
    maps = (VMA % ("00:0c", 5, "/dmabuf:two\\012lines")).encode()
    (buffer,) = assemble(capture(processes=[process(7, maps=maps)])).buffers
    assert (buffer.size_bytes, buffer.name, buffer.provenance["name"]) == (None, "two\nlines", (Source.MAPS,))


def test_names_with_newlines_are_healed_from_fdinfo() -> None:
    evil = "a\n\twrite fence:x signalled"
    one = process(7, links=[link(3, stat_of(1, 4096))], fdinfo={3: fdinfo(1, 4096, name=evil)})
    text = bufinfo(row(4096, 1, "system", 1, evil), row(8192, 1, "system", 2, "<none>"), total=12288)
    shot = assemble(capture({BUFINFO: text}, [one]))
    assert [(each.name, each.fences, each.told("name")) for each in shot.buffers] == [
        (evil, (), True),
        (None, (), True),
    ]
    assert not any("bufinfo" in each.what for each in shot.gaps)


def test_unnamed_empty_and_unknown() -> None:
    one = process(
        7,
        links=[link(fd, stat_of(fd, 4096)) for fd in (3, 4, 5)],
        fdinfo={3: fdinfo(3, 4096), 4: fdinfo(4, 4096, name=""), 5: ReadError("open", errno.EACCES)},
    )
    shot = assemble(capture(processes=[one]))
    assert [(each.name, each.told("name")) for each in shot.buffers] == [(None, True), ("", True), (None, False)]
    assert gap(shot, "fdinfo of descriptors of 1 process").remedy == "run as root or with CAP_SYS_PTRACE"


def test_stat_and_fdinfo_win_over_bufinfo() -> None:
    one = process(7, links=[link(3, stat_of(1, 4096))], fdinfo={3: fdinfo(1, 4096, exporter="system")})
    text = bufinfo(row(9999, 5, "other", 1, "n"), total=1)
    shot = assemble(capture({BUFINFO: text}, [one]))
    (buffer,) = shot.buffers
    assert (buffer.size_bytes, buffer.exporter, buffer.name, buffer.file_count) == (4096, "system", None, 1)
    assert buffer.provenance["size_bytes"] == (Source.FD_STAT, Source.FDINFO, Source.BUFINFO)
    assert "the last line says 1 objects, 1 bytes" in gap(shot, "rows of bufinfo").why


def test_a_bufinfo_in_order_has_the_newest_count() -> None:
    one = process(7, links=[link(3, stat_of(1, 4096))], fdinfo={3: fdinfo(1, 4096, count=4)})
    text = bufinfo(row(4096, 2, "system", 1, "<none>"), total=4096)
    (buffer,) = assemble(capture({BUFINFO: text}, [one])).buffers
    assert (buffer.file_count, buffer.hidden_refs) == (2, 1)
    assert buffer.provenance["file_count"] == (Source.BUFINFO, Source.FDINFO)


def test_flags_and_high_fds() -> None:
    one = process(7, links=[link(900, stat_of(1, 4096))], fdinfo={900: fdinfo(1, 4096)})
    (buffer,) = assemble(capture(processes=[one])).buffers
    assert buffer.holders[0].fds == (FdRef(900, None, 0o2000002),)


def test_numbers_that_no_kernel_says_are_not_taken() -> None:
    links = [link(3, stat_of(1, -5)), link(4, stat_of(2, 1 << 64)), link(5, stat_of(1 << 64, 4096))]
    shot = assemble(capture(processes=[process(7, links=links, fdinfo={3: fdinfo(9, 4096)})]))
    assert [(each.inode, each.size_bytes) for each in shot.buffers] == [(9, 4096)]
    assert gap(shot, "2 descriptors of unknown buffers").remedy == "capture stat of descriptors too"


def test_fdinfo_alone_is_enough() -> None:
    one = process(7, fdinfo={3: fdinfo(1, 4096), 4: b"pos:\t0\nflags:\t02\nmnt_id:\t9\nino:\t5\n", 5: b"garbage"})
    shot = assemble(capture(processes=[one]))
    assert [each.inode for each in shot.buffers] == [1]
    assert gap(shot, "fdinfo of descriptors of 1 process").why.startswith("fdinfo: line 1")


def test_attachments_of_5_14() -> None:
    base = "sys/kernel/dmabuf/buffers/9"
    files = {
        f"{base}/size": b"4096\n",
        f"{base}/exporter_name": b"system\n",
        f"{base}/attachments/2/map_counter": b"1\n",
    }
    links = {f"{base}/attachments/{n}/device": b"../../../devices/" + dev for n, dev in (("2", b"gpu"), ("1", b"isp"))}
    (buffer,) = assemble(capture(files, links=links)).buffers
    assert (buffer.attachments, buffer.size_bytes) == (("isp", "gpu"), 4096)


def test_a_directory_of_sysfs_that_vanished() -> None:
    base = "sys/kernel/dmabuf/buffers"
    gone = ReadError("open", errno.ENOENT)
    files = {f"{base}/9/size": gone, f"{base}/9/exporter_name": gone}
    assert assemble(capture(files)).buffers == ()
    odd = assemble(capture({**files, f"{base}/8/size": b"x", f"{base}/8/exporter_name": b"system\n"}))
    assert by_inode(odd).keys() == {8}
    assert odd.buffers[0].size_bytes is None
    assert gap(odd, "1 file below /sys/kernel/dmabuf/buffers").why.startswith("dmabuf size")


def test_pools_of_android() -> None:
    assert assemble(capture({"sys/kernel/dma_heap/total_pools_kb": b"12\n"})).memory.pools_bytes == 12288


def test_nothing_at_all() -> None:
    shot = assemble(capture())
    assert (shot.heaps, shot.buffers, shot.processes, shot.cma) == ((), (), (), ())
    assert (shot.source, shot.captured_at, shot.page_bytes) == ("test", 12.5, 4096)
    assert Gap("boot id", "not in the capture", "record it too, to compare captures of one boot") in shot.gaps


def test_a_board_with_two_areas_and_one_heap() -> None:
    """As an arm64 kernel 6.1 with a devicetree has it: commas and @ in names, CmaTotal of both areas."""
    files: dict[str, bytes] = {"dev.ls": nodes("linux,cma", "system"), "proc/meminfo": b"CmaTotal:         131072 kB\n"}
    for area, pages in (("linux,cma", b"16384\n"), ("video@60000000", b"16384\n")):
        files |= {f"sys/kernel/debug/cma/{area}/count": pages, f"sys/kernel/debug/cma/{area}/used": b"2\n"}
        files |= {f"sys/kernel/mm/cma/{area}/alloc_pages_success": b"5\n"}
    one = process(7, links=[link(3, stat_of(1, 8192))], fdinfo={3: fdinfo(1, 8192, exporter="linux,cma")})
    shot = assemble(capture(files, [one]))
    assert [(heap.name, heap.cma_area, heap.size_bytes) for heap in shot.heaps] == [
        ("linux,cma", "linux,cma", 8192),
        ("system", None, 0),
    ]
    assert [(area.name, area.count_pages, area.used_pages) for area in shot.cma] == [
        ("linux,cma", 16384, 2),
        ("video@60000000", 16384, 2),
    ]
    assert shot.page_bytes == 4096
    assert gap(shot, "which pages are in use").what.endswith("CMA area linux,cma, video@60000000")


def test_pages_of_16_kib() -> None:
    big = process(7, files={"status": STATUS, "statm": b"100 1 1 1 0 1 0\n"})
    torn = process(8, files={"status": STATUS, "statm": b"101 1 1 1 0 1 0\n"})
    assert assemble(capture(processes=[big, torn])).page_bytes == 16384
    areas: dict[str, bytes] = {"sys/kernel/mm/cma/a/total_pages": b"4\n", "proc/meminfo": b"CmaTotal:   256 kB\n"}
    assert assemble(capture(areas, [torn])).page_bytes == 65536


STATUS = (
    b"Name:\tapp\nUmask:\t0022\nState:\tS (sleeping)\nTgid:\t7\nNgid:\t0\nPid:\t7\nPPid:\t1\nTracerPid:\t0\n"
    b"Uid:\t5\t5\t5\t5\nGid:\t5\t5\t5\t5\nFDSize:\t64\nGroups:\t\nNStgid:\t7\nNSpid:\t7\n"
    b"VmPeak:\t    1600 kB\nVmSize:\t    1600 kB\nVmRSS:\t     100 kB\nThreads:\t1\n"
)
