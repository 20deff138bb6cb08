"""Sorting rows by a named key. Values that are not known come last, whichever the direction."""

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any, Final, TypeVar

from heaptop.errors import UsageError
from heaptop.model import Buffer, CmaArea, Heap, Process

Row = TypeVar("Row")
Key = Callable[[Row], Any]
"""The value to sort by: numbers, or text in lower case; None where it is not known."""


def _text(value: str | None) -> str | None:
    return None if value is None else value.casefold()


BUFFER_KEYS: Final[Mapping[str, Key[Buffer]]] = MappingProxyType(
    {
        "inode": lambda buffer: buffer.inode,
        "size": lambda buffer: buffer.size_bytes,
        "name": lambda buffer: _text(buffer.name),
        "exporter": lambda buffer: _text(buffer.exporter),
        "heap": lambda buffer: _text(buffer.heap),
        "holder": lambda buffer: min((holder.comm.casefold() for holder in buffer.holders), default=None),
        "holders": lambda buffer: len(buffer.holders),
        "fds": lambda buffer: buffer.fd_count,
        "maps": lambda buffer: buffer.map_count,
        "hidden": lambda buffer: buffer.hidden_refs,
        "count": lambda buffer: buffer.file_count,
    }
)

PROCESS_KEYS: Final[Mapping[str, Key[Process]]] = MappingProxyType(
    {
        "pid": lambda process: process.id.pid,
        "comm": lambda process: _text(process.comm),
        "uid": lambda process: process.uid,
        "rss": lambda process: process.rss_bytes,
        "pss": lambda process: process.pss_bytes,
        "buffers": lambda process: len(process.inodes),
    }
)

HEAP_KEYS: Final[Mapping[str, Key[Heap]]] = MappingProxyType(
    {
        "name": lambda heap: _text(heap.name),
        "exporter": lambda heap: _text(heap.exporter),
        "size": lambda heap: heap.size_bytes,
        "buffers": lambda heap: heap.buffers,
        "cma": lambda heap: _text(heap.cma_area),
    }
)

CMA_KEYS: Final[Mapping[str, Key[CmaArea]]] = MappingProxyType(
    {
        "name": lambda area: _text(area.name),
        "size": lambda area: area.count_pages,
        "used": lambda area: area.used_pages,
        "hole": lambda area: area.max_free_run_pages,
        "base": lambda area: area.base_pfn,
    }
)


def buffer_keys(first_seen: Mapping[int, float]) -> Mapping[str, Key[Buffer]]:
    """`BUFFER_KEYS` and `age`, which only a session knows (`History.first_seen`): youngest first when rising."""

    def age(buffer: Buffer) -> float | None:
        seen = first_seen.get(buffer.inode)
        return None if seen is None else -seen

    return {**BUFFER_KEYS, "age": age}


def sort_rows(rows: Iterable[Row], keys: Mapping[str, Key[Row]], order: str) -> tuple[Row, ...]:
    """Rows by one of `keys`: `size` rising, `-size` falling. Equal rows keep their order.

    Raises:
        UsageError: there is no such key.
    """
    name = order.removeprefix("-")
    key = keys.get(name)
    if key is None:
        raise UsageError(f"cannot sort by {name!r}", "no such key", f"take one of {', '.join(keys)} (-KEY reverses)")
    pairs = [(key(row), row) for row in rows]
    known = [pair for pair in pairs if pair[0] is not None]
    known.sort(key=lambda pair: pair[0], reverse=order.startswith("-"))
    return tuple(row for _, row in known) + tuple(row for value, row in pairs if value is None)
