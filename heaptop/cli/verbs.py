"""The verbs: a line for each, and where it lives.

A module is loaded only when it is run or its help is wanted. It has `run(options) -> int` and `MANUAL`, its prose
in the manual page by verb; where it needs them, `arguments(parser)` (what it adds to the grammar), a class `Options`
(their types and defaults), `check(options)` (raises `UsageError`), `SORT_KEYS` (for `--sort`, by verb), and
`TAKES_COMMAND` where what follows its options is a command to run, which is `options.command`.
"""

import importlib
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple, Protocol, cast

from heaptop.cli.options import Options


class Module(Protocol):
    """What a verb's module must have."""

    MANUAL: Mapping[str, str]
    run: Callable[[Any], int]


class Verb(NamedTuple):
    """A verb: its line of help, the common options that it takes, and its module below heaptop.cli."""

    name: str
    help: str
    common: tuple[str, ...]
    module: str

    def load(self) -> Module:
        """Its module."""
        return cast("Module", importlib.import_module(f"heaptop.cli.{self.module}"))

    def options(self) -> Options:
        """Its options, all at their defaults."""
        made: Options = getattr(self.load(), "Options", Options)()
        return made

    def sort_keys(self) -> Mapping[str, Callable[[Any], Any]]:
        """What `--sort` can name."""
        keys: Mapping[str, Mapping[str, Callable[[Any], Any]]] = getattr(self.load(), "SORT_KEYS", {})
        return keys.get(self.name, {})


_ALWAYS: Final = ("backend", "root", "readonly", "no_color")
_CMA: Final = (*_ALWAYS, "json", "csv", "sort", "source", "interval", "at")
_LIST: Final = (*_CMA, "filter")

VERBS: Final = (
    Verb("heaps", "print the heaps: buffers and bytes of each, and of other exporters", _LIST, "lists"),
    Verb("buffers", "print every buffer and who holds it", _LIST, "lists"),
    Verb("processes", "print the processes that hold buffers, with RSS and PSS", _LIST, "lists"),
    Verb("cma", "print the CMA areas, or say whether a buffer fits and what is in the way", _CMA, "cma"),
    Verb("leaks", "watch for a time and name what grows", (*_ALWAYS, "json", "filter", "source", "interval"), "leaks"),
    Verb(
        "cycle",
        "run a command again and again and say what each run leaves",
        (*_ALWAYS, "json", "filter", "source"),
        "cycle",
    ),
    Verb("check", "fail where the runs of a command leave buffers", (*_ALWAYS, "json", "filter", "source"), "check"),
    Verb("diff", "say what changed between two captures", (*_ALWAYS, "json", "filter", "source"), "diff"),
    Verb("capture", "write one capture as a recording", (*_ALWAYS, "json", "csv", "source", "at"), "capture"),
    Verb("record", "write captures over time, for days, within a bound", (*_ALWAYS, "source", "interval"), "record"),
    Verb("alloc", "allocate test buffers, hold them, free them on exit", (*_ALWAYS, "json", "csv"), "alloc"),
    Verb("content", "print the bytes of a buffer, or write it as a picture", (*_ALWAYS, "source"), "content"),
    Verb("events", "tell every allocation and free as it happens", (*_ALWAYS, "json", "filter", "source"), "events"),
    Verb(
        "sites", "print which places in programs the buffers come from", (*_ALWAYS, "json", "filter", "source"), "sites"
    ),
    Verb("run", "run a command with its dma-heap calls answered or observed", ("json",), "run"),
    Verb("export", "write an HTML page or OpenMetrics, or serve that", (*_ALWAYS, "source", "interval"), "export"),
    Verb("selftest", "test the heap ABI's behaviour, in TAP", ("backend", "no_color"), "selftest"),
    Verb("bench", "measure how long heaps take", (*_ALWAYS, "json", "csv"), "bench"),
    Verb("emulator", "start, tell of or stop the emulator that programs share", ("no_color", "json"), "emulator"),
    Verb("doctor", "say what can be read here, and how to get the rest", (*_ALWAYS, "json", "csv"), "doctor"),
    Verb("completion", "print the completion script of a shell", (), "completion"),
)
APP: Final = Verb("", "the app", (*_ALWAYS, "filter", "source", "interval", "at"), "app")
"""What no verb stands for."""


def verb_named(name: str | None) -> Verb:
    """The verb of that name; the app where there is none."""
    return next((verb for verb in VERBS if verb.name == name), APP)
