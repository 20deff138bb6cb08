import pytest

from heaptop.errors import ParseError
from heaptop.parse import vmstat
from tests.conftest import CaptureDir


@pytest.mark.parametrize("data", [b"", b"noise\n", b"nr_free_cma 12", b"nr_free_cma " + b"9" * 5000 + b"\n"])
def test_broken(data: bytes) -> None:
    with pytest.raises(ParseError):
        vmstat.parse(data)


def test_captured(capture_dir: CaptureDir, capture_name: str) -> None:
    data = (capture_dir(capture_name) / "proc/vmstat").read_bytes()
    values = vmstat.parse(data)
    assert len(values) == data.count(b"\n")
    assert values["nr_free_pages"] > 0
    assert values.get("cma_alloc_fail") == (None if "debian" in capture_name else 1)
