import pytest
from hypothesis import given
from hypothesis import strategies as st

from heaptop.errors import ParseError
from heaptop.parse import cma_debugfs
from heaptop.parse.cma_debugfs import AreaFile
from tests.conftest import CaptureDir

ROOT = "sys/kernel/debug/cma"


@pytest.mark.parametrize(
    ("path", "wanted"),
    [
        (f"{ROOT}/cma-reserved/count", AreaFile("cma-reserved", "count", None)),
        (f"{ROOT}/linux,cma@58000000/bitmap", AreaFile("linux,cma@58000000", "bitmap", None)),
        (f"{ROOT}/cma0\n/bitmap", AreaFile("cma0\n", "bitmap", None)),
        (f"{ROOT}/reserved/ranges/7/base_pfn", AreaFile("reserved", "base_pfn", 7)),
        (f"{ROOT}/ranges/count", AreaFile("ranges", "count", None)),
        (f"{ROOT}/reserved", None),
        (f"{ROOT}/reserved/other/7/base_pfn", None),
        ("sys/kernel/mm/cma/reserved/total_pages", None),
    ],
)
def test_area_file(path: str, wanted: AreaFile | None) -> None:
    assert cma_debugfs.area_file(path) == wanted


@pytest.mark.parametrize(
    ("directory", "known", "name"),
    [
        ("reserved", (), "reserved"),
        ("cma-reserved", (), "reserved"),
        ("cma-0", (), "cma-0"),
        ("cma-default_cma", (), "default_cma"),
        ("cma-default_cma", ("default_cma_region", "reserved"), "default_cma_region"),
        ("cma-default_cma", ("default_cma_a", "default_cma_b"), "default_cma"),
        ("cma-default_cma", ("default_cma", "default_cma_b"), "default_cma"),
        ("cma-pool", ("cma-pool",), "cma-pool"),
        ("cma-", (), "cma-"),
    ],
)
def test_area_name(directory: str, known: tuple[str, ...], name: str) -> None:
    assert cma_debugfs.area_name(directory, known) == name


def test_order_per_bit_drops_the_neighbour() -> None:
    assert cma_debugfs.order_per_bit(b"%d\n" % (0xDEAD_0000_0000 + 9)) == 9


@given(st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=40))
def test_bitmap_is_the_words_low_bit_first(words: list[int]) -> None:
    packed = cma_debugfs.bitmap(b" ".join(b"%d" % word for word in words) + b"\n")
    bits = [word >> bit & 1 for word in words for bit in range(32)]
    assert [packed[at // 8] >> at % 8 & 1 for at in range(8 * len(packed))] == bits


@pytest.mark.parametrize("data", [b"", b"\n", b"1  2\n", b"1,2\n", b"-1\n", b"4294967296\n", b"1 \n", b"0x1\n"])
def test_broken_bitmap(data: bytes) -> None:
    with pytest.raises(ParseError):
        cma_debugfs.bitmap(data)


@pytest.mark.parametrize("capture", ["6.12.117-x86_64", "7.2.13-x86_64"])
def test_captured(capture_dir: CaptureDir, capture: str) -> None:
    folder = capture_dir(capture)
    found = {}
    for path in (folder / ROOT).rglob("*"):
        if path.is_file() and (file := cma_debugfs.area_file(path.relative_to(folder).as_posix())):
            assert cma_debugfs.area_name(file.directory) == "reserved"
            found[file.file] = path.read_bytes()
    count = cma_debugfs.number(found["count"])
    packed = cma_debugfs.bitmap(found["bitmap"])
    assert count == 8 * len(packed) == 16384
    assert cma_debugfs.order_per_bit(found["order_per_bit"]) == 0
    assert cma_debugfs.number(found["used"]) == int.from_bytes(packed, "little").bit_count()
    assert 0 < cma_debugfs.number(found["maxchunk"]) < count
    assert cma_debugfs.number(found["base_pfn"]) > 0
