"""A recording of a real kernel replays to what was seen."""

from pathlib import Path

import pytest

from tests.vm.guest.conftest import document
from tests.vm.guest.truth import Json, Truth


@pytest.fixture(scope="module", params=["folder", "live.tar.gz"])
def recorded(
    request: pytest.FixtureRequest, truth: Truth, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Json]:
    """A recording, and what was seen when it was made."""
    path = tmp_path_factory.mktemp("recording") / request.param
    return path, document("capture", str(path))


def test_a_replay_tells_the_same(recorded: tuple[Path, Json]) -> None:
    path, seen = recorded
    again = path.with_name("again")
    replayed = document("-b", f"replay:{path}", "capture", str(again))
    assert seen.pop("source") == "kernel"
    assert replayed.pop("source") == f"replay:{path}"
    assert replayed == seen
