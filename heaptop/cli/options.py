"""What was asked for: the options that every verb has, and a near match for a word that is none."""

import argparse
from collections.abc import Iterable

from heaptop.units import printable


class Options(argparse.Namespace):
    """What was asked for. Attributes that the command line did not set keep the defaults written here.

    A verb with options of its own has a subclass of this name in its module.
    """

    verb: str | None = None
    backend: str = "auto"
    root: str = "/"
    readonly: bool = False
    source: list[str] | None = None
    off: frozenset[str] = frozenset()
    no_color: bool = False
    profile_self: bool = False
    json: bool = False
    csv: bool = False
    filter: str | None = None
    sort: str | None = None
    interval: float | None = None
    at: str | None = None


def closest(word: str, among: Iterable[str]) -> str:
    """`did you mean system?`, or the choices where none is near."""
    import difflib

    choices = sorted(among)
    near = difflib.get_close_matches(word, choices, n=1)
    if near:
        return f"did you mean {printable(near[0])}?"
    return "choose from " + ", ".join(printable(choice) for choice in choices) if choices else ""
