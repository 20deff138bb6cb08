import pytest

from heaptop.errors import ParseError
from heaptop.parse import pagetypeinfo
from heaptop.parse.pagetypeinfo import BlockCounts, FreeCounts
from tests.conftest import CaptureDir

TEXT = b"""Page block order: 9
Pages per block:  512

Free pages count per migrate type at order       0      1      2
Node    0, zone   Normal, type    Unmovable      1 >100000      0\x20
Node    1, zone  Movable, type          CMA      4      5      6\x20

Number of blocks type     Unmovable          CMA\x20
Node 0, zone   Normal           61           32\x20
Node 1, zone  Movable            0            7\x20
"""


def test_fields() -> None:
    parsed = pagetypeinfo.parse(TEXT)
    assert (parsed.page_block_order, parsed.pages_per_block) == (9, 512)
    assert parsed.free == (
        FreeCounts(0, "Normal", "Unmovable", (1, 100000, 0), (1,)),
        FreeCounts(1, "Movable", "CMA", (4, 5, 6), ()),
    )
    assert parsed.blocks[1] == BlockCounts(1, "Movable", {"Unmovable": 0, "CMA": 7})


def test_page_owner_adds_a_section() -> None:
    mixed = b"\nNumber of mixed blocks     Unmovable          CMA \nNode 0, zone   Normal            0            0 \n"
    assert pagetypeinfo.parse(TEXT + mixed) == pagetypeinfo.parse(TEXT)


@pytest.mark.parametrize(
    ("data", "line"),
    [
        (b"", 1),
        (TEXT.replace(b"512", b"x"), 1),
        (TEXT.replace(b"order  ", b"order 1 1 1x" + b"1" * 200), 4),
        (TEXT.replace(b"      4      5", b"      4      y"), 6),
        (TEXT.replace(b"           32", b""), 9),
        (TEXT[:-2], 10),
        (TEXT[:200], 6),
    ],
)
def test_broken(data: bytes, line: int) -> None:
    with pytest.raises(ParseError) as caught:
        pagetypeinfo.parse(data)
    assert caught.value.line == line


def test_captured(capture_dir: CaptureDir, capture_name: str) -> None:
    parsed = pagetypeinfo.parse((capture_dir(capture_name) / "proc/pagetypeinfo").read_bytes())
    assert parsed.pages_per_block == 1 << parsed.page_block_order
    assert all(len(row.counts) == 11 for row in parsed.free)
    assert sum(blocks.counts.get("CMA", 0) for blocks in parsed.blocks) == (0 if "debian" in capture_name else 32)
    assert {row.migratetype for row in parsed.free} == set(parsed.blocks[0].counts)
