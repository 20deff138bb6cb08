import pytest

from heaptop.errors import ParseError
from heaptop.parse import dmabuf_sysfs
from heaptop.parse.dmabuf_sysfs import Entry
from tests.conftest import CaptureDir
from tests.support import truth

ROOT = "sys/kernel/dmabuf/buffers"


@pytest.mark.parametrize(
    ("path", "entry"),
    [
        (f"{ROOT}/12/size", Entry(12, "size", None)),
        (f"{ROOT}/12/exporter_name", Entry(12, "exporter_name", None)),
        (f"{ROOT}/12/attachments/0/device", Entry(12, "device", "0")),
        (f"{ROOT}/12/attachments/7/map_counter", Entry(12, "map_counter", "7")),
        (f"{ROOT}/12/device", None),
        (f"{ROOT}/x/size", None),
        (f"{ROOT}/12/size/more", None),
        ("sys/kernel/debug/dma_buf/bufinfo", None),
    ],
)
def test_entry(path: str, entry: Entry | None) -> None:
    assert dmabuf_sysfs.entry(path) == entry


def test_values() -> None:
    assert dmabuf_sysfs.exporter_name(b"linux,cma\n") == b"linux,cma"
    assert dmabuf_sysfs.size(b"4194304\n") == 4194304
    assert dmabuf_sysfs.map_counter(b"2\n") == 2
    assert dmabuf_sysfs.device(b"../../../../../devices/platform/soc:gpu") == b"soc:gpu"


def test_broken() -> None:
    for data in (b"", b"\n", b"a\nb\n"):
        with pytest.raises(ParseError):
            dmabuf_sysfs.exporter_name(data)
    with pytest.raises(ParseError):
        dmabuf_sysfs.size(b"-1\n")


def test_captured(capture_dir: CaptureDir) -> None:
    folder = capture_dir("6.12.117-x86_64")
    found = {}
    for path in folder.glob(f"{ROOT}/*/*"):
        entry = dmabuf_sysfs.entry(path.relative_to(folder).as_posix())
        assert entry is not None
        found[entry.inode, entry.file] = path.read_bytes()
    wanted = {(holder.inode, holder.size_bytes, holder.exporter) for holder in truth("6.12.117-x86_64")}
    for inode, size_bytes, exporter in wanted:
        assert dmabuf_sysfs.size(found[inode, "size"]) == size_bytes
        assert dmabuf_sysfs.exporter_name(found[inode, "exporter_name"]) == exporter.encode()
    assert len(found) == 2 * len(wanted)
