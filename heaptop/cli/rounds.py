"""Measures what the rounds of a program leave behind: for `cycle`, which tells it, and `check`, which judges it."""

import argparse
import os
import stat
import sys
import time
from dataclasses import dataclass, field
from typing import Final

from heaptop.analysis.cycles import CycleGrowth, Mark, cycle_growth
from heaptop.backend.base import Backend, Timeline
from heaptop.cli import values
from heaptop.cli.command import Command, CommandFailedError
from heaptop.cli.interrupts import Received, interrupts
from heaptop.cli.marks import HOW, VARIABLE, Asked, Marks
from heaptop.cli.options import Options
from heaptop.cli.output import narrate
from heaptop.cli.settle import Looker
from heaptop.cli.source import opened
from heaptop.errors import UsageError
from heaptop.model import Buffer, Snapshot
from heaptop.units import printable

SETTLE_S: Final = 2.0
WARM_UP: Final = 1
WAIT_S: Final = 0.2
"""The longest time until the end of a command that sets its own marks is noticed."""


class RoundOptions(Options):
    """What was asked for."""

    command: tuple[str, ...] = ()
    count: int = 10
    warmup: int = WARM_UP
    settle: float = SETTLE_S
    timeout: float | None = None
    marks: str | None = None


def round_arguments(parser: argparse.ArgumentParser, count: int) -> None:
    """The arguments of both verbs; `count` is the default."""
    parser.add_argument(
        "--count", metavar="N", type=values.count, help=f"so many cycles, after the warm-up (default: {count})"
    )
    parser.add_argument(
        "--warmup", metavar="N", type=values.warmup, help=f"so many cycles first that do not count (default: {WARM_UP})"
    )
    parser.add_argument(
        "--settle",
        metavar="DURATION",
        type=values.settle,
        help=f"wait at most so long for what a cycle left to go (default: {SETTLE_S:g}s)",
    )
    parser.add_argument(
        "--timeout", metavar="DURATION", type=values.timeout, help="end a run of CMD that takes longer (default: never)"
    )
    parser.add_argument(
        "--marks",
        metavar="HOW",
        help=f"cycles are from mark to mark, and these come by {HOW}; CMD runs once (default: a run of CMD is a cycle)",
    )
    parser.add_argument("command", metavar="CMD", nargs=argparse.REMAINDER, help="the command and its arguments")


def check_round(options: RoundOptions, verb: str) -> None:
    """That the options fit each other.

    Raises:
        UsageError: they do not.
    """
    if not options.command and verb == "check" and options.marks is None:
        raise UsageError("no command to check", remedy="heaptop check -- CMD ARGS, or --marks to set them from outside")
    if options.timeout is not None and not options.command:
        raise UsageError("--timeout says nothing without a command", remedy=f"heaptop {verb} --timeout 1m -- CMD")


@dataclass
class Rounds:
    """What was measured. `failure` is why a command ended it; `is_whole` that all cycles asked for are in it."""

    marks: list[Mark] = field(default_factory=list)
    snapshot: Snapshot | None = None
    failure: CommandFailedError | None = None
    was_interrupted: bool = False
    is_whole: bool = False

    @property
    def growth(self) -> CycleGrowth | None:
        """What the cycles left; None where none was whole."""
        return cycle_growth(self.marks) if len(self.marks) > 1 else None


def measure(options: RoundOptions) -> Rounds:
    """Run the cycles. A command that fails ends them; so does an interrupt, which ends the command, too.

    Raises:
        UsageError: the source is over, or the options cannot be taken.
        SourceError: it cannot be opened, or is gone.
    """
    chosen = None
    if options.filter is not None:
        from heaptop.analysis.filter import compile_filter

        chosen = compile_filter(options.filter)
    rounds = Rounds()
    with interrupts() as received, opened(options) as backend:
        check_live(backend)

        def counts(buffer: Buffer) -> bool:
            return chosen is None or chosen.matches(buffer)

        looker = Looker(backend, options.settle, received.wait, watch=counts)
        is_marked = options.marks is not None or not options.command
        try:
            (_Marked if is_marked else _Runs)(options, looker, received, rounds).measure()
        except CommandFailedError as error:
            rounds.failure = error
        rounds.snapshot = looker.snapshot
        rounds.was_interrupted = bool(received)
    return rounds


def check_live(backend: Backend) -> None:
    """That there is something to wait for.

    Raises:
        UsageError: a recording is over.
    """
    if isinstance(backend, Timeline):
        raise UsageError(
            f"{printable(backend.source)} is over: no command changes it",
            remedy="take a live source, or heaptop leaks for a recording",
        )


def progress(text: str) -> None:
    """How far it is, for who looks on."""
    if sys.stderr.isatty():
        narrate(f"heaptop: {text}")


class _Measuring:
    """What both ways to measure have."""

    def __init__(self, options: RoundOptions, looker: Looker, received: Received, rounds: Rounds) -> None:
        self._options = options
        self._looker = looker
        self._received = received
        self._rounds = rounds

    def measure(self) -> None:
        """Run the cycles.

        Raises:
            CommandFailedError: the command failed.
            SourceError: the source is gone.
        """
        raise NotImplementedError

    def _goes_on(self, _: float) -> bool:
        return not self._received


class _Runs(_Measuring):
    """A run of the command is a cycle."""

    def measure(self) -> None:
        options, marks = self._options, self._rounds.marks
        before = self._looker.mark("before", final=False) if options.warmup else None
        for number in range(options.warmup):
            self._run(f"warm-up {number + 1} of {options.warmup}")
        marks.append(self._looker.mark("0", before, final=before is not None))
        for number in range(1, options.count + 1):
            self._run(f"cycle {number} of {options.count}")
            if self._received:
                return
            is_last = number == options.count
            marks.append(self._looker.mark(str(number), marks[0] if is_last else marks[-1], final=is_last))
        self._rounds.is_whole = True

    def _run(self, which: str) -> None:
        if not self._received:
            progress(which)
            with Command(self._options.command) as command:
                command.finish(which, self._options.timeout, self._goes_on)


class _Marked(_Measuring):
    """From one mark to the next is a cycle; the first `warmup` cycles do not count."""

    _WHICH: Final = "which sets the marks"

    def measure(self) -> None:
        options = self._options
        how = options.marks or default_marks()
        with Marks(how) as source:
            if not options.command:
                narrate(f"heaptop: waiting for marks by {printable(how)}, or SIGUSR1 to {os.getpid()}")
                self._take_all(source, None)
                return
            with Command(options.command, _told(source)) as command:
                self._take_all(source, command)
                command.finish(self._WHICH, self._left_s(), self._goes_on)

    def _take_all(self, source: Marks, command: Command | None) -> None:
        options, marks = self._options, self._rounds.marks
        wanted = options.count if "count" in vars(options) else None
        self._began = time.monotonic()
        before: Mark | None = None
        number = 0
        while (asked := self._next(source, command)) is not None:
            is_final = number <= options.warmup or len(marks) == wanted
            compared = marks[0] if marks and len(marks) == wanted else before
            before = self._looker.mark(asked.label or str(number), compared, final=is_final)
            if number >= options.warmup:
                marks.append(before)
            number += 1
            asked.answer(f"ok {before.label} {len(before.buffers)} buffers")
            progress(f"mark {before.label}: {len(before.buffers)} buffers")
            if wanted is not None and len(marks) > wanted:
                break
        self._rounds.is_whole = not self._received

    def _next(self, source: Marks, command: Command | None) -> Asked | None:
        """The next mark that is asked for; None where there will be none."""
        while not self._received:
            asked = source.wait(WAIT_S)
            if asked is not None and asked.is_end:
                asked.answer("ok end")
                return None
            if asked is not None:
                return asked
            if command is not None:
                if command.poll():
                    return None
                if self._left_s() == 0:
                    command.finish(self._WHICH, 0, self._goes_on)
        return None

    def _left_s(self) -> float | None:
        """Of the time that the command may take."""
        timeout_s = self._options.timeout
        return None if timeout_s is None else max(0.0, timeout_s - (time.monotonic() - self._began))


def _told(source: Marks) -> dict[str, str]:
    return {VARIABLE: os.path.abspath(source.path)} if source.path else {}


def default_marks() -> str:
    """By hand or by a pipe where stdin can have lines, else by the signal alone."""
    if sys.stdin is None:
        return "signal"
    mode = os.fstat(sys.stdin.fileno()).st_mode
    return "stdin" if sys.stdin.isatty() or stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) else "signal"
