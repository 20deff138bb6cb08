"""`analysis.sort`."""

import pytest

from heaptop.analysis.sort import BUFFER_KEYS, CMA_KEYS, HEAP_KEYS, PROCESS_KEYS, buffer_keys, sort_rows
from heaptop.errors import UsageError
from heaptop.model import Buffer, CmaArea, CmaRange, Heap
from tests.analysis.builders import buffer, holder, process


def inodes(rows: tuple[Buffer, ...]) -> list[int]:
    return [row.inode for row in rows]


def test_unknown_values_come_last_both_ways() -> None:
    rows = [buffer(1, None), buffer(2, 5), buffer(3, 9), buffer(4, None), buffer(5, 5)]
    assert inodes(sort_rows(rows, BUFFER_KEYS, "size")) == [2, 5, 3, 1, 4]
    assert inodes(sort_rows(rows, BUFFER_KEYS, "-size")) == [3, 2, 5, 1, 4]


def test_text_ignores_case() -> None:
    rows = [buffer(1, name="b"), buffer(2, name="A"), buffer(3, name="C"), buffer(4)]
    assert inodes(sort_rows(rows, BUFFER_KEYS, "name")) == [2, 1, 3, 4]


def test_age_is_youngest_first() -> None:
    rows = [buffer(1), buffer(2), buffer(3)]
    assert inodes(sort_rows(rows, buffer_keys({1: 5.0, 2: 9.0}), "age")) == [2, 1, 3]


@pytest.mark.parametrize("key", BUFFER_KEYS)
def test_every_buffer_key_takes_a_bare_and_a_full_buffer(key: str) -> None:
    full = buffer(
        2, name="n", exporter="e", heap="h", holders=[holder(1, "Z"), holder(2, "a")], file_count=3, hidden_refs=1
    )
    bare = buffer(1, None, exporter=None)
    assert set(inodes(sort_rows([full, bare], BUFFER_KEYS, key))) == {1, 2}
    assert BUFFER_KEYS["holder"](full) == "a"


def test_every_other_key() -> None:
    for key in PROCESS_KEYS:
        assert len(sort_rows([process(1, [1], uid=3), process(2, [])], PROCESS_KEYS, key)) == 2
    for key in HEAP_KEYS:
        assert len(sort_rows([Heap("a", "a", 1, 2, "r"), Heap("b", None, None, None, None)], HEAP_KEYS, key)) == 2
    areas = [CmaArea("a", None, None, None, None, ()), CmaArea("b", 8, 0, 4, 2, (CmaRange(16, 8, None),))]
    for key in CMA_KEYS:
        assert len(sort_rows(areas, CMA_KEYS, key)) == 2


def test_an_unknown_key_names_the_known_ones() -> None:
    with pytest.raises(UsageError, match=r"'colour'.*inode, size"):
        sort_rows([], BUFFER_KEYS, "-colour")
