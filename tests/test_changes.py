"""`changes`: what is another object than before."""

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heaptop import changes
from heaptop.changes import Rows, changed_items, changed_keys, without

KEYS = st.integers(0, 9)


class Item:
    def __init__(self, key: int) -> None:
        self.key = key


def key_of(item: Item) -> int:
    return item.key


POOL = {key: [Item(key) for _ in range(3)] for key in range(10)}
ITEMS = st.dictionaries(KEYS, st.integers(0, 2)).map(lambda chosen: {key: POOL[key][n] for key, n in chosen.items()})


@pytest.fixture(params=["compiled", "plain"], scope="module")
def way(request: pytest.FixtureRequest) -> Iterator[str]:
    patch = pytest.MonkeyPatch()
    if request.param == "plain":
        patch.setattr(changes, "_compiled", None)
    elif changes._compiled is None:
        pytest.skip("the compiled part was not built")
    yield request.param
    patch.undo()


def rising(items: dict[int, Item]) -> tuple[Item, ...]:
    return tuple(items[key] for key in sorted(items))


@given(before=ITEMS, now=ITEMS)
def test_what_changed(way: str, before: dict[int, Item], now: dict[int, Item]) -> None:
    expected = [key for key in range(10) if before.get(key) is not now.get(key)]
    assert sorted(changed_keys(before, now)) == expected
    found = changed_items(rising(before), rising(now), key_of)
    assert found == [(key, before.get(key), now.get(key)) for key in expected]


@given(st.lists(st.booleans()))
def test_without_some(way: str, chosen: list[bool]) -> None:
    """The very same objects, of which many are equal."""
    items: list[list[int]] = [[] for _ in chosen]
    left = without(items, [item for item, is_out in zip(items, chosen, strict=True) if is_out])
    assert [id(item) for item in left] == [id(item) for item, is_out in zip(items, chosen, strict=True) if not is_out]


@given(st.lists(st.tuples(KEYS, st.none() | st.integers(0, 2))))
def test_rows(steps: list[tuple[int, int | None]]) -> None:
    rows: Rows[int, Item] = Rows()
    model: dict[int, Item] = {}
    for key, number in steps:
        shown, before = rows.all(), dict(model)
        model.pop(key, None)
        if number is not None:
            model[key] = POOL[key][number]
        rows.put(key, model.get(key))
        assert rows.get(key) is model.get(key)
        assert rows.all() == rising(model)
        assert (rows.all() is shown) == (before == model)
