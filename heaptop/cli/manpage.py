"""The manual page, made from the parser: `python -m heaptop.cli.manpage > docs/heaptop.1`."""

import sys
import textwrap
from typing import Final

from heaptop.cli.completion import Flag, flags_of, operands_of
from heaptop.cli.parser import COMMON
from heaptop.cli.verbs import VERBS, Verb

DATE: Final = "2026-11-23"

EXIT_CODES: Final = (
    (0, "all is well, also where some sources could not be read (the gaps say which)"),
    (1, "a check failed"),
    (2, "the command line cannot be taken: usage, a bad filter, an unknown heap, too large an allocation"),
    (3, "permission or kernel support is missing, a heap refused, or the source is gone"),
    (4, "a recording cannot be read or written"),
    (130, "interrupted (SIGINT); 143 and 129 after SIGTERM and SIGHUP"),
)


def page() -> str:
    """The page, in man(7) macros."""
    sections = [
        f'.TH HEAPTOP 1 "{DATE}" "heaptop" "User Commands"',
        ".SH NAME",
        _text("heaptop - inspect and debug Linux DMA-BUF heaps"),
        ".SH SYNOPSIS",
        "\\fBheaptop\\fR [\\fB\\-b\\fR \\fISOURCE\\fR] [\\fIVERB\\fR] [\\fIoptions\\fR]",
        ".SH DESCRIPTION",
        _text(_DESCRIPTION),
        ".SH VERBS",
        *(_verb(verb) for verb in VERBS),
        ".SH COMMON OPTIONS",
        _text("These may stand before or after the verb. A verb refuses one that says nothing to it."),
        *(_flag(flag) for flag in flags_of(None)),
        ".SH SOURCES",
        *(_item(name, text) for name, text in _SOURCES),
        ".SH FILTERS",
        _text(_FILTERS),
        ".SH SORT KEYS",
        *(_item(verb.name, ", ".join(keys)) for verb in VERBS if (keys := verb.sort_keys())),
        ".SH OUTPUT",
        "\n.PP\n".join(_text(text) for text in _OUTPUT),
        ".SH EXIT STATUS",
        *(_item(str(code), text) for code, text in EXIT_CODES),
        ".SH ENVIRONMENT",
        _item("NO_COLOR", "no colour, where it is not empty"),
        _item("TERM", "dumb: no colour, and no app"),
        ".SH EXAMPLES",
        *(_item(command, text) for command, text in _EXAMPLES),
    ]
    return "\n".join(sections) + "\n"


_DESCRIPTION: Final = (
    "Shows the dma-heaps, every live dma-buf, who holds each and how, and the CMA areas bit by bit; allocates and "
    "frees test buffers. Without a verb it opens the app, which needs a terminal."
)

_SOURCES: Final = (
    ("auto", "the kernel where it has dma-heaps or shows any dma-buf, else the emulator; it says which and why"),
    ("kernel", "the running kernel; --root finds its /proc, /sys and /dev elsewhere"),
    ("emulator[:SCENARIO]", "the bundled emulator, with the processes of a scenario: steady or leak-fd"),
    ("adb[:SERIAL]", "an Android device, by its own shell; nothing is installed there"),
    ("ssh:HOST", "a host, likewise; keys must be there"),
    ("replay:PATH", "a recording: a folder or a tar"),
)

_FILTERS: Final = (
    "Bare words match name, exporter and comm. Fields: size>1M, age<10s, exporter:system, heap:system, name:cam, "
    "holder:camera, pid:812, uid:1000, inode:62, hidden>0, fds, maps, count; flags: orphan, new, since:mark; joined by "
    "and, or, not and parentheses. Ages, new and marks are known only to a run that looks more than once."
)

_OUTPUT: Final = (
    """Data goes to standard output, everything else to standard error. On a terminal text is cut to its width; \
otherwise nothing is cut.""",
    """--json prints one document, of which heaptop-1.schema.json in the package is the JSON Schema; with --interval, \
one document per line. Units are in the key names, null is unknown.""",
    """--csv prints RFC 4180: a header with units in the names, an empty cell for unknown. A text cell that a \
spreadsheet would take for a formula gets a leading apostrophe; control characters but newlines are escaped. With \
--interval the first column is captured_at.""",
)

_EXAMPLES: Final = (
    ("heaptop buffers --filter 'orphan size>1M'", "Large buffers that no process is seen to hold."),
    ("heaptop processes --json --interval 5s", "A JSON line every five seconds."),
    ("heaptop capture before.tar.gz", "A recording to look at elsewhere with -b replay:before.tar.gz."),
    ("heaptop content 62 --png frame.png --format nv12", "Buffer 62 as a picture, its width and height guessed."),
    ("heaptop alloc system 4M --count 3 --name probe", "Three test buffers, held until Ctrl-C."),
)


def _escaped(text: str) -> str:
    text = text.replace("\\", "\\e").replace("…", "...").replace("-", "\\-").replace("'", "\\(aq").replace("~", "\\(ti")
    return f"\\&{text}" if text.startswith(".") else text


def _text(text: str) -> str:
    """Prose: a sentence begins on a new line, as man(7) wants it, and none is long."""
    sentences = text.replace(". ", ".\n").split("\n")
    lines = [line for sentence in sentences for line in textwrap.wrap(sentence, 70, break_on_hyphens=False)]
    return "\n".join(_escaped(line) for line in lines)


def _item(term: str, text: str) -> str:
    return f".TP\n\\fB{_escaped(term)}\\fR\n{_text(text)}"


def _verb(verb: Verb) -> str:
    operands = "".join(f" \\fI{_escaped(operand.value)}\\fR" for operand in operands_of(verb.name))
    common = {flag for name in COMMON for flag in COMMON[name][0]}
    own = [flag for flag in flags_of(verb.name) if not common & set(flag.spellings) and "--help" not in flag.spellings]
    options = [flags[-1] for flags, _ in (COMMON[name] for name in verb.common)]
    parts = [
        f".SS \\fB{verb.name}\\fR{operands}",
        _text(verb.help[0].upper() + verb.help[1:] + ". " + verb.load().MANUAL[verb.name]),
        *(_flag(flag) for flag in own),
    ]
    if options:
        parts.append(f".PP\n{_text('Takes ' + ', '.join(options) + '.')}")
    return "\n".join(parts)


def _flag(flag: Flag) -> str:
    spellings = ", ".join(f"\\fB{_escaped(spelling)}\\fR" for spelling in flag.spellings)
    value = f" \\fI{_escaped(flag.value)}\\fR" if flag.value else ""
    return f".TP\n{spellings}{value}\n{_text(flag.help)}"


if __name__ == "__main__":
    sys.stdout.write(page())
