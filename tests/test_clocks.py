"""A machine that sleeps, and a clock that is set: neither makes ages, rates or judgements explode."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import pytest

from heaptop.analysis.clock_setting import ClockSetting
from heaptop.analysis.suspects import Growth
from heaptop.session import Session, Update
from tests.test_session import Script, at, holding

YEAR_S: Final = 365.25 * 86400
NIGHT_S: Final = 8 * 3600.0


@dataclass
class Machine:
    """Its clocks: `wall` may be set, `awake` stands still while it sleeps, `uptime` does not."""

    wall: float = 1_700_000_000.0
    awake: float = 5000.0
    uptime: float = 9000.0

    def work(self, seconds: float) -> None:
        self.wall += seconds
        self.awake += seconds
        self.uptime += seconds

    def sleep(self, seconds: float) -> None:
        self.wall += seconds
        self.uptime += seconds

    def set(self, by_s: float) -> None:
        self.wall += by_s


def watched(events: dict[int, Callable[[Machine], None]], looks: int = 40) -> tuple[Machine, list[Update], Growth]:
    """A process that gains a buffer at each look, one second apart; what happens before some looks."""
    machine = Machine()
    script = Script([])
    session = Session(
        script,
        lambda: machine.wall,
        cpu_clock=lambda: machine.awake / 10,
        timer=lambda: machine.awake,
        monotonic=lambda: machine.awake,
        uptime=lambda: machine.uptime,
    )
    updates = []
    for number in range(looks):
        if number in events:
            events[number](machine)
        script._captures = [at(machine.wall, holding(7, dict.fromkeys(range(100, 101 + number), 4096)))]
        updates.append(session.refresh())
        machine.work(1)
    return machine, updates, session.growth()


NOTHING: dict[int, Callable[[Machine], None]] = {}
SLEEPS: Final[dict[str, dict[int, Callable[[Machine], None]]]] = {
    "a night": {20: lambda machine: machine.sleep(NIGHT_S)},
    "often": dict.fromkeys(range(5, 40, 5), lambda machine: machine.sleep(600)),
}
SETTINGS: Final[dict[str, dict[int, Callable[[Machine], None]]]] = {
    "on": {20: lambda machine: machine.set(53 * YEAR_S)},
    "back": {20: lambda machine: machine.set(-53 * YEAR_S)},
    "to and fro": {10: lambda machine: machine.set(YEAR_S), 20: lambda machine: machine.set(-YEAR_S)},
}


@pytest.mark.parametrize("what", [*SLEEPS, *SETTINGS])
def test_growth_is_judged_as_if_nothing_had_happened(what: str) -> None:
    _, _, plain = watched(NOTHING)
    _, _, growth = watched((SLEEPS | SETTINGS)[what])
    (expected,), (found,) = plain.verdicts, growth.verdicts
    assert found.kind is expected.kind
    assert found.growth_per_minute == pytest.approx(expected.growth_per_minute, rel=0.05)
    assert found.confidence == pytest.approx(expected.confidence, abs=0.05)
    assert found.evidence is not None
    assert expected.evidence is not None
    assert found.evidence.age_s == pytest.approx(expected.evidence.age_s, abs=3)


@pytest.mark.parametrize("what", SETTINGS)
def test_ages_are_as_if_the_clock_had_always_been_right(what: str) -> None:
    machine, updates, _ = watched(SETTINGS[what])
    first_seen = updates[-1].history.first_seen
    ages = [machine.wall - first_seen[inode] for inode in sorted(first_seen)]
    assert ages == pytest.approx([40.0 - number for number in range(40)], abs=1e-3)


@pytest.mark.parametrize("what", SLEEPS)
def test_who_lives_while_the_machine_sleeps_grows_older(what: str) -> None:
    """And the time of day at which it was first seen stays what it was."""
    machine, updates, _ = watched(SLEEPS[what])
    first_seen = updates[-1].history.first_seen
    assert first_seen[100] == Machine().wall
    assert machine.wall - first_seen[100] == pytest.approx(40 + sum_slept(machine))
    assert machine.wall - first_seen[139] == pytest.approx(1)


def sum_slept(machine: Machine) -> float:
    return (machine.uptime - Machine().uptime) - (machine.awake - Machine().awake)


@pytest.mark.parametrize("what", [*SLEEPS, *SETTINGS])
def test_own_cost_is_of_the_time_awake(what: str) -> None:
    _, updates, _ = watched((SLEEPS | SETTINGS)[what])
    assert all(0 <= update.cost.cpu_share < 10 for update in updates)


def test_what_is_gone_and_who_let_go_move_along() -> None:
    machine, script = Machine(), Script([])
    session = Session(script, lambda: machine.wall, monotonic=lambda: machine.awake, uptime=lambda: machine.uptime)
    for buffers in ({1: 4096, 2: 4096}, {1: 4096}, {1: 4096}):
        script._captures = [at(machine.wall, holding(7, buffers))]
        update = session.refresh()
        machine.work(1)
        machine.set(YEAR_S)
    assert update.history.gone == {2: pytest.approx(machine.wall - YEAR_S - 2)}


def test_small_steps_are_none() -> None:
    """The two clocks are not read at one moment."""
    times = iter([100.0, 101.0, 105.0, 106.0])
    setting = ClockSetting(lambda: next(times))
    assert [setting.since_last(told) for told in (1000.0, 1010.0, 1000.0, 5001.0)] == [0, 0, 0, 4000.0]
