import pytest

from heaptop.errors import ParseError
from heaptop.parse import dma_heap
from heaptop.parse.dma_heap import HeapNode
from tests.conftest import CaptureDir

NODES = b"""crw-------    1 0        0          10, 258 Nov 22 22:37 /dev/udmabuf

/dev/dma_heap:
total 0
drwxr-xr-x 2 0 0 40 Jan  1  2024 folder
crw-rw----    1 0        44        251,   0 Nov 22 22:37 linux,cma@58000000
cr--r--r--+ 1 1000 1000 251, 1 2024-01-01 00:00 two words
crw-rw-r-t. 1 0 0 251, 2 Jan  1  2024 dated

/dev/dri:
total 0
crw-------    1 0        0         226,   0 Nov 22 22:37 card0
"""


def test_each_ls() -> None:
    assert dma_heap.parse(NODES) == (
        HeapNode(b"linux,cma@58000000", 251, 0, 0o660, 0, 44),
        HeapNode(b"two words", 251, 1, 0o444, 1000, 1000),
        HeapNode(b"dated", 251, 2, 0o665, 0, 0),
    )


def test_no_heaps() -> None:
    assert dma_heap.parse(b"") == ()
    assert dma_heap.parse(b"crw------- 1 0 0 10, 258 Nov 22 22:37 /dev/udmabuf\n") == ()


def test_broken() -> None:
    with pytest.raises(ParseError) as caught:
        dma_heap.parse(b"/dev/dma_heap:\ntotal 0\ncrw------- noise\n")
    assert caught.value.line == 3


def test_class_heaps() -> None:
    paths = (
        "sys/class/dma_heap/system",
        "sys/class/dma_heap/qcom,system",
        "sys/class/dma_heap/system/dev",
        "sys/class/dma_heap",
        "sys/devices/virtual/dma_heap/system/subsystem",
    )
    assert dma_heap.class_heaps(paths) == ("qcom,system", "system")


def test_device() -> None:
    assert dma_heap.device(b"251:1\n") == (251, 1)
    with pytest.raises(ParseError):
        dma_heap.device(b"251\n")


def test_captured(capture_dir: CaptureDir, capture_name: str) -> None:
    folder = capture_dir(capture_name)
    nodes = dma_heap.parse((folder / "dev.ls").read_bytes())
    assert {node.name for node in nodes} >= {b"system"}
    for node in nodes:
        dev = folder / "sys/devices/virtual/dma_heap" / node.name.decode() / "dev"
        assert dma_heap.device(dev.read_bytes()) == (node.major, node.minor)
        assert node.mode == 0o600
