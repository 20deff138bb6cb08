"""The help sheet, made from the keys that are bound: it cannot say what is not so."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from heaptop.tui.renderables.details import Line

MARKS: tuple[tuple[str, str, str], ...] = (
    ("+", "new", "new in the last three looks"),
    ("-", "gone", "gone, kept for three looks"),
    ("▲", "grown", "has grown"),
    ("!", "suspect", "a suspect"),
    ("?", "orphan", "alive, but no process is seen to hold it"),
    ("~", "unknown", "not known here: rest the mouse on it or press Enter for why and the remedy"),
    ("*", "own", "held by heaptop's own test allocation"),
)

FILTER: tuple[tuple[str, str], ...] = (
    ("camera", "name, exporter or a holder has it"),
    ("size>1M age<10s hidden>0", "compare; blanks mean and"),
    ("exporter:system holder:camera pid:812", "this field has it"),
    ("orphan  new  since:mark", "kinds of buffers"),
    ("and or not ( )", "put together"),
)


def capital(text: str) -> str:
    """The footer's `pause` as help and palette have it: `Pause`."""
    return text[:1].upper() + text[1:]


@dataclass(frozen=True, slots=True)
class Key:
    """A bound key as help shows it."""

    key: str
    what: str


def help_lines(here: Sequence[Key], everywhere: Sequence[Key], where: str) -> list[Line]:
    """Keys of the view, keys that work everywhere, the marks, the filter language."""
    lines: list[Line] = [((f"In {where}", "title"),), *_keys(here), ()]
    lines += [(("Everywhere", "title"),), *_keys(everywhere), ()]
    lines += [(("Marks", "title"),)]
    lines += [((f"  {mark:<3}", style), (what, "")) for mark, style, what in MARKS]
    lines += [(), (("Filter ( / )", "title"),)]
    lines += [((f"  {example:<38}", "strong"), (what, "")) for example, what in FILTER]
    return lines


def _keys(keys: Iterable[Key]) -> list[Line]:
    """One line for each thing to do, all its keys in front."""
    by_what: dict[str, list[str]] = {}
    for key in keys:
        by_what.setdefault(key.what, []).append(key.key)
    return [((f"  {' '.join(names):<16}", "strong"), (what, "")) for what, names in by_what.items()]
