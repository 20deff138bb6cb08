"""The page of all keys, made from the bindings: `python tools/keys.py > docs/keys.md`."""

import sys
from collections.abc import Iterable

from textual.binding import Binding, BindingType

from heaptop.tui import bindings
from heaptop.tui.content_screen import ContentScreen
from heaptop.tui.event_screen import EventScreen
from heaptop.tui.help import FILTER, MARKS, capital
from heaptop.tui.sites_screen import SitesScreen
from heaptop.tui.table_view import TableView
from heaptop.tui.views.buffers import BuffersView
from heaptop.tui.views.cma import CmaView
from heaptop.tui.views.heaps import HeapsView
from heaptop.tui.views.lab import LabView
from heaptop.tui.views.leaks import LeaksView
from heaptop.tui.views.processes import ProcessesView
from heaptop.tui.widgets.cma_map import CmaMap
from heaptop.tui.widgets.content_views import HexView
from heaptop.tui.widgets.icicle import Icicle
from heaptop.tui.widgets.table import Table

SECTIONS: tuple[tuple[str, tuple[Iterable[BindingType], ...]], ...] = (
    ("Everywhere", (bindings.APP, bindings.SCREEN)),
    ("In a recording of many moments", (bindings.REPLAY,)),
    ("In every list", (TableView.BINDINGS, Table.BINDINGS)),
    ("Heaps", (HeapsView.BINDINGS,)),
    ("Buffers", (BuffersView.BINDINGS,)),
    ("Processes", (ProcessesView.BINDINGS,)),
    ("CMA", (CmaView.BINDINGS, CmaMap.BINDINGS)),
    ("Leaks", (LeaksView.BINDINGS,)),
    ("Lab", (LabView.BINDINGS,)),
    ("Events", (EventScreen.BINDINGS,)),
    ("Call sites", (SitesScreen.BINDINGS, Icicle.BINDINGS)),
    ("Content", (ContentScreen.BINDINGS, HexView.BINDINGS)),
)

CHARACTERS = {
    "space": "Space",
    "plus": "+",
    "minus": "-",
    "slash": "/",
    "question_mark": "?",
    "left_square_bracket": "[",
}


def page() -> str:
    """Markdown: a table of keys for each place, then the marks and the filter language."""
    parts = ["# Keys\n\nWhat the app's help (`?`) shows, and the palette (`ctrl+p`) offers by name.\n"]
    for title, groups in SECTIONS:
        parts.append(f"\n## {title}\n\n| key | does |\n| --- | --- |\n")
        parts += [row for group in groups for binding in group if (row := _row(binding))]
    parts.append("\n## Marks\n\n| mark | means |\n| --- | --- |\n")
    parts += [f"| `{mark}` | {what} |\n" for mark, _, what in MARKS]
    parts.append("\n## Filter\n\n| example | means |\n| --- | --- |\n")
    parts += [f"| `{example}` | {what} |\n" for example, what in FILTER]
    return "".join(parts)


def _row(binding: BindingType) -> str:
    if not isinstance(binding, Binding) or not binding.description:
        return ""
    keys = " ".join(f"`{_shown(key, binding)}`" for key in binding.key.split(","))
    return f"| {keys} | {capital(binding.description)} |\n"


def _shown(key: str, binding: Binding) -> str:
    if binding.key_display and "," not in binding.key:
        return binding.key_display
    return bindings.KEY_NAMES.get(key) or CHARACTERS.get(key, key)


if __name__ == "__main__":
    sys.stdout.write(page())
