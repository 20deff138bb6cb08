"""Runs the sections that are named, all without a name, and prints one table."""

import argparse
import subprocess
import sys
from collections.abc import Iterable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Final, Protocol

from tools.bench.rows import Row, absent
from tools.bench.table import HEADINGS, cells, keep, line, machine, markdown


class Section(Protocol):
    """A module that measures."""

    TITLE: str

    def rows(self) -> Iterator[Row]:
        """Measure; a row as soon as it is known."""


SECTIONS: Final[dict[str, str]] = {
    "scan": "tools.bench.scan",
    "peers": "tools.bench.peers",
    "startup": "tools.bench.startup",
    "app": "tools.bench.app",
    "table": "tools.bench.big_table",
    "run": "tools.bench.run",
    "allocators": "tools.bench.allocators",
    "stacks": "tools.bench.stacks",
}
"""Modules by the name that BENCH takes."""


def main(arguments: list[str]) -> int:
    """Returns 1 where a limit is missed."""
    parser = argparse.ArgumentParser(prog="python -m tools.bench", description=__doc__)
    parser.add_argument("sections", nargs="*", metavar="SECTION", help=f"{', '.join(SECTIONS)} (default: all)")
    parser.add_argument(
        "--keep", metavar="PAGE", type=Path, help="put the results into this page (docs/performance.md)"
    )
    options = parser.parse_args(arguments)
    if unknown := set(options.sections) - SECTIONS.keys():
        parser.error(f"no section {', '.join(sorted(unknown))}; there are {', '.join(SECTIONS)}")
    missed = 0
    _say(machine())
    for name in options.sections or SECTIONS:
        section: Section = import_module(SECTIONS[name])
        _say("", section.TITLE, line(HEADINGS))
        rows = list(_shown(_measured(section)))
        missed += sum(row.is_met is False for row in rows)
        if options.keep is not None:
            keep(options.keep, name, markdown(section.TITLE, rows))
    _say("", f"{missed} limits missed" if missed else "all limits kept")
    return min(missed, 1)


def _measured(section: Section) -> Iterator[Row]:
    """Its rows; that it cannot go on is one of them, and the next section's turn."""
    try:
        yield from section.rows()
    except FileNotFoundError as error:
        yield absent(section.TITLE, f"no {error.filename} here: install it")
    except (OSError, subprocess.CalledProcessError) as error:
        yield absent(section.TITLE, str(error))


def _shown(rows: Iterable[Row]) -> Iterator[Row]:
    for row in rows:
        _say(line(cells(row)))
        yield row


def _say(*lines: str) -> None:
    sys.stdout.write("".join(f"{text}\n" for text in lines))
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
