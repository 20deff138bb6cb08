from collections.abc import Iterable
from typing import Literal

from heaptop.capture import FdLink
from heaptop.scan._reader import Reader

def table_sum(links: Iterable[FdLink]) -> int: ...
def run_times(pids: list[int]) -> list[int]: ...

class Look(Reader):
    count: int
    index: int
    is_done: bool
    asks: bool
    def __init__(
        self,
        root: str,
        pids: list[int],
        prefixes: tuple[bytes, ...],
        *,
        maps: bool = True,
        asks: bool = True,
        probes: bool = True,
        stand_ins: bool = False,
        complete: bool = False,
        hurried: bool = False,
        libraries: tuple[bytes, ...] = (),
    ) -> None: ...
    def run(self) -> None: ...
    def tables(self) -> list[int]: ...
    def found(
        self,
    ) -> list[tuple[tuple[FdLink, ...], dict[int, bytes | int], dict[str, bytes | int]] | Literal[False] | None]: ...
