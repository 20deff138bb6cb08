"""docs/found.md is what `tools/leaks.py` says, and what each scenario says must be found."""

from pathlib import Path

import pytest

from heaptop_emulator.scenarios import SCENARIOS
from tools import leaks

TABLE = (Path(__file__).parent.parent / "docs" / "found.md").read_text()
SHORT_S = {"storm": 60, "fragmentation": 120, "hostile-names": 120, "pinned": 120}
"""What takes long to simulate is watched for so long here; the table has all ten minutes of it."""


@pytest.mark.parametrize("name", SCENARIOS)
def test_the_table_is_up_to_date(name: str) -> None:
    row = leaks.scenario_row(name, SHORT_S.get(name, leaks.QUIET_S))
    assert row in TABLE, "python tools/leaks.py > docs/found.md"


@pytest.mark.parametrize("name", SCENARIOS)
def test_what_must_be_found_is(name: str) -> None:
    (row,) = (line for line in TABLE.splitlines() if line.startswith(f"| {name} |"))
    wanted, found = (cell.strip() for cell in row.split("|")[2:4])
    expected = SCENARIOS[name].expected
    if expected is None:
        assert (wanted, found) == ("no suspect", "no suspect")
    else:
        assert found.endswith(wanted)
        assert f"{expected.exporter} {expected.name} " in found
