"""Runs a verb and ends it well: errors as one line, signals and a closed stdout without a traceback."""

import gc
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from types import FrameType

from heaptop.cli import parser
from heaptop.cli.options import Options
from heaptop.cli.output import emit
from heaptop.cli.verbs import verb_named
from heaptop.errors import Exit, FilterError, HeaptopError
from heaptop.units import printable


class _Terminated(BaseException):
    """SIGTERM or SIGHUP came: everything is given back on the way out, as for KeyboardInterrupt."""


def main(arguments: Sequence[str]) -> int:
    """Run the command line; returns the exit code. stdout is data, stderr narration."""
    received: list[int] = []

    def terminate(number: int, _: FrameType | None) -> None:
        received.append(number)
        raise _Terminated

    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, terminate)
    _prepare_stdout()
    options: Options | None = None
    try:
        try:
            options = parser.parse(list(arguments))
            code = _run(options)
        except SystemExit as done:  # argparse's way to end after --help and --version
            code = int(done.code or 0)
        emit("")
    except HeaptopError as error:
        return _complain(error, options)
    except BrokenPipeError:
        _discard_stdout()
        return Exit.OK
    except KeyboardInterrupt:
        _discard_stdout()
        return Exit.INTERRUPTED
    except _Terminated:
        _discard_stdout()
        return 128 + received[0]
    return code


def _run(options: Options) -> int:
    module = verb_named(options.verb).load()
    gc.freeze()
    gc.enable()
    if not options.profile_self:
        return module.run(options)
    from heaptop.cli.self_profile import SelfProfile

    with SelfProfile().running():
        return module.run(options)


def _prepare_stdout() -> None:
    if sys.stdout is None:  # started with a closed stdout: there is nobody to tell
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def _discard_stdout() -> None:
    """What is still buffered and cannot be written goes nowhere: the interpreter's last flush stays quiet."""
    try:
        sys.stdout.flush()
    except OSError:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())
        os.close(null)


def _complain(error: HeaptopError, options: Options | None) -> int:
    lines = [f"heaptop: {printable(str(error))}"]
    if isinstance(error, FilterError) and options is not None and options.filter is not None:
        from heaptop.report.table import width_of

        before = printable(options.filter[: error.position])
        lines += [f"  {printable(options.filter)}", "  " + " " * width_of(before) + "^"]
    _discard_stdout()
    with suppress(OSError):  # nobody reads stderr: the exit code still tells
        sys.stderr.write("\n".join(lines) + "\n")
        sys.stderr.flush()
    return error.exit_code
