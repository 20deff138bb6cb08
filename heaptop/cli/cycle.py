"""`heaptop cycle`: which class of buffers grows by how much with each run of a command, or from mark to mark."""

import argparse
from typing import Final

from heaptop.cli.output import emit, narrate, narrate_gaps
from heaptop.cli.rounds import RoundOptions, check_round, measure, round_arguments
from heaptop.errors import Exit
from heaptop.units import printable

TAKES_COMMAND: Final = True
COUNT: Final = 10

MANUAL: Final = {
    "cycle": "Runs CMD again and again and says what each run left behind: how many buffers of which class, and who "
    "holds them, be it CMD's own daemon or another. After each run it waits for what was left to go, at most for the "
    "time to settle. Rings that turn and what only comes and goes do not count. Without CMD, or with --marks, a cycle "
    "is from one mark to the next: a line (mark [LABEL], or an empty one) on stdin, a FIFO or a socket, whose answer "
    "says that the look is done; or SIGUSR1. A line end, the end of stdin or of CMD ends it. CMD finds the path in "
    "HEAPTOP_MARKS. CMD's output goes to stderr. A CMD that fails ends it with exit code 1; growth does not.",
}


class Options(RoundOptions):
    """What was asked for."""

    count: int = COUNT


def arguments(parser: argparse.ArgumentParser) -> None:
    """Its own arguments."""
    round_arguments(parser, COUNT)


def check(options: Options) -> None:
    """That the options fit each other.

    Raises:
        UsageError: they do not.
    """
    check_round(options, "cycle")


def run(options: Options) -> int:
    """Run the cycles and tell; what was measured before an interrupt or a failure is told, too.

    Raises:
        UsageError: the source or the options cannot be taken.
        SourceError: the source cannot be opened, or is gone.
    """
    rounds = measure(options)
    growth, snapshot = rounds.growth, rounds.snapshot
    if growth is not None and snapshot is not None:
        from heaptop.report import cycles as report

        if options.json:
            from heaptop.report import json

            failure = None if rounds.failure is None else printable(str(rounds.failure))
            emit(json.dumps(report.document(snapshot, growth, rounds.marks, failure=failure, is_whole=rounds.is_whole)))
        else:
            emit(report.text(growth))
            narrate_gaps(snapshot)
    else:
        narrate("heaptop: no cycle was whole: nothing to tell")
    if rounds.failure is not None:
        raise rounds.failure
    return Exit.INTERRUPTED if rounds.was_interrupted else Exit.OK
