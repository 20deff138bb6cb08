"""The command line's grammar, from the verbs and what each adds. The help, the completion and the manpage come from it.

Common options may stand before or after the verb. A verb takes only those it has a use for: one that would do nothing
is refused, not ignored.
"""

import argparse
import re
import sys
from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any, Final, NoReturn

from heaptop.cli import values
from heaptop.cli.options import Options, closest
from heaptop.cli.verbs import VERBS, Verb, verb_named
from heaptop.errors import UsageError
from heaptop.sources import SOURCES as KERNEL_SOURCES
from heaptop.sources import switched_off
from heaptop.units import printable

COMMON: Final[dict[str, tuple[tuple[str, ...], dict[str, Any]]]] = {
    "backend": (
        ("-b", "--backend"),
        {
            "metavar": "SOURCE",
            "help": "auto, kernel, emulator[:SCENARIO], simulation:SCENARIO, replay:PATH, adb[:SERIAL] or ssh:HOST "
            "(default: auto)",
        },
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
    "at": (
        ("--at",),
        {
            "metavar": "MOMENT",
            "help": "the moment of a recording: -3m, 14:02:11, '3 minutes ago' (default: last)",
        },
    ),
    "interval": (("--interval",), {"metavar": "S", "type": values.interval, "help": "look again every S seconds"}),
}

_HELP: Final = ("-h", "--help")

EPILOG: Final = (
    "Without a verb heaptop opens the app. Exit codes: 0 fine, 1 a check failed, 2 usage, 3 permission or kernel "
    "support missing, 4 bad recording, 130 interrupted. `heaptop VERB --help` tells the options of a verb."
)


class _Parser(argparse.ArgumentParser):
    """An ArgumentParser whose complaints are `UsageError`s, and to which `-5` and `-4K` are values, never options."""

    def __init__(self, **arguments: Any) -> None:
        # Every argument is tried out on a formatter as it is added. One that asks for the terminal's width loads
        # shutil, which takes longer than to read the command line: only help needs that.
        formatter = partial(argparse.HelpFormatter, width=80)
        super().__init__(allow_abbrev=False, argument_default=argparse.SUPPRESS, formatter_class=formatter, **arguments)
        self._negative_number_matcher = re.compile(r"^-[0-9.]")

    def format_help(self) -> str:
        self.formatter_class = argparse.HelpFormatter
        return super().format_help()

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
    """The whole command line's parser. All verbs know their arguments, or none ("") do, or only that one is there."""
    parser = _Parser(prog="heaptop", description="Inspect and debug Linux DMA-BUF heaps.", epilog=EPILOG)
    parser.add_argument("--version", action=_Version, help="print the version and exit")
    parser.add_argument("--profile-self", action="store_true", help="say at the end where heaptop's own time went")
    _add_common(parser, tuple(COMMON))
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", title="verbs", parser_class=_Parser)
    for verb in (verb_named(only),) if only else VERBS:
        child = verbs.add_parser(verb.name, help=verb.help, description=verb.help[0].upper() + verb.help[1:] + ".")
        if only != "":
            arguments = getattr(verb.load(), "arguments", None)
            if arguments is not None:
                arguments(child)
            _add_common(child, verb.common, verb)
    return parser


def _add_common(parser: argparse.ArgumentParser, names: Iterable[str], verb: Verb | None = None) -> None:
    group = parser.add_argument_group("common options")
    for name in names:
        flags, arguments = COMMON[name]
        if name == "sort" and verb is not None:
            arguments = {**arguments, "help": f"sort by {', '.join(verb.sort_keys())}; -KEY reverses"}
        group.add_argument(*flags, dest=name, **arguments)
        if name == "source":
            group.add_argument(
                "--no-bpf", dest=name, action="append_const", const="-bpf", help="load no BPF program: --source=-bpf"
            )


def subparsers(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """The parser of each verb."""
    actions = parser._actions  # noqa: SLF001  argparse has no public list of its verbs
    (verbs,) = (action for action in actions if isinstance(action, argparse._SubParsersAction))  # noqa: SLF001
    return dict(verbs.choices)


def with_value(parser: argparse.ArgumentParser) -> frozenset[str]:
    """The spellings of a parser's options that take a value."""
    actions = parser._actions  # noqa: SLF001  argparse has no public list of its options
    return frozenset(spelling for action in actions if action.nargs != 0 for spelling in action.option_strings)


def _joined(arguments: Iterable[str], taking_value: frozenset[str]) -> Iterator[str]:
    """`--sort -size` as `--sort=-size`: argparse would take the value for an option (-s, or worse: -h for -heap)."""
    words = iter(arguments)
    for word in words:
        if word == "--":
            yield from (word, *words)
        elif word in taking_value and word.startswith("--"):
            value = next(words, None)
            yield from [word] if value is None else [f"{word}={value}"] if re.match("-[^-]", value) else [word, value]
        else:
            yield word


def _verb_of(words: list[str]) -> str:
    """The first word that is neither an option nor an option's value; empty where it is no verb, or after --help."""
    taking_value = {flag for flags, arguments in COMMON.values() if "action" not in arguments for flag in flags}
    taking_value |= set(COMMON["source"][0])
    before = ["", *words]
    bare = (word for last, word in zip(before, words, strict=False) if last not in taking_value)
    word = next((word for word in bare if word[:1] != "-" or word in _HELP), "")
    return word if any(verb.name == word for verb in VERBS) else ""


def _command_in(words: list[str], verb: str, taking_value: frozenset[str]) -> tuple[list[str], list[str]]:
    """The words of a verb that runs a command, and the command: it begins after `--`, or with the first plain word
    after the verb. Nothing in it is heaptop's.
    """
    is_verb_seen = is_value = False
    for at, word in enumerate(words):
        if word == "--":
            return words[:at], words[at + 1 :]
        if is_verb_seen and not is_value and not word.startswith("-"):
            return words[:at], words[at:]
        is_verb_seen = is_verb_seen or (word == verb and not is_value)
        is_value = word in taking_value and not is_value
    return words, []


def parse(arguments: list[str]) -> Options:
    """Read a command line.

    Raises:
        UsageError: it cannot be taken.
        SystemExit: after --help and --version.
    """
    name = _verb_of(arguments)
    verb = verb_named(name)
    parser = build(name)
    taking_value = with_value(parser) | (with_value(subparsers(parser)[name]) if name else frozenset())
    takes_command = name and getattr(verb.load(), "TAKES_COMMAND", False)
    words, command = _command_in(arguments, name, taking_value) if takes_command else (arguments, [])
    options = parser.parse_args(list(_joined(words, taking_value)), namespace=verb.options() if name else Options())
    if takes_command:
        vars(options)["command"] = tuple(command)
    for common in sorted(vars(options).keys() & COMMON.keys()):
        if common not in verb.common:
            raise UsageError(
                f"{COMMON[common][0][-1]} says nothing to {verb.name or verb.help}",
                remedy="see " + " ".join(filter(None, ("heaptop", verb.name, "--help"))),
            )
    if options.source is not None:
        options.off = switched_off(options.source)
    if options.json and options.csv:
        raise UsageError("--json and --csv", "one document has one format")
    if options.sort is not None:
        from heaptop.analysis.sort import sort_rows

        sort_rows((), verb.sort_keys(), options.sort)
    check = getattr(verb.load(), "check", None) if name else None
    if check is not None:
        check(options)
    return options
