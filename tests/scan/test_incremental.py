import pytest

from heaptop.capture import ProcessCapture
from heaptop.scan.incremental import has_private


@pytest.mark.parametrize(
    ("maps", "is_private"),
    [
        (b"", False),
        (b"7f00-7f01 rw-s 00000000 00:0c 9 /dmabuf:\r\n", False),
        (b"7f00-7f01 rw-s 00000000 00:0c 9 /dmabuf:a\r7f01-7f02 rw-p 0\n", False),
        (b"7f00-7f01 rw-s 00000000 00:0c 9 /dmabuf:a\r\n7f01-7f02 r--p 00000000 00:0c 9 /dmabuf:a\r\n", True),
    ],
)
def test_private_mappings_are_found_whatever_names_buffers_have(maps: bytes, is_private: bool) -> None:
    assert has_private(ProcessCapture(7, {"maps.buffers": maps})) == is_private
