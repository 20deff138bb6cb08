import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heaptop.capture import FdLink, FdStat
from heaptop.parse import fdlink
from heaptop.parse.fdlink import Kind
from tests.conftest import CaptureDir
from tests.parse import hostile
from tests.support import truth


def stat(mode: int) -> FdStat:
    return FdStat(dev=(0, 8), inode=3, size_bytes=4096, mode=mode, nlink=1, blocks=8)


@pytest.mark.parametrize(
    ("target", "kind"),
    [
        (b"/dmabuf:", Kind.DMABUF),
        (b"/dmabuf:a\nb (deleted)", Kind.DMABUF),
        (b"anon_inode:dmabuf", Kind.DMABUF_ANON),
        (b"anon_inode:dmabufs", Kind.OTHER),
        (b"anon_inode:[io_uring]", Kind.IO_URING),
        (b"socket:[1164]", Kind.SOCKET),
        (b"/dev/dma_heap/linux,cma", Kind.HEAP),
        (b"/dev/dma_heap", Kind.OTHER),
        (b"/memfd:guest-ram (deleted)", Kind.MEMFD),
        (b"/tmp/dmabuf:x", Kind.OTHER),
        (b"", Kind.OTHER),
    ],
)
def test_kind(target: bytes, kind: Kind) -> None:
    assert fdlink.kind(target) is kind
    assert fdlink.classify(FdLink(3, target)) is kind


@pytest.mark.parametrize("target", [b"/dmabuf:fake", b"/dmabuf:fake (deleted)"])
def test_a_regular_file_does_not_pass_for_a_dma_buf(target: bytes) -> None:
    assert fdlink.classify(FdLink(3, target, stat(0o100644))) is Kind.OTHER
    assert fdlink.classify(FdLink(3, target, stat(0o600))) is Kind.DMABUF


@given(hostile.names())
def test_any_name(name: bytes) -> None:
    assert fdlink.dmabuf_name(b"/dmabuf:" + name) == name
    assert fdlink.classify(FdLink(3, b"/dmabuf:" + name, stat(0o600))) is Kind.DMABUF


@given(st.binary())
def test_total(target: bytes) -> None:
    known = fdlink.kind(target)
    assert (fdlink.dmabuf_name(target) is not None) == (known is Kind.DMABUF)
    assert (fdlink.heap_name(target) is not None) == (known is Kind.HEAP)


def test_heap_name() -> None:
    assert fdlink.heap_name(b"/dev/dma_heap/qcom,system") == b"qcom,system"


def test_captured_links_are_those_of_the_workload(capture_dir: CaptureDir, capture_name: str) -> None:
    seen = set()
    for path in capture_dir(capture_name).glob("proc/[0-9]*/fd.json"):
        for row in json.loads(path.read_text()):
            target = row["target"].encode("latin-1")
            link = FdLink(row["fd"], target, stat(int(row["st_mode"], 8)))
            if fdlink.classify(link) is Kind.DMABUF:
                seen.add((int(path.parent.name), link.fd, fdlink.dmabuf_name(target)))
    holders = [holder for holder in truth(capture_name) if holder.fd is not None and holder.tid == holder.pid]
    assert seen == {(holder.pid, holder.fd, holder.name or b"") for holder in holders}
