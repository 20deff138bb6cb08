"""Runs the command of a cycle: in a group of its own, with a time limit, and ended with all that it left when asked."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final, Self

from heaptop.errors import Exit, HeaptopError, errno_text
from heaptop.units import printable

GRACE_S: Final = 2.0
"""From SIGTERM to SIGKILL."""
POLL_S: Final = 0.05
STDERR: Final = 2


class CommandFailedError(HeaptopError):
    """The command could not be started, failed, or took too long."""

    exit_code = Exit.CHECK_FAILED


class CommandMissingError(CommandFailedError):
    """There is no such command, or it may not be run."""

    exit_code = Exit.USAGE


class Command:
    """One run of a command. Its output goes to stderr: stdout is heaptop's."""

    def __init__(self, words: Sequence[str], environment: Mapping[str, str] | None = None) -> None:
        """Start it.

        Raises:
            CommandMissingError: it cannot be started.
        """
        self._name = printable(words[0])
        try:
            self._process = subprocess.Popen(
                words,
                stdin=subprocess.DEVNULL,
                stdout=STDERR,
                env={**os.environ, **(environment or {})},
                process_group=0,
            )
        except (OSError, ValueError) as error:
            why = errno_text(error.errno or 0) if isinstance(error, OSError) else str(error)
            raise CommandMissingError(f"cannot run {self._name}", why) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def poll(self) -> bool:
        """Whether it has ended."""
        return self._process.poll() is not None

    def finish(self, which: str, timeout_s: float | None, goes_on: Callable[[float], bool]) -> None:
        """Wait for its end, or until it is no longer to go on. `which` run it is stands in the error.

        Raises:
            CommandFailedError: it failed, or took longer than `timeout_s`.
        """
        began = time.monotonic()
        while goes_on(POLL_S):
            passed_s = time.monotonic() - began
            if timeout_s is not None and passed_s >= timeout_s and not self.poll():
                self.end()
                raise CommandFailedError(f"{self._name} ({which})", "did not end in time", "see --timeout")
            try:
                self._process.wait(POLL_S if timeout_s is None else max(0.0, min(POLL_S, timeout_s - passed_s)))
            except subprocess.TimeoutExpired:
                continue
            self.check(which)
            return

    def check(self, which: str) -> None:
        """That it ended well.

        Raises:
            CommandFailedError: with its exit status, or the signal that ended it.
        """
        code = self._process.returncode
        if code:
            how = f"was ended by {_signal_name(-code)}" if code < 0 else f"failed with exit status {code}"
            raise CommandFailedError(f"{self._name} ({which})", how, "")

    def end(self) -> None:
        """End it, and whatever is still in its group; nothing happens where it has ended by itself."""
        if self._process.returncode is not None:
            return
        for number, patience_s in ((signal.SIGTERM, GRACE_S), (signal.SIGKILL, None)):
            try:
                os.killpg(self._process.pid, number)
                self._process.wait(patience_s)
            except ProcessLookupError:
                self._process.wait()
            except subprocess.TimeoutExpired:
                continue
            return


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
