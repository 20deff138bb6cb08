"""`heaptop check`: an exit code for growth, so that a test fails for one buffer that is left behind."""

import argparse
import shlex
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from heaptop.analysis.cycles import Grown
from heaptop.analysis.gate import NONE_ALLOWED, Finding, Limit, Named, Outcome, Suppression, judge, parse_limit
from heaptop.analysis.suspects import NO_GROWTH, Verdict
from heaptop.cli import files
from heaptop.cli.command import Command, CommandFailedError
from heaptop.cli.interrupts import Received, interrupts
from heaptop.cli.output import emit, narrate, narrate_gaps
from heaptop.cli.rounds import RoundOptions, check_live, check_round, measure, progress, round_arguments
from heaptop.cli.source import opened
from heaptop.errors import Exit, HeaptopError, RecordingError, UsageError, errno_text
from heaptop.model import Snapshot
from heaptop.session import Session
from heaptop.units import printable

TAKES_COMMAND: Final = True
COUNT: Final = 20
LOOK_S: Final = 0.25
LOOKS_MIN: Final = 20
"""With fewer looks a rate cannot be told."""

MANUAL: Final = {
    "check": "Fails, with exit code 1, where the runs of CMD leave more behind than is allowed: cycles as heaptop "
    "cycle has them, judged by --max-growth. With a limit by the minute CMD runs once and what grows meanwhile is "
    "judged, as heaptop leaks does. --ignore names a file of classes that may grow, a filter and a reason in each "
    "line, as in: name:bootlogo # kept on purpose. One that matches nothing is told. --write-baseline keeps what "
    "grows now and judges nothing; --baseline fails only for what grows more than it did then. A CMD that fails or "
    "takes too long fails the check.",
}


class Options(RoundOptions):
    """What was asked for."""

    count: int = COUNT
    max_growth: Limit = NONE_ALLOWED
    ignore: str | None = None
    baseline: str | None = None
    write_baseline: str | None = None
    junit: str | None = None


def arguments(parser: argparse.ArgumentParser) -> None:
    """Its own arguments."""
    parser.add_argument(
        "--max-growth",
        metavar="N/cycle|SIZE/min",
        type=parse_limit,
        help="fail for more than so many buffers or bytes a cycle or minute (default: 0/cycle)",
    )
    parser.add_argument("--ignore", metavar="FILE", help="classes that may grow: EXPR # reason, a line each")
    parser.add_argument("--baseline", metavar="FILE", help="fail only for what grows more than there")
    parser.add_argument("--write-baseline", metavar="FILE", help="write what grows now there, and judge nothing")
    parser.add_argument("--junit", metavar="FILE", help="write the judgement there as JUnit XML, too")
    round_arguments(parser, COUNT)


def check(options: Options) -> None:
    """That the options fit each other.

    Raises:
        UsageError: they do not.
    """
    check_round(options, "check")
    if options.max_growth.per_minute:
        given = vars(options).keys() & {"count", "warmup", "settle", "marks"}
        if given:
            raise UsageError(f"--{min(given)} says nothing to growth by the minute", remedy="CMD runs once")
        if not options.command:
            raise UsageError("no command to check", remedy="heaptop check --max-growth 8M/min -- CMD ARGS")


@dataclass(slots=True)
class Measured:
    """What was measured, in cycles or in minutes."""

    findings: list[Finding]
    snapshot: Snapshot | None
    failure: HeaptopError | None
    is_whole: bool
    duration_s: float
    cycles: int | None
    told: str

    @property
    def told_failure(self) -> str | None:
        """Why it is not all."""
        if self.failure is not None:
            return printable(str(self.failure))
        return None if self.is_whole else "interrupted"


def run(options: Options) -> int:
    """Measure, judge, tell.

    Raises:
        UsageError: the options, the suppressions or the source cannot be taken.
        SourceError: the source cannot be opened, or is gone.
        RecordingError: the baseline cannot be read or written.
    """
    rules, known = _rules(options), _known(options)
    began = time.monotonic()
    try:
        measured = _by_minute(options) if options.max_growth.per_minute else _by_cycle(options)
    except HeaptopError as error:
        _write_junit(options, None, time.monotonic() - began, error)
        raise
    if options.write_baseline is not None and measured.failure is None and measured.is_whole:
        from heaptop.report import check as report

        files.write(options.write_baseline, report.baseline(measured.findings, options.max_growth))
        narrate(f"heaptop: wrote {options.write_baseline}: {len(measured.findings)} growing")
        return Exit.OK
    outcome = judge(measured.findings, options.max_growth, rules, known, measured.cycles)
    _write_junit(options, outcome, measured.duration_s, measured.failure)
    _tell(options, measured, outcome)
    if measured.failure is not None:
        raise measured.failure
    if not measured.is_whole:
        return Exit.INTERRUPTED
    return Exit.OK if outcome.has_passed else Exit.CHECK_FAILED


def _tell(options: Options, measured: Measured, outcome: Outcome) -> None:
    """What was found, also where that is not all."""
    from heaptop.report import check as report

    if measured.snapshot is None:
        return
    if options.json:
        from heaptop.report import json

        emit(
            json.dumps(
                report.document(measured.snapshot, outcome, measured.cycles, measured.duration_s, measured.told_failure)
            )
        )
    elif measured.is_whole:
        emit(report.text(outcome, measured.told))
        narrate_gaps(measured.snapshot)


# ---- measuring ----


def _by_cycle(options: Options) -> Measured:
    from heaptop.report import cycles as report

    rounds = measure(options)
    growth = rounds.growth
    if rounds.failure is None and not rounds.was_interrupted and growth is None:
        raise UsageError("nothing to judge", "there was not one whole cycle", "set a mark before and after each")
    cycles = growth.cycles if growth else 0
    grown = growth.grown if growth else ()
    return Measured(
        findings=[_finding(one, report.line(one)) for one in grown],
        snapshot=rounds.snapshot,
        failure=rounds.failure,
        is_whole=rounds.is_whole,
        duration_s=growth.duration_s if growth else 0.0,
        cycles=cycles,
        told=f"{cycles} cycle{'' if cycles == 1 else 's'}",
    )


def _finding(grown: Grown, text: str) -> Finding:
    cycles = len(grown.kept)
    return Finding(grown.key, grown.name, grown.per_cycle, grown.total_bytes / cycles, text, grown.buffers[0])


def _by_minute(options: Options) -> Measured:
    """Watch while the command runs."""
    with interrupts() as received, opened(options) as backend:
        check_live(backend)
        session = Session(backend, time.time)
        session.refresh()
        progress("watching")
        growth, failure = NO_GROWTH, None
        try:
            with Command(options.command) as command:
                _Watch(session, options.timeout, received).follow(command)
                growth = session.growth()
                command.finish("watched", options.timeout, lambda _: not received)
        except CommandFailedError as error:
            failure = error
    if growth.looks < LOOKS_MIN:
        narrate(f"note: {growth.looks} looks are too few to tell growth by; let the command run for longer")
    chosen = None
    if options.filter is not None:
        from heaptop.analysis.filter import compile_filter

        chosen = compile_filter(options.filter)
    from heaptop.analysis.verdict_words import as_buffer

    suspects = [one for one in growth.suspects if chosen is None or chosen.matches(as_buffer(one))]
    return Measured(
        findings=[_rate(one) for one in suspects],
        snapshot=session.snapshot,
        failure=failure,
        is_whole=not received,
        duration_s=growth.now - growth.began,
        cycles=None,
        told=f"watched for {growth.now - growth.began:.0f} s",
    )


@dataclass(slots=True)
class _Watch:
    """Looks at the source at an even pace as long as a command runs."""

    session: Session
    timeout_s: float | None
    received: Received

    def follow(self, command: Command) -> None:
        """Until it has ended, or its time is over. What the last look shows was there while it ran."""
        began = due = time.monotonic()
        while not self.received and not command.poll():
            due = max(due + LOOK_S, time.monotonic())
            while time.monotonic() < due and not command.poll() and not self.received:
                self.received.wait(0.02)
            if command.poll() or (self.timeout_s is not None and time.monotonic() - began > self.timeout_s):
                return
            self.session.refresh()


def _rate(suspect: Verdict) -> Finding:
    from heaptop.analysis.verdict_words import as_buffer
    from heaptop.report.check import rate_text

    return Finding(
        suspect.key,
        suspect.name,
        suspect.growth_per_minute,
        suspect.growth_bytes_per_minute,
        rate_text(suspect),
        as_buffer(suspect),
    )


# ---- files ----


def _rules(options: Options) -> tuple[Suppression, ...]:
    if options.ignore is None:
        return ()
    from heaptop.analysis.gate import parse_suppressions

    try:
        raw = files.read(options.ignore)
    except OSError as error:
        raise UsageError(f"--ignore {printable(options.ignore)}", errno_text(error.errno or 0)) from error
    return parse_suppressions(raw.decode("utf-8", "surrogateescape"), options.ignore)


def _known(options: Options) -> Mapping[Named, tuple[float, float]]:
    if options.baseline is None:
        return {}
    from heaptop.report.check import read_baseline

    try:
        raw = files.read(options.baseline)
    except OSError as error:
        raise RecordingError(printable(options.baseline), errno_text(error.errno or 0)) from error
    return read_baseline(raw, options.baseline, per_minute=options.max_growth.per_minute)


def _write_junit(options: Options, outcome: Outcome | None, duration_s: float, failure: HeaptopError | None) -> None:
    if options.junit is None:
        return
    from heaptop.report import junit

    name = shlex.join(options.command) or "marks"
    told = None if failure is None else str(failure)
    files.write(options.junit, junit.document(outcome, name, duration_s, told))
