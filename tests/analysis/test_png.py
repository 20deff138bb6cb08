import struct
import zlib

from hypothesis import given
from hypothesis import strategies as st

from heaptop.analysis.png import SIGNATURE, encode


def decoded(png: bytes) -> tuple[int, int, bytes]:
    """Width, height and pixels of a PNG of the kind that we write, each chunk's checksum checked."""
    assert png.startswith(SIGNATURE)
    chunks, at = [], len(SIGNATURE)
    while at < len(png):
        (length,) = struct.unpack_from(">I", png, at)
        kind, data = png[at + 4 : at + 8], png[at + 8 : at + 8 + length]
        assert struct.unpack_from(">I", png, at + 8 + length) == (zlib.crc32(kind + data),)
        chunks.append((kind, data))
        at += 12 + length
    assert [kind for kind, _ in chunks] == [b"IHDR", b"IDAT", b"IEND"]
    width, height, *rest = struct.unpack(">IIBBBBB", chunks[0][1])
    assert rest == [8, 2, 0, 0, 0]
    lines = zlib.decompress(chunks[1][1])
    step = 3 * width + 1
    assert len(lines) == step * height
    assert set(lines[::step]) == {0}
    return width, height, b"".join(lines[at + 1 : at + step] for at in range(0, len(lines), step))


@given(st.integers(1, 9).flatmap(lambda width: st.lists(st.binary(min_size=3 * width, max_size=3 * width), min_size=1)))
def test_what_goes_in_comes_out(rows: list[bytes]) -> None:
    assert decoded(encode(len(rows[0]) // 3, len(rows), rows)) == (len(rows[0]) // 3, len(rows), b"".join(rows))
