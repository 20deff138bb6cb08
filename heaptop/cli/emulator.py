"""`heaptop emulator`: starts, tells of and stops the emulator that all of a user's programs share."""

import argparse
import re
from typing import TYPE_CHECKING, Final

from heaptop.cli.options import Options as CommonOptions
from heaptop.cli.output import emit
from heaptop.errors import Exit, UsageError
from heaptop.units import printable

if TYPE_CHECKING:
    from heaptop.backend.control import About

ACTIONS: Final = ("start", "status", "stop")

MANUAL: Final = {
    "emulator": "One emulator for all programs of a user: those of heaptop run allocate in it, and every heaptop with "
    "-b emulator shows it. start returns when it is ready, and lets it go on until stop, with no process in it or with "
    "those of SCENARIO; one that runs already is fine if it is as demanded. status ends with 1 where none runs. stop "
    "ends it and its scenario's processes; buffers of programs stay theirs. If it is killed, the next start finds the "
    "buffers that live, with their pages and names.",
}


class Options(CommonOptions):
    """What was asked for."""

    action: str = ""
    scenario: str | None = None
    seed: int | None = None
    layout: str | None = None


def arguments(parser: argparse.ArgumentParser) -> None:
    """Its own arguments."""
    parser.add_argument("action", metavar="ACTION", choices=ACTIONS, help=", ".join(ACTIONS))
    parser.add_argument("scenario", metavar="SCENARIO", nargs="?", help="start: the scenario to play (default: idle)")
    parser.add_argument("--seed", metavar="N", type=_seed, help="start: what the scenario's chance begins with")
    parser.add_argument(
        "--layout",
        metavar="LAYOUT",
        help="start: the machine: a preset, words like ram=2G, or a TOML file",
    )


def check(options: Options) -> None:
    """That only start is given what only start takes.

    Raises:
        UsageError: another one is.
    """
    given = {name for name in ("scenario", "seed", "layout") if getattr(options, name) is not None}
    if options.action != "start" and given:
        raise UsageError(f"{min(given)} says nothing to {options.action}", remedy="heaptop emulator start takes it")


def run(options: Options) -> int:
    """Do it, and tell.

    Raises:
        UsageError: no such scenario or layout, or another one runs.
        SourceError: it cannot be reached or started.
    """
    from heaptop.backend import control

    if options.action == "start":
        about, was_started = control.start(options.scenario, options.seed, options.layout)
        _tell(options, about, "" if was_started else "was running already: ")
        return Exit.OK
    if options.action == "stop":
        was_running = control.stop()
        _tell(options, None, "stopped" if was_running else "none was running")
        return Exit.OK
    found = control.status()
    _tell(options, found, "none runs" if found is None else "")
    return Exit.CHECK_FAILED if found is None else Exit.OK


def _tell(options: Options, about: "About | None", words: str) -> None:
    from heaptop.backend import control

    if options.json:
        from heaptop.report import json

        emit(json.dumps_line({"schema": json.SCHEMA, "emulator": _fields(about, control.folder())}))
    elif about is None:
        emit(f"{words}\n")
    else:
        emit(words + "".join(f"{line}\n" for line in _lines(about, control.folder())))


def _fields(about: "About | None", folder: str) -> dict[str, object]:
    """The client that asked is not counted."""
    from heaptop.report.moment import timestamp

    if about is None:
        return {"running": False, "folder": folder}
    return {
        "running": True,
        "folder": folder,
        "pid": about.pid,
        "boot_id": about.boot_id,
        "scenario": about.scenario,
        "seed": about.seed,
        "lasting": about.is_lasting,
        "started_at": timestamp(about.started_at),
        "heaps": about.heaps,
        "processes": [{"pid": pid, "comm": comm} for pid, comm in about.actors.items()],
        "clients": max(0, about.clients - 1),
        "buffers": about.buffers,
        "size_bytes": about.size_bytes,
        "recovered": about.recovered,
    }


def _lines(about: "About", folder: str) -> list[str]:
    from heaptop.report.moment import timestamp
    from heaptop.report.text import counted
    from heaptop.units import format_size

    until = "until it is stopped" if about.is_lasting else "until its last user leaves"
    lines = [f"process {about.pid} since {timestamp(about.started_at)}, {until}"]
    lines.append(f"scenario {about.scenario}, seed {about.seed}; heaps {', '.join(map(printable, about.heaps))}")
    actors = ", ".join(f"{printable(comm)}({pid})" for pid, comm in about.actors.items())
    if actors:
        lines.append(f"processes {actors}")
    users = counted(max(0, about.clients - 1), "client")
    lines.append(f"{counted(about.buffers, 'buffer')}, {format_size(about.size_bytes)}; {users}")
    if about.recovered:
        lines.append(f"{counted(about.recovered, 'buffer')} found again after one that was killed")
    lines.append(f"socket {folder}/emulator, log {folder}/log")
    return lines


def _seed(text: str) -> int:
    if not re.fullmatch(r"\d{1,9}", text, re.ASCII):
        raise UsageError(f"--seed {printable(text)}", "not a whole number of at most 9 digits")
    return int(text)
