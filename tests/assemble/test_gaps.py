"""What becomes unknown, and what is said of it, where a source is taken away from a real capture."""

import errno

import pytest

from heaptop.assemble import assemble
from heaptop.capture import FdTable, ProcessCapture, ReadError
from heaptop.model import Gap, Source
from tests.assemble.captures import (
    DENIED,
    by_inode,
    each_process,
    each_table,
    gap,
    real,
    with_files,
    without_fdinfo,
    without_files,
    without_process_files,
    without_stat,
)
from tests.support import CAPTURES

BUFINFO = "sys/kernel/debug/dma_buf/bufinfo"
WHOLE = by_inode(assemble(real()))


def test_without_bufinfo_only_its_own_values_are_unknown() -> None:
    shot = assemble(without_files(real(), BUFINFO))
    found = by_inode(shot)
    assert found.keys() == WHOLE.keys()  # sysfs has them all
    for inode, buffer in found.items():
        assert (buffer.attachments, buffer.fences) == (None, None)
        assert (buffer.size_bytes, buffer.exporter, buffer.holders) == (
            WHOLE[inode].size_bytes,
            WHOLE[inode].exporter,
            WHOLE[inode].holders,
        )
        has_fdinfo = any(holder.fds for holder in buffer.holders)
        assert (buffer.file_count is None) is (buffer.hidden_refs is None) is not has_fdinfo
        assert buffer.told("name") or not has_fdinfo
    assert gap(shot, "attachments, fences").remedy == "build it with CONFIG_DEBUG_FS"
    counted = [buffer for buffer in found.values() if buffer.file_count is not None]
    assert gap(shot, "file count of") == Gap(
        f"file count of {len(found) - len(counted)} of {len(found)} buffers",
        "no source that could be read tells",
        "build it with CONFIG_DEBUG_FS",
    )


def test_without_bufinfo_and_sysfs_the_hidden_are_not_there() -> None:
    shot = assemble(without_files(real(), BUFINFO, "sys/kernel/dmabuf"))
    hidden = {inode for inode, buffer in WHOLE.items() if buffer.is_orphan}
    assert hidden
    assert by_inode(shot).keys() == WHOLE.keys() - hidden
    assert gap(shot, "buffers that no readable process holds").why == f"this kernel does not have /{BUFINFO}"


@pytest.mark.parametrize(
    ("files", "why", "remedy"),
    [
        ({BUFINFO: DENIED}, "permission denied", "run as root"),
        ({"sys/kernel/debug": DENIED}, "permission denied", "run as root"),
        (
            {"proc/mounts": b"proc /proc proc rw 0 0\n"},
            "debugfs is not mounted",
            "mount -t debugfs none /sys/kernel/debug",
        ),
        ({BUFINFO: ReadError("read", errno.ETIMEDOUT)}, "no answer in time", "look again"),
        ({BUFINFO: ReadError("read", errno.EIO)}, "read: EIO (Input/output error)", ""),
    ],
)
def test_why_there_is_no_bufinfo(files: dict[str, bytes | ReadError], why: str, remedy: str) -> None:
    shot = assemble(with_files(without_files(real(), BUFINFO), files))
    found = [each for each in shot.gaps if each.why == why]
    assert found
    assert all(each.remedy == remedy for each in found)


def test_a_recording_without_any_debugfs() -> None:
    shot = assemble(without_files(real(), "sys/kernel/debug", "proc/mounts"))
    assert gap(shot, "attachments").why == "not in the capture"
    assert gap(shot, "which pages are in use in CMA area reserved").remedy == "mount -t debugfs none /sys/kernel/debug"


def test_bufinfo_of_noise_and_cut() -> None:
    noise = assemble(with_files(real(), {BUFINFO: b"\xff\x00noise"}))
    assert gap(noise, "bufinfo").why.startswith("bufinfo: line 1: not the heading of bufinfo")
    assert all(buffer.attachments is None for buffer in noise.buffers)
    text = real().files[BUFINFO]
    assert isinstance(text, bytes)
    cut = assemble(with_files(real(), {BUFINFO: text[: len(text) // 2]}))
    assert "cut after" in gap(cut, "rows of bufinfo").why
    unknown = sum(buffer.attachments is None for buffer in cut.buffers)
    assert 0 < unknown < len(cut.buffers)
    assert f" of {unknown} of {len(cut.buffers)} buffers" in gap(cut, "attachments, fences of").what


def test_without_fdinfo_bufinfo_takes_over() -> None:
    shot = assemble(each_table(real(), without_fdinfo))
    for inode, buffer in by_inode(shot).items():
        whole = WHOLE[inode]
        assert (buffer.size_bytes, buffer.exporter, buffer.name) == (whole.size_bytes, whole.exporter, whole.name)
        assert (buffer.file_count, buffer.fd_count) == (whole.file_count, whole.fd_count)
        assert Source.FDINFO not in {source for sources in buffer.provenance.values() for source in sources}


def test_without_fdinfo_and_lists_links_and_stat_are_left() -> None:
    shot = assemble(without_files(each_table(real(), without_fdinfo), BUFINFO, "sys/kernel/dmabuf"))
    for inode, buffer in by_inode(shot).items():
        assert buffer.size_bytes == (WHOLE[inode].size_bytes if buffer.fd_count else None)
        assert (buffer.exporter, buffer.file_count, buffer.hidden_refs) == (None, None, None)
        assert buffer.name == (WHOLE[inode].name or None)  # an empty name cannot be told from none
        assert buffer.told("name") is bool(WHOLE[inode].name)
    assert "exporter, file count of" in gap(shot, "exporter, file count of").what
    assert shot.exporters[-1].name is None


def test_without_stat_fdinfo_has_the_inode() -> None:
    shot = assemble(each_table(real(), without_stat))
    for inode, buffer in by_inode(shot).items():
        assert buffer._replace(provenance=WHOLE[inode].provenance) == WHOLE[inode]
        assert Source.FD_STAT not in buffer.provenance["size_bytes"]


def test_without_maps() -> None:
    shot = assemble(without_process_files(real(), "maps"))
    assert all(buffer.map_count == 0 for buffer in shot.buffers)
    assert gap(shot, "mappings of").what == f"mappings of {len(real().processes)} processes could not be read"
    mapped = [buffer for buffer in WHOLE.values() if buffer.map_count and not buffer.fd_count]
    assert mapped
    assert all((by_inode(shot)[buffer.inode].hidden_refs or 0) >= (buffer.map_count or 0) for buffer in mapped)


def test_a_cut_maps_is_told_with_its_line() -> None:
    def cut(process: ProcessCapture) -> ProcessCapture:
        maps = process.files.get("maps", b"")
        assert isinstance(maps, bytes)
        return process._replace(files={**process.files, "maps": maps[: maps.find(b"/dmabuf:") + 9]})

    shot = assemble(each_process(real(), cut))
    assert gap(shot, "mappings of").why.startswith("maps: line ")


def test_processes_of_others() -> None:
    def deny(process: ProcessCapture) -> ProcessCapture:
        return process._replace(files={**process.files, "maps": DENIED}, table=FdTable(error=DENIED), tasks=())

    shot = assemble(each_process(real(), deny)._replace(processes_seen=430))
    count = len(real().processes)
    assert gap(shot, "processes") == Gap(
        f"{count} of 430 processes could not be read", "permission denied", "run as root or with CAP_SYS_PTRACE"
    )
    assert all(buffer.is_orphan for buffer in shot.buffers)
    assert by_inode(shot).keys() == WHOLE.keys()
    assert shot.processes == ()


def test_a_process_that_does_not_answer() -> None:
    silent = FdTable(error=ReadError("read", errno.ETIMEDOUT))
    shot = assemble(real()._replace(processes=(*real().processes, ProcessCapture(9999, {}, silent))))
    assert gap(shot, "1 process") == Gap(
        "descriptors of 1 process could not be read", "no answer in time", "look again"
    )
    assert len(shot.gaps) == 2


def test_a_process_that_died_is_no_gap() -> None:
    dead = ReadError("read", errno.ESRCH)

    def die(process: ProcessCapture) -> ProcessCapture:
        table = FdTable(
            process.table.links[:1], dict.fromkeys(process.table.fdinfo, dead), ReadError("readdir", errno.ENOENT)
        )
        return process._replace(files=dict.fromkeys(process.files, dead), table=table, tasks=())

    shot = assemble(each_process(real(), die))
    assert [each.what for each in shot.gaps] == ["boot id"]


def test_what_processes_lack() -> None:
    shot = assemble(without_process_files(real(), "cgroup", "status"))
    assert all((process.uid, process.cgroup) == (None, None) for process in shot.processes)
    assert gap(shot, "status, cgroup").what == f"status, cgroup of {len(shot.processes)} holders"


def test_comm_comes_from_elsewhere() -> None:
    names = {process.id.pid: process.comm for process in assemble(real()).processes}
    shot = assemble(without_process_files(real(), "comm"))
    assert {process.id.pid: process.comm for process in shot.processes} == names
    nameless = assemble(without_process_files(real(), "comm", "stat", "status"))
    assert {process.comm for process in nameless.processes} == {""}
    assert {process.id.start_time for process in nameless.processes} == {None}


def test_without_heaps() -> None:
    capture = without_files(real()._replace(links={}), "dev.ls", "sys/class/dma_heap", "sys/devices/virtual/dma_heap")
    shot = assemble(capture)
    assert shot.heaps == ()
    assert gap(shot, "heaps").remedy == "needs a kernel with CONFIG_DMABUF_HEAPS"
    assert {each.name for each in shot.exporters if each.is_heap} == {"system", "reserved"}
    assert all(buffer.heap is None for buffer in shot.buffers)


def test_heaps_by_sysfs_alone() -> None:
    shot = assemble(without_files(real(), "dev.ls"))
    assert [(heap.name, heap.device, heap.mode) for heap in shot.heaps] == [
        ("reserved", (254, 1), None),
        ("system", (254, 0), None),
    ]
    assert shot.heaps[0].provenance["name"] == (Source.SYSFS_HEAPS,)


def test_cma_without_debugfs() -> None:
    (area,) = assemble(without_files(real(), "sys/kernel/debug/cma")).cma
    assert (area.count_pages, area.provenance["count_pages"]) == (16384, (Source.MEMINFO,))
    assert area.provenance["used_pages"] == (Source.DERIVED,)
    assert area.used_pages is not None
    assert (area.ranges, area.order_per_bit, area.max_free_run_pages, area.base_pfn) == ((), None, None, None)
    (newer,) = assemble(without_files(real("7.2.13-x86_64"), "sys/kernel/debug/cma")).cma
    assert newer.provenance["used_pages"] == (Source.SYSFS_CMA, Source.DERIVED)
    assert newer.used_pages == 6785


def test_cma_by_bitmap_alone() -> None:
    (whole,) = assemble(real()).cma
    dropped = tuple(f"sys/kernel/debug/cma/reserved/{file}" for file in ("used", "maxchunk", "count"))
    (area,) = assemble(without_files(real(), *dropped, "proc/meminfo")).cma
    assert (area.used_pages, area.max_free_run_pages) == (whole.used_pages, whole.max_free_run_pages)
    assert area.ranges == whole.ranges
    assert area.count_pages is None


def test_no_cma_area_at_all() -> None:
    shot = assemble(without_files(real(), "sys/kernel/debug/cma", "sys/kernel/mm/cma", "dmesg.cma-dma"))
    assert shot.cma == ()
    assert gap(shot, "the CMA areas").why == "this kernel does not have /sys/kernel/debug/cma"


@pytest.mark.parametrize(
    ("file", "text"),
    [("bitmap", b"1 2 x\n"), ("bitmap", b"1 2 3\n"), ("order_per_bit", b"4000\n"), ("count", b"9" * 19)],
)
def test_a_bitmap_that_makes_no_sense_is_left_out(file: str, text: bytes) -> None:
    shot = assemble(with_files(real(), {f"sys/kernel/debug/cma/reserved/{file}": text}))
    assert all(part.bitmap is None for part in shot.cma[0].ranges)
    assert gap(shot, "which pages are in use in CMA area reserved").why == "its bitmap could not be read"


def test_the_machine_by_other_files() -> None:
    shot = assemble(without_files(real(), "proc/sys/kernel/osrelease"))
    assert shot.kernel == "6.12.117-heaplab"
    shot = assemble(without_files(real(), "proc/sys/kernel/osrelease", "proc/version"))
    assert shot.kernel == "6.12.117-heaplab"
    shot = assemble(
        without_files(real(), "proc/sys/kernel/osrelease", "proc/version", "uname", "proc/meminfo", "proc/vmstat")
    )
    assert shot.kernel is None
    assert gap(shot, "kernel release").why == "not in the capture"
    assert gap(shot, "/proc/meminfo and /proc/vmstat").why == "not in the capture"
    assert shot.memory.total_bytes is None
    shot = assemble(with_files(real(), {"proc/sys/kernel/random/boot_id": b"0a0a0a0a-0a0a-0a0a-0a0a-0a0a0a0a0a0a\n"}))
    assert (shot.boot_id, shot.gaps) == ("0a0a0a0a-0a0a-0a0a-0a0a-0a0a0a0a0a0a", ())


def test_page_size() -> None:
    assert assemble(without_process_files(real(), "statm")).page_bytes == 4096  # by CmaTotal

    def big(process: ProcessCapture) -> ProcessCapture:
        return process._replace(files={**process.files, "status": b"", "statm": b"10 1 1 1 0 1 0\n"})

    tree = each_process(real(), big)
    assert assemble(tree).page_bytes == 4096
    bare = without_files(tree, "proc/meminfo", "sys/kernel/debug/cma", "sys/kernel/mm/cma")
    assert assemble(bare).page_bytes == 4096


def test_a_damaged_recording_says_so() -> None:
    shot = assemble(with_files(real(), {"recording": ReadError("read", errno.EIO)}))
    assert gap(shot, "a part of the recording").remedy == "make it again; what is there is shown"


@pytest.mark.parametrize("name", CAPTURES)
def test_the_order_of_files_does_not_matter(name: str) -> None:
    whole = real(name)
    turned = whole._replace(
        files=dict(list(whole.files.items())[::-1]),
        links=dict(list(whole.links.items())[::-1]),
        processes=tuple(each._replace(files=dict(list(each.files.items())[::-1])) for each in whole.processes),
    )
    assert assemble(turned) == assemble(whole)
