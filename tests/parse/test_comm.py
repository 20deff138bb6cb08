from hypothesis import given

from heaptop.parse import comm
from tests.parse import hostile


@given(hostile.comms())
def test_any_comm(name: bytes) -> None:
    assert comm.parse(name + b"\n") == name
