import pytest

from heaptop.errors import ParseError
from heaptop.parse import oom_score_adj
from tests.conftest import CaptureDir


def test_range() -> None:
    assert oom_score_adj.parse(b"-1000\n") == -1000


@pytest.mark.parametrize("data", [b"", b"\n", b"x\n", b"1 2\n", b"1" * 5000])
def test_broken(data: bytes) -> None:
    with pytest.raises(ParseError):
        oom_score_adj.parse(data)


def test_captured(capture_dir: CaptureDir, capture_name: str) -> None:
    assert oom_score_adj.parse((capture_dir(capture_name) / "proc/1/oom_score_adj").read_bytes()) == 0
