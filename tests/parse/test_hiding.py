"""`parse.socket_fdinfo` and `parse.io_uring_fdinfo`."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heaptop.errors import ParseError
from heaptop.parse import io_uring_fdinfo, socket_fdinfo
from tests.parse import hostile

HEAD = b"pos:\t0\nflags:\t02000002\nmnt_id:\t10\nino:\t1164\n"


def test_descriptors_in_flight() -> None:
    assert socket_fdinfo.scm_fds(HEAD + b"scm_fds: 2\n") == 2
    assert socket_fdinfo.scm_fds(HEAD + b"scm_fds:\t0\n") == 0
    assert socket_fdinfo.scm_fds(HEAD) is None


def test_registered_buffers() -> None:
    new = b"UserFiles:\t3\n    0: /dmabuf:two\\012lines\n    1: /etc/passwd\n    2: /dmabuf:\n"
    new += b"UserBufs:\t0\n    0: /dmabuf:no\n"
    old = b"UserFiles:\t2\n    0: dmabuf\n    1: socket\nUserBufs:\t0\n"
    assert io_uring_fdinfo.dmabufs(HEAD + new) == (b"two\nlines", b"")
    assert io_uring_fdinfo.dmabufs(HEAD + old) == (None,)
    assert io_uring_fdinfo.dmabufs(HEAD) == ()


@pytest.mark.parametrize("parse", [socket_fdinfo.scm_fds, io_uring_fdinfo.dmabufs])
def test_no_fdinfo(parse: object) -> None:
    assert callable(parse)
    for text in (b"", b"scm_fds: 2\n", b"UserFiles:\t1\n    0: dmabuf\n"):
        with pytest.raises(ParseError):
            parse(text)


@given(st.binary() | hostile.names(200))
def test_any_bytes(data: bytes) -> None:
    for text in (data, HEAD + data, HEAD + b"UserFiles:\t9\n    0: " + data):
        for parse in (socket_fdinfo.scm_fds, io_uring_fdinfo.dmabufs):
            with suppress(ParseError):
                parse(text)
