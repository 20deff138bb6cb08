from collections.abc import Callable

from heaptop.assemble.parts import FdSight, Holding, Parts
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
