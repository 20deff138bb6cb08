"""What is another object than before: by this each layer finds what it must look at again, and passes over the rest.

What is handed over is never changed, and what did not change is handed over again as the very same object.
"""

from bisect import bisect_left
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final, Generic, TypeVar

from heaptop.compiled import compiled

_compiled = compiled("heaptop._changes")

MOVED_MAX: Final = 32
"""With more that are new or gone, all are put in order anew."""

Key = TypeVar("Key")
Item = TypeVar("Item")


def changed_keys(before: Mapping[Key, object], now: Mapping[Key, object]) -> list[Key]:
    """The keys whose value is another object, or which only one of the two has."""
    if before is now:
        return []
    if _compiled is not None:
        found: list[Key] = _compiled.changed_keys(_dict(before), _dict(now))
        return found
    other = object()
    changed = [key for key, value in now.items() if before.get(key, other) is not value]
    return changed + [key for key in before if key not in now]


def _dict(mapping: Mapping[Key, Item]) -> dict[Key, Item]:
    return mapping if isinstance(mapping, dict) else dict(mapping)


def changed_items(
    before: tuple[Item, ...], now: tuple[Item, ...], key: Callable[[Item], Key]
) -> list[tuple[Key, Item | None, Item | None]]:
    """What is not the very same object, as (key, before, now), by rising key; None where there is none. Both rise by
    `key`.
    """
    if before is now:
        return []
    if _compiled is not None:
        found: list[tuple[Key, Item | None, Item | None]] = _compiled.changed_items(before, now, key)
        return found
    old = {key(item): item for item in before}
    new = {key(item): item for item in now}
    keys: list[Any] = sorted({*old, *new})
    return [(one, old.get(one), new.get(one)) for one in keys if old.get(one) is not new.get(one)]


def without(items: list[Item], out: list[Item]) -> list[Item]:
    """The items but those in `out`, which are some of these very objects, in the same order."""
    if _compiled is not None:
        left: list[Item] = _compiled.without(items, out)
        return left
    gone = set(map(id, out))
    return [item for item in items if id(item) not in gone]


class Rows(Generic[Key, Item]):
    """Items in the order of their keys, of which a few change at a time."""

    def __init__(self) -> None:
        self._by_key: dict[Key, Item] = {}
        self._keys: list[Any] = []
        self._items: list[Item] = []
        self._changed: set[Key] = set()
        self._moved: set[Key] = set()
        self._shown: tuple[Item, ...] = ()

    def get(self, key: Key) -> Item | None:
        """The item of that key."""
        return self._by_key.get(key)

    def put(self, key: Key, item: Item | None) -> None:
        """Let this be the item of that key; None for none."""
        before = self._by_key.get(key)
        if item is before:
            return
        (self._moved if before is None or item is None else self._changed).add(key)
        if item is None:
            del self._by_key[key]
        else:
            self._by_key[key] = item

    def all(self) -> tuple[Item, ...]:
        """All of them: the very same object while nothing changes."""
        if self._moved or self._changed:
            self._arrange()
            self._moved.clear()
            self._changed.clear()
            self._shown = tuple(self._items)
        return self._shown

    def _arrange(self) -> None:
        if len(self._moved) > MOVED_MAX:
            self._keys = sorted(self._by_key)
            self._items = [self._by_key[key] for key in self._keys]
            return
        for key in self._moved:
            at = bisect_left(self._keys, key)
            is_there = at < len(self._keys) and self._keys[at] == key
            if is_there and key not in self._by_key:
                del self._keys[at], self._items[at]
            elif is_there or key not in self._by_key:
                self._changed.add(key)
            else:
                self._keys.insert(at, key)
                self._items.insert(at, self._by_key[key])
        for key in self._changed:
            if key in self._by_key:
                self._items[bisect_left(self._keys, key)] = self._by_key[key]


class Kept(Generic[Key, Item]):
    """A mapping that is handed over as it is at the moment, and of which a few values change at a time."""

    def __init__(self) -> None:
        self._now: dict[Key, Item] = {}
        self._shown: Mapping[Key, Item] | None = None

    def get(self, key: Key) -> Item | None:
        """The value of that key."""
        return self._now.get(key)

    def put(self, key: Key, value: Item | None) -> None:
        """Let this be the value of that key; None for none."""
        if value is None:
            if self._now.pop(key, None) is None:
                return
        elif self._now.get(key) == value:
            return
        else:
            self._now[key] = value
        self._shown = None

    def all(self) -> Mapping[Key, Item]:
        """All of them: the very same object while nothing changes."""
        if self._shown is None:
            self._shown = MappingProxyType(dict(self._now))
        return self._shown
