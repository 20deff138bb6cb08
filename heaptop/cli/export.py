"""`heaptop export`: what is seen, for other tools: an HTML page, OpenMetrics, a Perfetto trace."""

import argparse
import time
from collections import deque
from typing import Final

from heaptop.backend.base import Backend, Recorded
from heaptop.cli import values
from heaptop.cli.looks import looks
from heaptop.cli.options import Options as CommonOptions
from heaptop.cli.output import emit, emit_bytes, narrate
from heaptop.cli.source import opened
from heaptop.errors import Exit, UsageError
from heaptop.recording.file import write_file
from heaptop.session import Session, Update

FORMATS: Final = ("html", "openmetrics", "listen", "perfetto")
"""The options of which one says what is made."""
STDOUT: Final = "-"
TREND_POINTS: Final = 600
SCRAPE_INTERVAL_S: Final = 5.0
"""How old what is served may be, where `--interval` says nothing."""

MANUAL: Final = {
    "export": "Takes one of --html, --openmetrics, --listen and --perfetto. The page and the file tell one look, "
    "or with --for how things went meanwhile; of a recording all its moments. --listen serves OpenMetrics for "
    "Prometheus at /metrics, on the loopback address unless HOST says otherwise, until interrupted; the source "
    "is looked at when somebody asks, at most once in --interval (5 s). --perfetto writes a trace for "
    "ui.perfetto.dev: each buffer as a slice in every process that holds it, totals as counters. Page and trace"
    " hold the names of processes and buffers.",
}


class Options(CommonOptions):
    """What was asked for."""

    html: str | None = None
    openmetrics: str | None = None
    listen: str | None = None
    perfetto: str | None = None
    duration: float | None = None
    force: bool = False


def arguments(parser: argparse.ArgumentParser) -> None:
    """Its own arguments."""
    parser.add_argument("--html", metavar="PATH", help="write one self-contained HTML page (- for stdout)")
    parser.add_argument("--openmetrics", metavar="PATH", help="write OpenMetrics text (- for stdout)")
    parser.add_argument("--listen", metavar="PORT", help="serve OpenMetrics over HTTP on PORT or HOST:PORT")
    parser.add_argument("--perfetto", metavar="PATH", help="write a Perfetto trace (- for stdout)")
    parser.add_argument(
        "--for", dest="duration", metavar="DURATION", type=values.duration, help="watch so long, then write"
    )
    parser.add_argument("--force", action="store_true", help="write over a file that exists")


def check(options: Options) -> None:
    """Exactly one format."""
    given = [name for name in FORMATS if getattr(options, name) is not None]
    if len(given) != 1:
        wanted = ", ".join(f"--{name}" for name in FORMATS)
        raise UsageError("export", "nothing to make" if not given else "one format at a time", f"take one of {wanted}")
    if options.listen is not None and options.duration is not None:
        raise UsageError("--for says nothing to --listen", "it serves until it is interrupted")


def run(options: Options) -> int:
    """Write, or serve.

    Raises:
        UsageError: the file exists, or the address is none.
        SourceError, RecordingError: the source cannot be opened, or is gone.
        HeaptopError: the file cannot be written, or the address cannot be had.
    """
    with opened(options) as backend:
        if options.listen is not None:
            _serve(backend, options, options.listen)
        elif options.html is not None:
            _write(options.html, _page(backend, options), force=options.force)
        elif options.openmetrics is not None:
            *_, last = looks(backend, options.duration, options.interval)
            _write(options.openmetrics, _metrics(last), force=options.force)
        elif options.perfetto is not None:
            _write(options.perfetto, _trace(backend, options), force=options.force)
    return Exit.OK


def _write(path: str, made: str | bytes, *, force: bool) -> None:
    if path != STDOUT:
        write_file(path, made.encode() if isinstance(made, str) else made, force=force)
        narrate(f"heaptop: wrote {path}")
    elif isinstance(made, str):
        emit(made)
    else:
        emit_bytes(made)


def _trace(backend: Backend, options: Options) -> bytes:
    from heaptop.report.perfetto import Trace

    trace = Trace()
    told = backend.told() if isinstance(backend, Recorded) else ()
    parts = []
    for index, update in enumerate(looks(backend, options.duration, options.interval)):
        mark = told[index].mark if index < len(told) else ""
        parts.append(trace.add(update.snapshot, [mark] if mark else []))
    return b"".join([*parts, trace.end()])


def _page(backend: Backend, options: Options) -> str:
    from heaptop.report import html

    trend: deque[int] = deque(maxlen=TREND_POINTS)
    first: Update | None = None
    for update in looks(backend, options.duration, options.interval):
        first = first or update
        trend.append(update.snapshot.size_bytes)
    began_at = None if first is None or first is update else first.snapshot.captured_at
    return html.page(html.Seen(update.snapshot, began_at, tuple(trend), update.growth))


def _metrics(update: Update) -> str:
    from heaptop.report import openmetrics

    own = openmetrics.Own(time.process_time(), update.cost.capture_s + update.cost.assemble_s)
    return openmetrics.text(update.snapshot, own, tuple(one.key for one in update.growth.suspects))


def _serve(backend: Backend, options: Options, where: str) -> None:
    from heaptop.cli.serve import Exposition, address_of, serve

    address = address_of(where)
    session = Session(backend, time.time)
    exposition = Exposition(lambda: _metrics(session.refresh()), options.interval or SCRAPE_INTERVAL_S)
    serve(address, exposition, lambda url: narrate(f"heaptop: serving {url}"))
