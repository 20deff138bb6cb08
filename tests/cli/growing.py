"""A live source that commands change: a file has a byte for each buffer that a daemon holds."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from heaptop.capture import Capture
from heaptop.errors import SourceError
from tests.timelines import BEGAN_AT, Held, looked


@dataclass
class Daemon:
    """Holds a buffer for each byte of `ledger`; `others` are what each look shows besides, by comm."""

    ledger: Path
    others: Callable[[int], dict[str, list[Held]]] = lambda _: {}
    source: str = "daemon"
    looks: int = 0
    gone_after: int = 1_000_000
    closed: int = 0
    off: frozenset[str] = frozenset()
    asked: tuple[str, str, bool] = field(default=("", "", False))

    def capture(self) -> Capture:
        self.looks += 1
        if self.looks > self.gone_after:
            raise SourceError("the device", "gone", "plug it in")
        held = self.ledger.read_bytes() if self.ledger.exists() else b""
        mine = [Held(1 + at, name="codec-out") for at, byte in enumerate(held) if byte != ord("-")]
        return looked({"mediaserver": mine, **self.others(self.looks)}, BEGAN_AT + self.looks)

    def close(self) -> None:
        self.closed += 1

    def leaks_every(self, cycles: int) -> tuple[str, ...]:
        """A command that lets the daemon lose a buffer in every so many runs of it."""
        runs = self.ledger.with_suffix(".runs")
        script = f"echo x >> {runs}; n=$(wc -l < {runs}); [ $((n % {cycles})) -ne 0 ] || printf + >> {self.ledger}"
        return ("sh", "-c", script)
