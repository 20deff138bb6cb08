from collections.abc import Callable, Iterable

from heaptop.assemble.parts import FdSight, Holding, Parts
from heaptop.assemble.shares import Share
from heaptop.capture import FdLink
from heaptop.model import Buffer, ProcessId
from heaptop.parse.maps import Vma

def sights(links: tuple[FdLink, ...]) -> tuple[FdSight, ...] | None: ...
def holdings(
    process: ProcessId,
    comm: str,
    fds: tuple[FdSight, ...],
    vmas: tuple[Vma, ...],
    shares_fds: bool,
    shares_maps: bool,
) -> dict[int, Holding]: ...
def build(inode: int, parts: Parts, twin: Callable[[int, Parts], Buffer]) -> Buffer | None: ...
def join(
    pid: int,
    now: dict[int, Holding],
    before: dict[int, Holding],
    held: dict[int, tuple[Holding, ...]],
    with_one: Callable[[tuple[Holding, ...], int, Holding], tuple[Holding, ...]],
) -> bool: ...
def shares(buffers: Iterable[Buffer], kind: type[Share]) -> dict[ProcessId, Share]: ...
