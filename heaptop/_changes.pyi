from collections.abc import Callable
from typing import Any

def changed_keys(before: dict[Any, Any], now: dict[Any, Any]) -> list[Any]: ...
def changed_items(
    before: tuple[Any, ...], now: tuple[Any, ...], key: Callable[[Any], Any]
) -> list[tuple[Any, Any, Any]]: ...
