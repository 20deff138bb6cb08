import pytest

from heaptop.errors import ParseError
from heaptop.parse import cma_sysfs
from tests.conftest import CaptureDir

ROOT = "sys/kernel/mm/cma"


@pytest.mark.parametrize("area", ["reserved", "linux,cma@58000000", "video@60000000", "cma0\n"])
def test_area_file(area: str) -> None:
    assert cma_sysfs.area_file(f"{ROOT}/{area}/total_pages") == (area, "total_pages")


@pytest.mark.parametrize("path", [ROOT, f"{ROOT}/reserved", f"{ROOT}/reserved/a/b", "sys/kernel/debug/cma/r/count"])
def test_other_paths(path: str) -> None:
    assert cma_sysfs.area_file(path) is None


def test_broken() -> None:
    with pytest.raises(ParseError):
        cma_sysfs.counter(b"12 pages\n")


@pytest.mark.parametrize(("capture", "files"), [("6.12.117-x86_64", 3), ("7.2.13-x86_64", 5)])
def test_captured(capture_dir: CaptureDir, capture: str, files: int) -> None:
    area = capture_dir(capture) / ROOT / "reserved"
    found = {path.name: cma_sysfs.counter(path.read_bytes()) for path in area.iterdir()}
    assert len(found) == files
    assert found["alloc_pages_success"] > found["release_pages_success"] > 0
    assert found["alloc_pages_fail"] == 15360
