"""What `heaptop leaks` says of each scenario of the emulator: `python tools/leaks.py > docs/found.md`.

In simulated time: a scenario that leaks for two minutes, one that does not for ten, with a verdict every ten seconds.
"""

import sys
import time
from collections.abc import Iterator

from heaptop.analysis.suspects import Verdict
from heaptop.analysis.verdict_words import class_cells, format_rate
from heaptop.backend.simulated import SimulatedBackend
from heaptop.session import Session
from heaptop.units import format_age
from heaptop_emulator.scenarios import SCENARIOS, Suspect

WATCHED_S = 120
QUIET_S = 600
EVERY_S = 10

INTRODUCTION = """# What is found

Each scenario of the emulator in simulated time, a look a second, and what `heaptop leaks` says of it; made by
`python tools/leaks.py > docs/found.md`. One that leaks is watched for two minutes, one that does not for ten, with a
verdict every ten seconds: any suspect in these would stand here.

"""


def looks(scenario: str, seconds: int) -> Iterator[tuple[int, Session]]:
    """A session after each second."""
    backend = SimulatedBackend(scenario, duration_s=seconds)
    session = Session(backend, time.time)
    for index in range(len(backend.moments())):
        backend.seek(index)
        session.refresh()
        yield index, session


def leaking_row(name: str, expected: Suspect) -> str:
    """The scenario, what must be found, when it was, and what is said of it in the end."""
    found_at: int | None = None
    suspects: tuple[Verdict, ...] = ()
    for second, session in looks(name, WATCHED_S):
        if found_at is None or second == WATCHED_S:
            suspects = session.growth().suspects
            found_at = second if suspects and found_at is None else found_at
    wanted = f"{format_rate(expected.rate_per_minute)}/min, {expected.holder or 'nobody seen'}"
    if found_at is None or not suspects:
        return row(name, wanted, "nothing", "", "")
    said = "; ".join(told(one) for one in suspects)
    return row(name, wanted, said, format_age(found_at), f"{suspects[0].confidence * 100:.0f} %")


def quiet_row(name: str, seconds: int = QUIET_S) -> str:
    """The scenario and every suspect in this time."""
    said: dict[str, int] = {}
    for second, session in looks(name, seconds):
        if second % EVERY_S == 0:
            for one in session.growth().suspects:
                said.setdefault(told(one), second)
    return row(name, "no suspect", "; ".join(said) or "no suspect", "", "")


def told(verdict: Verdict) -> str:
    """`16.0 KiB system codec-out +120/min, mediaserver`."""
    exporter, size, name, holder = class_cells(verdict)
    return f"{size} {exporter} {name} {format_rate(verdict.growth_per_minute)}/min, {holder}"


def row(*cells: str) -> str:
    """A line of the table."""
    return f"| {' | '.join(cells)} |\n"


def scenario_row(name: str, quiet_s: int = QUIET_S) -> str:
    """What is found in a scenario."""
    expected = SCENARIOS[name].expected
    return quiet_row(name, quiet_s) if expected is None else leaking_row(name, expected)


def page() -> Iterator[str]:
    """The page, line by line."""
    yield INTRODUCTION
    yield row("scenario", "to be found", "found", "after", "confidence")
    yield row(*["---"] * 5)
    yield from map(scenario_row, SCENARIOS)


if __name__ == "__main__":
    for line in page():
        sys.stdout.write(line)
        sys.stdout.flush()
