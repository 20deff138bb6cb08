import pytest

from heaptop.errors import ParseError
from heaptop.parse import meminfo
from tests.conftest import CaptureDir


def test_units() -> None:
    values = meminfo.parse(
        b"MemTotal:        1505068 kB\nActive(anon):          8 kB\nHugePages_Total:       3\nvendor line\n"
    )
    assert dict(values) == {"MemTotal": 1505068 * 1024, "Active(anon)": 8192, "HugePages_Total": 3}


@pytest.mark.parametrize("data", [b"", b"noise\n", b"MemTotal:        1505068 k", b"MemTotal: " + b"9" * 5000 + b"\n"])
def test_broken(data: bytes) -> None:
    with pytest.raises(ParseError):
        meminfo.parse(data)


def test_captured(capture_dir: CaptureDir, capture_name: str) -> None:
    data = (capture_dir(capture_name) / "proc/meminfo").read_bytes()
    values = meminfo.parse(data)
    assert len(values) == data.count(b"\n")
    assert values["MemTotal"] > values["MemAvailable"] > 0
    assert values.get("CmaTotal") == (None if "debian" in capture_name else 64 << 20)
