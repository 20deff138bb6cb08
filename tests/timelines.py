"""Time lines made by hand: captures in kernel text of buffers that processes hold."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from heaptop.capture import Capture
from tests.assemble.captures import capture, fdinfo, link, process, stat_of

BEGAN_AT = 1_700_000_000.0


@dataclass(frozen=True)
class Held:
    """A buffer as one process holds it, by the descriptor of its inode."""

    inode: int
    size_bytes: int = 16384
    name: str = "codec-out"
    exporter: str = "system"


def looked(holders: Mapping[str, Iterable[Held]], at: float, boot: int = 0) -> Capture:
    """A capture of processes by comm; pids count from 100 in their order."""
    processes = [
        process(
            100 + number,
            comm,
            links=[link(one.inode, stat_of(one.inode, one.size_bytes), one.name) for one in held],
            fdinfo={one.inode: fdinfo(one.inode, one.size_bytes, exporter=one.exporter, name=one.name) for one in held},
        )
        for number, (comm, held) in enumerate((comm, tuple(held)) for comm, held in holders.items())
    ]
    files = {"proc/sys/kernel/random/boot_id": f"{UUID(int=boot)}\n".encode()}
    return capture(files, processes)._replace(captured_at=at, source="line")


@dataclass
class Line:
    """A Timeline of these captures."""

    captures: Sequence[Capture]
    source: str = "line"
    index: int = 0
    closed: int = 0
    off: frozenset[str] = frozenset()
    asked: tuple[str, str, bool] = field(default=("", "", False))

    def moments(self) -> Sequence[float]:
        return [one.captured_at or 0.0 for one in self.captures]

    def seek(self, index: int) -> None:
        self.index = index

    def capture(self) -> Capture:
        return self.captures[self.index]

    def close(self) -> None:
        self.closed += 1


def leaking(looks: int, per_look: int = 1, comm: str = "mediaserver", name: str = "codec-out") -> Line:
    """One process that holds so many more in each look, a second from one to the next."""
    return Line(
        [
            looked({comm: [Held(1 + at, name=name) for at in range(number * per_look)]}, BEGAN_AT + number)
            for number in range(looks)
        ]
    )
