"""Snapshots of other tools' dumps: what they tell is joined, what they cannot tell stays None and is a gap."""

from pathlib import Path

import pytest

from heaptop import recording
from heaptop.assemble import assemble
from heaptop.model import CmaFailure, PageRun, Snapshot, Source

DUMPS = Path(__file__).parent.parent / "dumps"


def snapshot(name: str) -> Snapshot:
    return assemble(recording.read(str(DUMPS / name)))


def gaps(shot: Snapshot) -> str:
    return "\n".join(f"{gap.what}: {gap.why}; {gap.remedy}" for gap in shot.gaps)


def test_a_bug_report() -> None:
    shot = snapshot("bugreport.txt")
    first, second, orphan = shot.buffers
    assert (first.inode, first.size_bytes, first.name, first.exporter) == (1, 4620288, "FramebufferSurface", "system")
    assert first.provenance["size_bytes"] == (Source.DMABUF_DUMP,)
    assert [holder.comm for holder in first.holders] == ["composer@2.4-se", "surfaceflinger"]
    assert (first.fd_count, first.map_count, first.file_count, first.hidden_refs) == (None, None, None, None)
    assert second.name is None
    assert orphan.is_orphan
    assert orphan.size_bytes == 3884 * 1024
    assert {heap.name: heap.size_bytes for heap in shot.heaps} == {
        "qcom,system": 3884 * 1024,
        "system": 6116 * 1024,
    }
    assert [(p.id.pid, p.rss_bytes, p.pss_bytes) for p in shot.processes] == [
        (512, 6116 * 1024, 3058 * 1024),
        (828, 6116 * 1024, 3058 * 1024),
    ]
    assert shot.kernel == "5.10.157-android13-4-00001"
    assert "not whole" not in gaps(shot)
    assert "mount" not in gaps(shot)
    assert "heaptop capture" in gaps(shot)


def test_cma_by_the_kernel_log() -> None:
    (area,) = snapshot("bugreport.txt").cma
    assert (area.name, area.count_pages, area.used_pages, area.base_pfn) == ("linux,cma", 65536, 65521, 0x90000)
    assert area.max_free_run_pages == 12
    assert area.failures == (CmaFailure(100.123456, 128, 16),)


def test_kernel_only_bytes_that_are_not_listed() -> None:
    assert "buffers of 3884 KiB that no process holds: dmabuf_dump lists none of them" in gaps(
        snapshot("dmabuf_dump.txt")
    )


def test_who_holds_them_may_not_be_told() -> None:
    assert "who holds 2 buffers: this dump does not tell" in gaps(snapshot("dmabuf_dump-b.txt"))
    assert "who holds" not in gaps(snapshot("dmabuf_dump.txt"))


def test_pss_is_what_the_dump_says_where_not_all_holders_are_in_it() -> None:
    (process,) = snapshot("dmabuf_dump.csv").processes
    assert (process.rss_bytes, process.pss_bytes) == (6116 * 1024, 3058 * 1024)


def test_ion_has_processes_and_sums_but_no_buffers() -> None:
    shot = snapshot("ion-system")
    assert shot.buffers == ()
    (heap,) = shot.heaps
    assert (heap.buffers, heap.size_bytes) == (None, 12644686)
    assert [(p.comm, p.rss_bytes, p.pss_bytes) for p in shot.processes] == [
        ("adsprpc-smd", 4096, None),
        ("surfaceflinger", 12345678, None),
    ]
    assert shot.memory.pools_bytes == 4194304
    assert "without identity" in gaps(shot)


def test_mediatek() -> None:
    (buffer,) = snapshot("mtk-all.txt").buffers
    assert (buffer.fd_count, buffer.map_count, buffer.file_count, buffer.hidden_refs) == (1, 1, 3, 1)
    assert buffer.attachments == ("soc:camera",)
    (buffer,) = snapshot("mtk-fds.txt").buffers
    assert (buffer.fd_count, buffer.map_count, buffer.hidden_refs) == (2, None, None)
    assert [ref.fd for ref in buffer.holders[0].fds] == [14, 15]


def test_rockchip_tells_where_a_buffer_lies() -> None:
    (buffer,) = snapshot("rk.txt").buffers
    assert buffer.runs == (PageRun(0x10000, 2048),)


@pytest.mark.parametrize("path", sorted(DUMPS.glob("[!R]*")), ids=lambda path: path.name)
def test_every_value_has_a_source(path: Path) -> None:
    for buffer in snapshot(path.name).buffers:
        for field in ("size_bytes", "exporter", "name", "file_count", "attachments", "runs"):
            assert buffer.told(field) == (getattr(buffer, field) is not None)
