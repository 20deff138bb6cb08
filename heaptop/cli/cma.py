"""`heaptop cma`: the list of CMA areas, or with --fit whether a buffer fits and what would have to go for it."""

import argparse
from typing import Final

from heaptop.analysis.sort import CMA_KEYS
from heaptop.assemble import assemble
from heaptop.cli import lists, values
from heaptop.cli.options import Options as CommonOptions
from heaptop.cli.output import emit, look_of, narrate_gaps
from heaptop.cli.source import opened
from heaptop.errors import Exit, UsageError

SORT_KEYS: Final = {"cma": CMA_KEYS}

MANUAL: Final = {
    "cma": "Each CMA area: figures, a map of its bitmap, and its free runs by order. With --fit SIZE instead whether "
    "a buffer of that size fits into each area now, where, and if not, which place is nearest to being free and "
    "which buffers of whom lie there. It is aligned to --align, else as the CMA heap aligns a buffer of that size: "
    "to its size rounded up to a power of two, at most 1 MiB. The exit code is then 1 where it fits nowhere. Pages "
    "that cannot be moved away (EBUSY) show in no bitmap.",
}


class Options(CommonOptions):
    """What was asked for."""

    fit: int | None = None
    align: int | None = None


def arguments(parser: argparse.ArgumentParser) -> None:
    """Its own arguments."""
    parser.add_argument("--fit", metavar="SIZE", type=values.size, help="whether a buffer fits, and what is in the way")
    parser.add_argument("--align", metavar="SIZE", type=values.size, help="aligned to this, a power of two")


def check(options: Options) -> None:
    """Refuse what says nothing.

    Raises:
        UsageError: --align without --fit or no power of two; --fit with what it has no form for.
    """
    if options.fit is None:
        if options.align is not None:
            raise UsageError("--align", "it is the alignment of what --fit asks for", "add --fit SIZE")
        return
    if options.align is not None and options.align & (options.align - 1):
        raise UsageError(f"--align {options.align}", "it is no power of two", "write one like 4K, 64K or 1M")
    for name in ("csv", "interval", "sort"):
        if getattr(options, name):
            raise UsageError(f"--{name}", "it says nothing to --fit", "leave it out")


def run(options: Options) -> int:
    """Print the areas, or answer.

    Raises:
        UsageError: the sort key cannot be taken.
        SourceError, RecordingError: the source cannot be opened, or is gone.
    """
    if options.fit is None:
        return lists.run(options)
    from heaptop.report import fit, json

    with opened(options) as backend:
        snapshot = assemble(backend.capture())
        answers = fit.answers(snapshot, options.fit, options.align)
        if options.json:
            emit(json.dumps(fit.document(snapshot, answers)))
        else:
            emit(fit.text(snapshot, answers, look_of(options)))
            narrate_gaps(snapshot)
    return Exit.CHECK_FAILED if answers and not any(answer.found.fits for answer in answers) else Exit.OK
