import pytest

from heaptop.errors import ParseError
from heaptop.parse import statm
from heaptop.parse.statm import Statm
from tests.conftest import CaptureDir


def test_fields() -> None:
    assert statm.parse(b"529 143 129 141 0 332 0\n") == Statm(529, 143, 129, 141, 0, 332, 0)


@pytest.mark.parametrize("data", [b"", b"1 2 3\n", b"1 2 3 4 5 6 7 8\n", b"1 2 3 4 5 6 -7\n"])
def test_broken(data: bytes) -> None:
    with pytest.raises(ParseError):
        statm.parse(data)


def test_captured(capture_dir: CaptureDir, capture_name: str) -> None:
    parsed = statm.parse((capture_dir(capture_name) / "proc/1/statm").read_bytes())
    assert parsed.size > parsed.resident > 0
