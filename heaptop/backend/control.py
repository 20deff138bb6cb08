"""Starts, asks and stops the emulator that all of a user's programs share."""

from typing import Final

from heaptop.errors import SourceError, UsageError
from heaptop.units import printable
from heaptop_emulator import shared
from heaptop_emulator.errors import EmulatorError, LayoutError, NotRunningError
from heaptop_emulator.folder import locate
from heaptop_emulator.layout_text import layout_file, read_layout
from heaptop_emulator.scenarios import SCENARIOS
from heaptop_emulator.shared import Setup
from heaptop_emulator.wire import About

__all__ = ["About", "folder", "start", "status", "stop"]

IDLE: Final = "idle"


def start(scenario: str | None, seed: int | None, layout: str | None) -> tuple[About, bool]:
    """The emulator that lasts until it is stopped, and whether it was started now. What is None is not demanded.

    Raises:
        UsageError: no such scenario or layout, or one runs that is not as demanded.
        SourceError: it cannot be reached or started.
    """
    if scenario is not None and scenario not in SCENARIOS:
        raise UsageError(f"no scenario {printable(scenario)!r}", "", f"one of: {', '.join(SCENARIOS)}")
    try:
        text = "" if layout is None else layout_file(read_layout(layout))
    except LayoutError as error:
        raise UsageError(printable(str(error))) from error
    setup = Setup(scenario or IDLE, 1 if seed is None else seed, text)
    try:
        client, was_started = shared.connect_or_start(setup, lasting=True)
        with client:
            about = client.about()
    except EmulatorError as error:
        raise _source_error(error) from error
    except OSError as error:
        raise SourceError("the shared emulator", str(error), "heaptop emulator stop, and start it again") from error
    found = (about.scenario, about.seed, about.layout)
    demanded = (scenario or found[0], found[1] if seed is None else seed, found[2] if layout is None else text)
    if found != demanded:
        which = f"scenario {about.scenario}, seed {about.seed}" + (
            ", another layout" if found[2] != demanded[2] else ""
        )
        raise UsageError("another emulator runs", which, "heaptop emulator stop, and start it again")
    return about, was_started


def status() -> About | None:
    """The emulator in figures; None where none runs.

    Raises:
        SourceError: there is one, but it cannot be reached.
    """
    try:
        with shared.connect() as client:
            return client.about()
    except (NotRunningError, ConnectionError):
        return None
    except EmulatorError as error:
        raise _source_error(error) from error
    except OSError as error:
        raise SourceError("the shared emulator", str(error), "heaptop emulator stop, and start it again") from error


def stop() -> bool:
    """End the emulator and its processes; False where none ran.

    Raises:
        SourceError: it belongs to somebody else.
    """
    try:
        return shared.stop()
    except EmulatorError as error:
        raise _source_error(error) from error


def folder() -> str:
    """Where its socket and its log are."""
    return locate()


def _source_error(error: EmulatorError) -> SourceError:
    return SourceError(error.what, error.why, error.remedy)
