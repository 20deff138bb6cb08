"""What a process of a scenario does, whether it is a real one (actor.py) or plays in simulated time (simulation.py)."""

import errno
import os
from random import Random
from typing import ClassVar, Final, Protocol, Self

NO_ROOM: Final = frozenset({errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.ENOSPC, errno.EAGAIN, errno.ETOOMANYREFS})
"""With these a turn ends early: a heap, or a table of the kernel's, is full."""


class Holding(Protocol):
    """A buffer that a process holds: by a descriptor, by a mapping, or by both."""

    @property
    def fd(self) -> int:
        """Its descriptor. ValueError where that is closed."""

    def map(self, *, writable: bool = True, touch_bytes: int = 0) -> Self:
        """Map it whole, and write to its first bytes."""

    def close_fd(self) -> Self:
        """Hold it by the mapping alone."""

    def drop(self) -> None:
        """Hold it no more."""


class Means(Protocol):
    """What a role can do. Each raises OSError where there is no room."""

    @property
    def random(self) -> Random:
        """Seeded by the scenario, so that the same is allocated each time."""

    def allocate(self, heap: str, size_bytes: int, name: str | None = None) -> Holding:
        """Allocate a buffer, named where a name is given (bytes that are not UTF-8 as surrogates)."""

    def share(self, held: Holding, to: str, label: str) -> None:
        """Pass a reference to another process. One that does not read, or is gone, gets none."""

    def send_unread(self, held: Holding) -> None:
        """Put a reference in flight for good, where nobody ever takes it."""

    def fork(self, comm: str, held: Holding) -> None:
        """A child that has a buffer by its descriptor, and nothing else, until this process ends."""


class Role:
    """What one process of a scenario does. `turn` comes every `period_s`, `receive` for each buffer sent to it."""

    comm: ClassVar[str]
    period_s: ClassVar[float] = 1.0

    def __init__(self, actor: Means) -> None:
        self.actor = actor

    def start(self) -> None:
        """Make the first allocations."""

    def turn(self) -> None:
        """Do one period's work."""

    def receive(self, _label: str, held: Holding) -> None:
        """Take a buffer from another actor."""
        held.drop()


def seeded(seed: int, comm: str) -> Random:
    """The chance of one process of a scenario."""
    return Random(os.fsencode(f"{seed}:{comm}"))
