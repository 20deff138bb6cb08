"""The command line's grammar: the verbs and what each takes. The help, the completion and the manpage come from it.

Common options may stand before or after the verb. A verb takes only those it has a use for: one that would do nothing
is refused, not ignored.
"""

import argparse
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, NoReturn

from heaptop.analysis.sort import CMA_KEYS, HEAP_KEYS, PROCESS_KEYS, buffer_keys, sort_rows
from heaptop.cli import values
from heaptop.errors import UsageError
from heaptop.sources import SOURCES as KERNEL_SOURCES
from heaptop.sources import switched_off
from heaptop.units import printable

SORT_KEYS: Final[Mapping[str, Mapping[str, Callable[[Any], Any]]]] = {
    "heaps": HEAP_KEYS,
    "buffers": buffer_keys({}),
    "processes": PROCESS_KEYS,
    "cma": CMA_KEYS,
}
"""What each list can be sorted by."""

PATTERNS: Final = ("zero", "ff", "count")
SHELLS: Final = ("bash", "zsh", "fish")
SOURCES: Final = ("auto", "kernel", "emulator", "emulator:steady", "emulator:leak-fd", "replay:")


class Options(argparse.Namespace):
    """What was asked for. Attributes that the command line did not set keep the defaults written here."""

    verb: str | None = None
    backend: str = "auto"
    root: str = "/"
    readonly: bool = False
    source: list[str] | None = None
    off: frozenset[str] = frozenset()
    no_color: bool = False
    json: bool = False
    csv: bool = False
    filter: str | None = None
    sort: str | None = None
    interval: float | None = None
    path: str = ""
    heap: str = ""
    size: int = 0
    count: int = 1
    name: bytes | None = None
    pattern: str | None = None
    hold: float | None = None
    duration: float | None = None
    force: bool = False
    shell: str = ""
    inode: int = 0
    offset: int = 0
    length: int | None = None
    format: str | None = None
    width: int | None = None
    height: int | None = None
    stride: int | None = None
    png: str | None = None


@dataclass(frozen=True, slots=True)
class Verb:
    """A verb: its line of help, the common options that it takes, and what adds its own arguments."""

    name: str
    help: str
    common: tuple[str, ...]
    arguments: Callable[[argparse.ArgumentParser], None] | None = None


COMMON: Final[dict[str, tuple[tuple[str, ...], dict[str, Any]]]] = {
    "backend": (
        ("-b", "--backend"),
        {"metavar": "SOURCE", "help": "auto, kernel, emulator[:SCENARIO] or replay:PATH (default: auto)"},
    ),
    "root": (
        ("--root",),
        {"metavar": "DIR", "help": "where /proc, /sys and /dev of the kernel are found (default: /)"},
    ),
    "readonly": (("--readonly",), {"action": "store_true", "help": "allocate nothing and write to no device"}),
    "no_color": (("--no-color",), {"action": "store_true", "help": "no colour (as NO_COLOR in the environment)"}),
    "json": (("--json",), {"action": "store_true", "help": "print JSON (schema heaptop/1)"}),
    "csv": (("--csv",), {"action": "store_true", "help": "print CSV with a header line"}),
    "filter": (("--filter",), {"metavar": "EXPR", "help": "show only what matches, like 'size>1M and holder:camera'"}),
    "sort": (("--sort",), {"metavar": "KEY", "help": "sort by this column; -KEY reverses"}),
    "source": (
        ("--source",),
        {
            "metavar": "NAME,…",
            "action": "append",
            "help": "ask these sources only, or with -NAME all but these: " + ", ".join(KERNEL_SOURCES),
        },
    ),
    "interval": (("--interval",), {"metavar": "S", "type": values.interval, "help": "look again every S seconds"}),
}

_ALWAYS: Final = ("backend", "root", "readonly", "no_color")


def _capture_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("path", metavar="PATH", help="a folder, or a tar if it ends in .tar, .tar.gz or .tar.xz")


def _alloc_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("heap", metavar="HEAP", help="the heap to ask")
    parser.add_argument("size", metavar="SIZE", type=values.size, help="bytes, or a number with K, M or G")
    parser.add_argument("--count", metavar="N", type=values.count, help="how many buffers (default: 1)")
    parser.add_argument("--name", metavar="TEXT", type=values.buffer_name, help="name them (at most 31 bytes)")
    parser.add_argument("--pattern", metavar="P", help="fill them: zero, ff, count, or bytes in hex like deadbeef")
    parser.add_argument(
        "--hold", metavar="DURATION", type=values.hold, help="free them after this time (default: when interrupted)"
    )
    parser.add_argument("--force", action="store_true", help="allocate more than half of the memory available")


def _content_arguments(parser: argparse.ArgumentParser) -> None:
    from heaptop.analysis.picture import FORMATS

    parser.add_argument(
        "inode", metavar="INODE", type=values.whole_number, help="the buffer, as heaptop buffers lists it"
    )
    parser.add_argument("--offset", metavar="N", type=values.offset, help="begin here (default: 0)")
    parser.add_argument("--length", metavar="N", type=values.size, help="print so many bytes (default: 256)")
    parser.add_argument("--png", metavar="PATH", help="write a picture there instead; what is not told is guessed")
    parser.add_argument("--format", metavar="F", choices=tuple(FORMATS), help=f"its format: {', '.join(FORMATS)}")
    parser.add_argument("--width", metavar="N", type=values.whole_number, help="its width in pixels")
    parser.add_argument("--height", metavar="N", type=values.whole_number, help="its height in pixels")
    parser.add_argument(
        "--stride", metavar="N", type=values.whole_number, help="bytes from one of its rows to the next"
    )
    parser.add_argument("--force", action="store_true", help="write over a file that exists")


def _events_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--for",
        dest="duration",
        metavar="DURATION",
        type=values.duration,
        help="end after this time (default: when interrupted)",
    )


def _completion_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("shell", metavar="SHELL", choices=SHELLS, help="bash, zsh or fish")


_CMA: Final = (*_ALWAYS, "json", "csv", "sort", "source", "interval")
_LIST: Final = (*_CMA, "filter")

VERBS: Final = (
    Verb("heaps", "print the heaps: buffers and bytes of each, and of other exporters", _LIST),
    Verb("buffers", "print every buffer and who holds it", _LIST),
    Verb("processes", "print the processes that hold buffers, with RSS and PSS", _LIST),
    Verb("cma", "print the CMA areas: a map of each, and its free runs", _CMA),
    Verb("capture", "write one capture as a recording", (*_ALWAYS, "json", "csv", "source"), _capture_arguments),
    Verb("alloc", "allocate test buffers, hold them, free them on exit", (*_ALWAYS, "json", "csv"), _alloc_arguments),
    Verb("content", "print the bytes of a buffer, or write it as a picture", (*_ALWAYS, "source"), _content_arguments),
    Verb("events", "tell every allocation and free as it happens", (*_ALWAYS, "json", "filter"), _events_arguments),
    Verb("doctor", "say what can be read here, and how to get the rest", (*_ALWAYS, "json", "csv")),
    Verb("completion", "print the completion script of a shell", (), _completion_arguments),
)
APP: Final = Verb("", "the app", (*_ALWAYS, "filter", "source", "interval"))
"""What no verb stands for."""

EPILOG: Final = (
    "Without a verb heaptop opens the app. Exit codes: 0 fine, 1 a check failed, 2 usage, 3 permission or kernel "
    "support missing, 4 bad recording, 130 interrupted. `heaptop VERB --help` tells the options of a verb."
)


def closest(word: str, among: Iterable[str]) -> str:
    """`did you mean system?`, or the choices where none is near."""
    import difflib

    choices = sorted(among)
    near = difflib.get_close_matches(word, choices, n=1)
    if near:
        return f"did you mean {printable(near[0])}?"
    return "choose from " + ", ".join(printable(choice) for choice in choices) if choices else ""


class _Parser(argparse.ArgumentParser):
    """An ArgumentParser whose complaints are `UsageError`s, and to which `-5` and `-4K` are values, never options."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__(allow_abbrev=False, argument_default=argparse.SUPPRESS, **arguments)
        self._negative_number_matcher = re.compile(r"^-[0-9.]")

    def error(self, message: str) -> NoReturn:
        raise UsageError(printable(message.removeprefix("argument ")), remedy=f"see {self.prog} --help")

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is not None and value not in action.choices:
            noun = str(action.metavar or action.dest).lower()
            raise UsageError(f"no {noun} {printable(str(value))!r}", remedy=closest(str(value), action.choices))


class _Version(argparse.Action):
    def __init__(self, **arguments: Any) -> None:
        super().__init__(**{**arguments, "nargs": 0})

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from importlib.metadata import PackageNotFoundError, version

        try:
            number = version("heaptop")
        except PackageNotFoundError:
            number = "(not installed)"
        sys.stdout.write(f"heaptop {number}\n")
        parser.exit()


def build(only: str | None = None) -> argparse.ArgumentParser:
    """The parser of the whole command line; where `only` is a verb, no other verb knows its arguments."""
    parser = _Parser(prog="heaptop", description="Inspect and debug Linux DMA-BUF heaps.", epilog=EPILOG)
    parser.add_argument("--version", action=_Version, help="print the version and exit")
    _add_common(parser, tuple(COMMON))
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", title="verbs", parser_class=_Parser)
    for verb in VERBS:
        child = verbs.add_parser(verb.name, help=verb.help, description=verb.help[0].upper() + verb.help[1:] + ".")
        if only not in (None, verb.name):
            continue
        if verb.arguments is not None:
            verb.arguments(child)
        _add_common(child, verb.common, verb.name)
    return parser


def _add_common(parser: argparse.ArgumentParser, names: Iterable[str], verb: str = "") -> None:
    group = parser.add_argument_group("common options")
    for name in names:
        flags, arguments = COMMON[name]
        if name == "sort" and verb:
            arguments = {**arguments, "help": f"sort by {', '.join(SORT_KEYS[verb])}; -KEY reverses"}
        group.add_argument(*flags, dest=name, **arguments)


WITH_VALUE: Final = frozenset(
    (
        *("--backend", "--root", "--source", "--filter", "--sort", "--interval"),
        *("--count", "--name", "--pattern", "--hold", "--for"),
        *("--offset", "--length", "--png", "--format", "--width", "--height", "--stride"),
    )
)
"""Options that take a value."""
TAKING_VALUE: Final = WITH_VALUE | {"-b"}


def _joined(arguments: Iterable[str]) -> Iterator[str]:
    """`--sort -size` as `--sort=-size`: argparse would take the value for an option (-s, or worse: -h for -heap)."""
    option = None
    for argument in arguments:
        if option is not None:
            yield from ([f"{option}={argument}"] if re.match("-[^-]", argument) else [option, argument])
            option = None
        elif argument in WITH_VALUE:
            option = argument
        else:
            yield argument
    if option is not None:
        yield option


def _verb_of(words: list[str]) -> str | None:
    """The first word that is neither an option nor an option's value; None where it is no verb."""
    before = ["", *words]
    plain = (word for last, word in zip(before, words, strict=False) if last not in TAKING_VALUE and word[:1] != "-")
    word = next(plain, None)
    return word if any(verb.name == word for verb in VERBS) else None


def parse(arguments: list[str]) -> Options:
    """Read a command line.

    Raises:
        UsageError: it cannot be taken.
        SystemExit: after --help and --version.
    """
    words = list(_joined(arguments))
    options = build(_verb_of(words)).parse_args(words, namespace=Options())
    verb = next((verb for verb in VERBS if verb.name == options.verb), APP)
    for name in sorted(vars(options).keys() & COMMON.keys()):
        if name not in verb.common:
            raise UsageError(
                f"{COMMON[name][0][-1]} says nothing to {verb.name or verb.help}",
                remedy=f"see heaptop {verb.name} --help",
            )
    if options.source is not None:
        options.off = switched_off(options.source)
    if options.json and options.csv:
        raise UsageError("--json and --csv", "one document has one format")
    if options.verb == "content":
        _check_content(options)
    if options.sort is not None:
        sort_rows((), SORT_KEYS[verb.name], options.sort)
    return options


def _check_content(options: Options) -> None:
    given = vars(options).keys() & {"format", "width", "height", "stride", "force"}
    if options.png is None and given:
        raise UsageError(f"--{min(given)} says nothing to a hex dump", remedy="take --png PATH to write a picture")
    if options.png is not None and options.length is not None:
        raise UsageError("--length says nothing to a picture", remedy="its height and stride say how much is read")
