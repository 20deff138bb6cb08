"""`heaptop record`: captures over time, for days, within a bound of size and age."""

import argparse
import os
import signal
import time
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Final

from heaptop.backend.base import Backend, Timeline
from heaptop.cli import values
from heaptop.cli.anonymous import (
    HOLDS_NAMES,
    HOLDS_STAND_INS,
    Anonymous,
    anonymise_arguments,
    anonymiser_of,
    left_out,
)
from heaptop.cli.options import Options as CommonOptions
from heaptop.cli.output import narrate
from heaptop.cli.signals import Signals
from heaptop.cli.source import opened
from heaptop.errors import Exit, HeaptopError, UsageError
from heaptop.units import format_age, format_size

if TYPE_CHECKING:
    from heaptop.analysis.anonymise import Anonymiser
    from heaptop.model import Event
    from heaptop.recorder import Recorder
    from heaptop.trace.base import EventSource

INTERVAL_S: Final = 1.0
MAX_BYTES: Final = 256 << 20
KEEP_FREE_BYTES: Final = 16 << 20
EVENT_WAIT_S: Final = 0.2
"""The longest time until a signal is noticed where events are waited for."""
MARK, INCIDENT = signal.SIGUSR2, signal.SIGUSR1

MANUAL: Final = {
    "record": "PATH becomes a folder of segments, each a tar that opens alone: one capture whole, then what changed "
    "from moment to moment. It is safe to kill at any instant: at most the last interval is lost; after a crash of "
    "the kernel or a cut of power, at most 10 seconds more. A folder that a recorder made is gone on with; a second "
    "recorder on it is refused. When a bound is reached, or the disk is full, what is oldest is dropped. "
    "SIGUSR2 sets a mark. SIGUSR1 writes an incident: a capture of its own in the folder, as the thresholds do, at "
    "most one a minute of each kind. Look at it with -b replay:PATH. It holds the names of processes and buffers, "
    "unless they are replaced with --anonymise.",
}


class Options(CommonOptions):
    """What was asked for."""

    path: str = ""
    duration: float | None = None
    max_size: int = MAX_BYTES
    max_age: float | None = None
    keep_free: int = KEEP_FREE_BYTES
    incident_bytes: int | None = None
    incident_growth: float | None = None
    incident_on_failure: bool = False
    anonymise: bool = False
    key: str | None = None


def arguments(parser: argparse.ArgumentParser) -> None:
    """Its own arguments."""
    parser.add_argument("path", metavar="PATH", help="a folder: a new one, or one that a recorder made")
    add = parser.add_argument
    add("--for", dest="duration", metavar="DURATION", type=values.duration, help="end after this time")
    add(
        "--max-size",
        metavar="SIZE",
        type=partial(values.bound, "--max-size"),
        help=f"the recording takes at most this (default: {format_size(MAX_BYTES)})",
    )
    add(
        "--max-age",
        metavar="DURATION",
        type=partial(values.span, "--max-age"),
        help="drop what is older than this (default: as much as --max-size holds)",
    )
    add(
        "--keep-free",
        metavar="SIZE",
        type=partial(values.bound, "--keep-free"),
        help=f"leave so much of the file system free (default: {format_size(KEEP_FREE_BYTES)})",
    )
    add(
        "--incident-bytes",
        metavar="SIZE",
        type=partial(values.bound, "--incident-bytes"),
        help="write an incident capture when buffers take more than this",
    )
    add(
        "--incident-growth",
        metavar="RATE",
        type=partial(values.rate, "--incident-growth"),
        help="write one when they grow faster than this, like 8M/min",
    )
    anonymise_arguments(parser)
    add("--incident-on-failure", action="store_true", help="write one when an allocation fails")


def run(options: Options) -> int:
    """Record until the time is over or a signal ends it.

    Raises:
        UsageError: the source is itself a recording, or the key cannot be taken.
        SourceError: the source cannot be opened, or is gone.
        RecordingError: the recording cannot be made, or is gone.
    """
    options.readonly = True  # recording allocates nothing and writes to no device
    with opened(options) as backend:
        if isinstance(backend, Timeline):
            raise UsageError("record", "a recording does not change", "copy it, or take `heaptop capture` for a moment")
        anonymiser = anonymiser_of(anonymise=options.anonymise, key=options.key)
        recorder = _recorder(options, anonymiser)
        try:
            return _Loop(backend, recorder, options, anonymiser).run()
        finally:
            recorder.close()


def _recorder(options: Options, anonymiser: "Anonymiser | None") -> "Recorder":
    from heaptop.analysis.incident import Thresholds
    from heaptop.recorder import Recorder
    from heaptop.recording.journal import Bounds

    return Recorder(
        options.path,
        bounds=Bounds(options.max_size, options.max_age, options.keep_free),
        thresholds=Thresholds(options.incident_bytes, options.incident_growth, options.incident_on_failure),
        has_names=anonymiser is None,
        tell=lambda text: _tell(f"heaptop: {text}"),
    )


class _Loop:
    """Looks at each interval, and at once when asked to."""

    def __init__(
        self, backend: Backend, recorder: "Recorder", options: Options, anonymiser: "Anonymiser | None"
    ) -> None:
        from heaptop.session import Session

        self._backend = backend
        self._recorder = recorder
        self._options = options
        self._interval_s = options.interval or INTERVAL_S
        self._anonymiser = anonymiser
        self._session = Session(backend if anonymiser is None else Anonymous(backend, anonymiser), time.time)
        self._session.observer = recorder.observe
        self._events: EventSource | None = None
        self._marks = 0

    def run(self) -> int:
        """Record; returns the exit code."""
        began, own = time.monotonic(), time.process_time()
        end = None if self._options.duration is None else began + self._options.duration
        self._greet()
        try:
            with Signals((MARK, INCIDENT)) as signals:
                self._watch_failures()
                due = began
                while signals.ended_by is None:
                    self._session.refresh()
                    due = max(due + self._interval_s, time.monotonic())
                    if end is not None and due > end:
                        due = end
                    self._pause(signals, due)
                    if end is not None and time.monotonic() >= end:
                        break
                return _exit_code(signals.ended_by)
        finally:
            if self._events is not None:
                self._events.stop()
            self._recorder.close()
            for text in left_out(self._anonymiser):
                _tell(text)
            _tell(f"heaptop: {self._summary(time.monotonic() - began, time.process_time() - own)}")

    def _greet(self) -> None:
        options = self._options
        bound = format_size(options.max_size) + ("" if options.max_age is None else f", {format_age(options.max_age)}")
        _tell(
            f"heaptop: recording {self._backend.source} to {options.path} every {self._interval_s:g} s, at most {bound}"
        )
        _tell(f"heaptop: a mark: kill -USR2 {os.getpid()}; an incident capture: kill -USR1 {os.getpid()}")
        _tell(HOLDS_NAMES if self._anonymiser is None else HOLDS_STAND_INS)

    def _watch_failures(self) -> None:
        """Have failures told as they happen. Where that cannot be, CMA's counters still tell of them."""
        if not self._options.incident_on_failure:
            return
        from heaptop.watching import event_source

        try:
            events = event_source(self._backend, self._options.root)
            events.start()
        except HeaptopError as error:
            _tell(f"note: failures are told by CMA's counters alone: {error}")
        else:
            self._events = events

    def _pause(self, signals: Signals, due: float) -> None:
        """Wait until the next look is due, or something wants one at once."""
        while signals.ended_by is None and (left_s := due - time.monotonic()) > 0:
            if self._events is None:
                signals.wait(left_s)
            elif any(self._is_incident(event) for event in self._events.read(min(left_s, EVENT_WAIT_S))):
                return
            taken = signals.take()
            for number in taken:
                if number == MARK:
                    self._marks += 1
                    self._recorder.mark(f"mark {self._marks}")
                else:
                    self._recorder.ask("asked for by SIGUSR1")
            if taken:
                return

    def _is_incident(self, event: "Event") -> bool:
        from heaptop.model import EventKind

        if event.kind not in (EventKind.ALLOC_FAIL, EventKind.CMA_FAIL):
            return False
        place = event.area or event.exporter or "a heap"
        to = f" to {event.comm}" if event.comm and self._anonymiser is None else ""
        return self._recorder.failed(f"{place} could not give {format_size(event.size_bytes)}{to}")

    def _summary(self, passed_s: float, own_s: float) -> str:
        from heaptop.report.text import counted

        counts = self._recorder.counts
        told = [
            f"recorded {counted(counts.moments, 'moment')} to {self._options.path}",
            f"{format_size(self._recorder.size_bytes)} in all",
            f"{own_s / passed_s * 100 if passed_s else 0:.1f} % CPU",
        ]
        if counts.incidents:
            told.append(counted(counts.incidents, "incident"))
        if counts.lost:
            told.append(f"{counted(counts.lost, 'moment')} lost for want of room")
        return ", ".join(told)


def _tell(text: str) -> None:
    """A line to stderr. A recorder goes on for days, also when the terminal that it was started from is gone."""
    with suppress(OSError):
        narrate(text)


def _exit_code(number: int | None) -> int:
    if number is None:
        return Exit.OK
    return Exit.INTERRUPTED if number == signal.SIGINT else 128 + number
