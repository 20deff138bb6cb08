"""The scan that remembers sees what one that does not sees, after every step of processes that change at random.

Few steps here; `python -m tests.scan.churn` takes 10,000.
"""

import pytest

pytest.importorskip("heaptop.scan._scan")

from tests.scan.churn import run
from tests.scan.test_bpf_scan import only_where_allowed

__all__ = ["only_where_allowed"]


@pytest.mark.usefixtures("only_where_allowed")
@pytest.mark.parametrize(
    ("seed", "closely", "ways"),
    [(21, False, {}), (22, True, {}), (23, True, {"walks": False})],
)
def test_equal_to_full_by_bpf(seed: int, closely: bool, ways: dict[str, bool]) -> None:
    assert run(80, seed, closely=closely, bpf=True, **ways) == []


@pytest.mark.parametrize(
    ("seed", "closely", "ways"),
    [(11, False, {}), (12, True, {}), (13, False, {"asks": False}), (14, True, {"asks": False, "probes": False})],
)
def test_equal_to_full(seed: int, closely: bool, ways: dict[str, bool]) -> None:
    assert run(120, seed, closely=closely, **ways) == []
