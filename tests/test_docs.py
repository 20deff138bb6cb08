"""The documentation names every verb, option and exit code, and the manual page is the parser's."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from heaptop.cli.completion import flags_of
from heaptop.cli.manpage import EXIT_CODES, page
from heaptop.cli.verbs import VERBS, Verb
from heaptop.errors import Exit
from heaptop_emulator.scenarios import SCENARIOS, Scenario

DOCS = Path(__file__).parent.parent / "docs"
VERB_NAMES = tuple(verb.name for verb in VERBS)
SPELLINGS = sorted({spelling for verb in (None, *VERB_NAMES) for flag in flags_of(verb) for spelling in flag.spellings})


@pytest.fixture(scope="module")
def cli_page() -> str:
    return (DOCS / "cli.md").read_text()


@pytest.fixture(scope="module")
def manual() -> str:
    return (DOCS / "heaptop.1").read_text().replace("\\-", "-")


@pytest.mark.parametrize("verb", VERB_NAMES)
def test_every_verb(verb: str, cli_page: str, manual: str) -> None:
    assert re.search(rf"^\| `{verb}[ `]", cli_page, re.MULTILINE)
    assert f".SS \\fB{verb}\\fR" in manual


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_every_option(spelling: str, cli_page: str, manual: str) -> None:
    assert re.search(rf"`{spelling}[ `]", cli_page)
    assert f"\\fB{spelling}\\fR" in manual


@pytest.mark.parametrize("code", [int(code) for code in Exit])
def test_every_exit_code(code: int, cli_page: str, manual: str) -> None:
    assert re.search(rf"^\| {code} \|", cli_page, re.MULTILINE)
    assert f".TP\n\\fB{code}\\fR\n" in manual
    assert code in dict(EXIT_CODES)


@pytest.mark.parametrize("verb", [verb for verb in VERBS if "sort" in verb.common], ids=lambda verb: verb.name)
def test_every_sort_key(verb: Verb, cli_page: str) -> None:
    assert f"`{verb.name}` {', '.join(verb.sort_keys())}" in cli_page.replace("\n", " ")


@pytest.mark.parametrize("scenario", SCENARIOS.values(), ids=lambda scenario: scenario.name)
def test_every_scenario(scenario: Scenario) -> None:
    assert f"\n| `{scenario.name}` | {scenario.finding} |\n" in (DOCS / "emulator.md").read_text()


def test_the_manual_is_up_to_date() -> None:
    assert (DOCS / "heaptop.1").read_text() == page(), "python -m heaptop.cli.manpage > docs/heaptop.1"


@pytest.mark.skipif(shutil.which("mandoc") is None, reason="needs mandoc")
def test_the_manual_is_clean() -> None:
    linted = subprocess.run(
        ["mandoc", "-T", "lint", "-W", "warning", str(DOCS / "heaptop.1")], capture_output=True, text=True, check=False
    )
    assert (linted.returncode, linted.stdout + linted.stderr) == (0, "")


@pytest.mark.skipif(shutil.which("groff") is None, reason="needs groff")
def test_the_manual_formats() -> None:
    shown = subprocess.run(
        ["groff", "-ww", "-man", "-Tascii", str(DOCS / "heaptop.1")], capture_output=True, text=True, check=False
    )
    assert (shown.returncode, shown.stderr) == (0, "")
