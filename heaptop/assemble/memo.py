"""Passing over what did not change: objects of the capture before are kept where they are as good as new ones."""

from collections.abc import Callable
from operator import is_
from typing import Generic, TypeVar, TypeVarTuple

Arguments = TypeVarTuple("Arguments")
Result = TypeVar("Result")
Item = TypeVar("Item")


class Last(Generic[*Arguments, Result]):
    """A function that gives its last result again while its arguments are the very same objects."""

    def __init__(self, function: Callable[[*Arguments], Result]) -> None:
        self._function = function
        self._last: tuple[tuple[*Arguments], Result] | None = None

    def __call__(self, *arguments: *Arguments) -> Result:
        """The function's result for these arguments."""
        if self._last is None or not all(map(is_, self._last[0], arguments)):
            self._last = arguments, self._function(*arguments)
        return self._last[1]


def keep_equal(before: Item, now: Item) -> Item:
    """`before` where `now` equals it."""
    return before if before == now else now


def keep_identical(before: tuple[Item, ...], now: tuple[Item, ...]) -> tuple[Item, ...]:
    """`before` where `now` has the very same objects."""
    return before if len(before) == len(now) and all(map(is_, before, now)) else now
