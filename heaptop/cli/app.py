"""`heaptop` without a verb: opens the app. It alone loads Textual, and only when it is to be shown."""

import os
import sys
from functools import partial
from typing import TYPE_CHECKING, Final

from heaptop.cli.options import Options
from heaptop.cli.verbs import VERBS
from heaptop.errors import UsageError

if TYPE_CHECKING:
    from heaptop.backend.select import Opened

INTERVAL_S: float = 1.0
"""How often the app looks where `--interval` says nothing."""

_NEVER_REFUSED: Final = ("auto", "kernel")
"""Sources that are always there."""


def run(options: Options) -> int:
    """Open the app; returns its exit code.

    Raises:
        UsageError: there is no terminal to show it on, or the filter cannot be taken.
        SourceError, RecordingError: the source cannot be opened.
    """
    if not _on_a_terminal():
        verbs = ", ".join(verb.name for verb in VERBS)
        raise UsageError("the app needs a terminal", "stdin or stdout is none, or TERM is dumb", f"use a verb: {verbs}")
    if options.filter is not None:
        from heaptop.analysis.filter import compile_filter

        compile_filter(options.filter)  # a wrong one is told here, in words, rather than inside the app
    if options.no_color:
        os.environ["NO_COLOR"] = "1"
    from heaptop.tui.start import run_app

    return run_app(
        partial(_open, options),
        source_name=options.backend,
        interval_s=options.interval or INTERVAL_S,
        readonly=options.readonly,
        filter_text=options.filter,
        theme=None,
        may_be_refused=options.backend not in _NEVER_REFUSED or options.root != "/" or options.at is not None,
    )


def _open(options: Options) -> "Opened":
    """The source, at the moment that was asked for. While the app starts, in another thread than the screen's."""
    from heaptop.backend.select import open_backend
    from heaptop.cli.source import stand_at

    found = open_backend(options.backend, root=options.root, readonly=options.readonly, off=options.off)
    try:
        stand_at(found.backend, options.at)
    except BaseException:
        found.backend.close()
        raise
    return found


def _on_a_terminal() -> bool:
    if sys.stdin is None or not (sys.stdin.isatty() and sys.stdout.isatty()):
        return False
    return os.environ.get("TERM", "dumb") not in {"dumb", ""}
