import pytest
from hypothesis import given
from hypothesis import strategies as st

from heaptop.errors import ParseError
from heaptop.parse import stat
from heaptop.parse.stat import Stat
from tests.conftest import CaptureDir
from tests.parse import hostile
from tests.support import truth

TAIL = b" 79 72 72 0 -1 4194368 14 0 0 0 0 0 0 0 20 0 1 0 207 2166784 111 18446744073709551615 4198400 0 0\n"


@given(hostile.comms(), st.sampled_from("RSDTtXZPI"))
def test_any_comm(comm: bytes, state: str) -> None:
    parsed = stat.parse(b"88 (" + comm + b") " + state.encode() + TAIL)
    assert parsed == Stat(88, comm, state, ppid=79, num_threads=1, starttime=207, vsize=2166784, rss=111)


@pytest.mark.parametrize("data", [b"", b"88 (x) S 1 2 3\n", b"88 x S" + TAIL, b"88 (x) S" + TAIL + b"more"])
def test_broken(data: bytes) -> None:
    with pytest.raises(ParseError):
        stat.parse(data)


def test_captured(capture_dir: CaptureDir, capture_name: str) -> None:
    for holder in truth(capture_name):
        parsed = stat.parse((capture_dir(capture_name) / f"proc/{holder.pid}/stat").read_bytes())
        assert parsed.pid == holder.pid
        assert holder.tid != holder.pid or parsed.comm == holder.comm
        assert parsed.starttime > 0
