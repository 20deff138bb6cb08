"""Real dma-bufs: by BPF every process is told as /proc tells it, and what comes of it is the same picture."""

from collections.abc import Iterator
from contextlib import closing

import pytest

pytest.importorskip("heaptop.scan._scan")

from heaptop.assemble import assemble
from heaptop.backend.kernel import KernelBackend
from heaptop.capture import Capture
from heaptop.scan._clocks import ProcClocks
from heaptop.scan.bpf_chunks import BpfChunks
from heaptop.scan.bpf_here import make
from heaptop.scan.bpf_scan import BpfScan
from heaptop.scan.btf import BtfError
from heaptop.scan.chunks import MAPS, Chunks
from heaptop.scan.incremental import IncrementalScan
from heaptop.scan.proc import ProcScan
from tests.vm.guest.truth import Truth

SCAN = ProcScan()


@pytest.fixture(params=[True, False], ids=["walk", "passes"], scope="module")
def bpf(request: pytest.FixtureRequest) -> Iterator[BpfScan]:
    try:
        found = make(walks=request.param)
    except (BtfError, OSError) as why:
        pytest.skip(f"not on this kernel: {why}")
    if found.walks is not request.param:
        found.close()
        pytest.skip("this kernel does not offer what the quick way takes")
    with closing(found):
        yield found


def mapped(text: object) -> list[bytes]:
    assert isinstance(text, bytes)
    return [line for line in text.splitlines() if b"dmabuf" in line]


def test_every_process(truth: Truth, bpf: BpfScan) -> None:
    pids = SCAN.pids()
    told = bpf.look(pids)
    holders, odd = 0, 0
    for pid, capture, _ in Chunks(SCAN).each(pids, complete=True):
        about = told.get(pid)
        if about is None or about.is_odd:
            odd += about is not None
            continue
        links = () if capture is None else tuple(link for link in capture.table.links if link.stat is not None)
        maps = [] if capture is None else mapped(capture.files.get(MAPS, capture.files.get("maps")))
        assert about.links == links, pid
        assert mapped(about.maps) == maps, pid
        if capture is not None:
            assert about.comm + b"\n" == capture.files["comm"]
            holders += 1
    assert holders > 10
    assert odd <= len({hold.pid for hold in truth.holds if hold.way in {"thread_table", "dead_leader", "io_uring"}})


def test_fdinfo(truth: Truth, bpf: BpfScan) -> None:
    """It is composed of what BPF tells, byte for byte as the kernel prints it."""
    pids = SCAN.pids()
    told = bpf.look(pids)
    wanted = [(pid, 0, link.fd, link.stat.inode) for pid in told for link in told[pid].links if link.stat is not None]
    said = Chunks(SCAN).infos(wanted)
    composed = [bpf.newest.info(told[pid].first, fd, inode) for pid, _, fd, inode in wanted]
    assert len(wanted) > 10
    assert composed == said
    assert bpf.newest.info(told[wanted[0][0]].first, wanted[0][2], wanted[0][3] + 1) is None


def test_the_picture(truth: Truth, bpf: BpfScan) -> None:
    chunks = BpfChunks(SCAN, make=lambda: make(walks=bpf.walks), worth=0)
    by_bpf = KernelBackend(holders=IncrementalScan(chunks, ProcClocks(SCAN.root)))
    by_proc = KernelBackend(holders=IncrementalScan(Chunks(SCAN), ProcClocks(SCAN.root)))
    with closing(by_bpf), closing(by_proc):
        for _ in range(3):
            one, other = picture(by_bpf), picture(by_proc)
            assert one.files["heaptop/way"] == b"BPF\n"
            assert other.files["heaptop/way"] != b"BPF\n"
            ours, theirs = assemble(one), assemble(other)
            assert ours.buffers == theirs.buffers
            assert ours.processes == theirs.processes
            assert ours.gaps == theirs.gaps
            assert chunks._is_fdinfo_known is True
            assert truth.buffers.keys() <= {buffer.inode for buffer in ours.buffers}


def picture(backend: KernelBackend) -> Capture:
    backend.attend()
    return backend.capture()
