"""What `heaptop run` says: how it runs the command, each allocation where asked, and a line in the end."""

import sys
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self, TextIO

from heaptop.cli.output import narrate
from heaptop.errors import HeaptopError, errno_text
from heaptop.model import Event, EventKind
from heaptop.report import events
from heaptop.report.text import counted
from heaptop.units import format_size, printable

if TYPE_CHECKING:
    from heaptop.cli.run import Options

_SOURCE: Final = "run"


class Report:
    """Hears the supervisor's messages. Use as a context: the file of events is open as long."""

    def __init__(self, options: "Options", started: str) -> None:
        """HeaptopError where the file for events cannot be written."""
        self._quiet = options.quiet
        self._started = started
        self._json = options.json
        self._to: TextIO | None = sys.stderr if options.events or options.json else None
        self._file: TextIO | None = None
        if options.output is not None:
            try:
                self._to = self._file = open(options.output, "w", encoding="utf-8", errors="backslashreplace")  # noqa: SIM115
            except OSError as error:
                raise HeaptopError(printable(options.output), errno_text(error.errno or 0)) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            with suppress(OSError):
                self._file.close()

    def hear(self, message: dict[str, Any]) -> None:
        """One message of the supervisor's."""
        match message["kind"]:
            case "started" if not self._quiet:
                narrate(self._started)
                if message["refused"] is not None:
                    narrate(_without_dev(message["refused"]))
            case "alloc":
                self._tell(_event(message))
            case "ended" if not self._quiet:
                narrate(f"heaptop: {summary(message['heaps'])}")
        if message.get("stackless") and not self._quiet:
            narrate(f"heaptop: {message['stackless']} buffers have no call site: they came faster than 500 a second")
        if message.get("lost"):
            narrate(f"heaptop: {message['lost']} events were lost: they came faster than they could be written")

    def _tell(self, event: Event) -> None:
        if self._to is None:
            return
        if self._json:
            from heaptop.report import json

            line = json.dumps_line(events.document(_SOURCE, event))
        else:
            line = events.line(event)
        with suppress(OSError):  # a full disk, a closed pipe: the command goes on
            self._to.write(line)
            self._to.flush()


def _event(message: dict[str, Any]) -> Event:
    """As the events of a kernel are told. One whose end could not be seen counts as an allocation of unknown inode."""
    number = message["number"]
    return Event(
        kind=EventKind.ALLOC_FAIL if number else EventKind.ALLOC,
        time=message["began"],
        pid=message["pid"],
        tid=message["tid"],
        comm=message["comm"],
        size_bytes=message["size_bytes"],
        inode=message["inode"],
        exporter=message["heap"],
        latency_s=message["took_s"],
        errno=number or None,
    )


def _without_dev(refused: dict[str, Any]) -> str:
    """What it means that the command can have no /dev of its own."""
    from heaptop.trace.supervise.refusal import remedy

    why = errno_text(refused["errno"])
    how = remedy(refused["failed"], refused["errno"])
    return (
        f"heaptop: {refused['failed']}: {why}: the heaps are there for open() alone, not for stat(), and every open is "
        f"slower; {how}"
    )


def summary(heaps: dict[str, dict[str, int]]) -> str:
    """One line about all that was asked of the heaps."""
    if not heaps:
        return "the command asked no heap for a buffer"
    parts = []
    for name, tally in sorted(heaps.items()):
        part = f"{counted(tally['buffers'], 'buffer')} of {printable(name)}, {format_size(tally['size_bytes'])}"
        part += f", {tally['refused']} refused" if tally["refused"] else ""
        part += f", {tally['unknown']} not seen to the end" if tally["unknown"] else ""
        parts.append(part)
    return "the command was given " + "; ".join(parts)
