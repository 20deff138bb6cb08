"""`heaptop cma --fit`: whether a buffer fits, and which buffers of whom would have to go."""

import json

import pytest

from tests.cli.conftest import Run


def test_a_request_that_fits_nowhere_names_who_is_in_the_way(run: Run) -> None:
    answer = run("-b", "emulator:steady", "cma", "--fit", "40M", "--json")
    assert answer.code == 1
    by_area = {item["area"]: item for item in json.loads(answer.out)["fit"]}
    assert by_area["camera"]["fits"] is False
    assert by_area["camera"]["nearest_pfn"] is None, "larger than the area"
    reserved = by_area["reserved"]
    assert (reserved["fits"], reserved["align_bytes"]) == (False, 1 << 20)
    standing = reserved["in_the_way"]
    assert standing
    assert {holder["comm"] for one in standing for holder in one["holders"]} == {"surfaceflinger"}
    assert sum(one["count_pages"] for one in standing) == reserved["in_the_way_pages"]
    assert reserved["other_pages"] == 0


def test_as_text(run: Run) -> None:
    answer = run("-b", "emulator:steady", "cma", "--fit", "40M", "--align", "64K")
    assert answer.code == 1
    assert "will 40.0 MiB fit, aligned to 64.0 KiB?" in answer.out
    assert "reserved  no: largest aligned hole 32.0 MiB" in answer.out
    assert "surfaceflinger" in answer.out
    fits = run("-b", "emulator:steady", "cma", "--fit", "1M")
    assert fits.code == 0
    assert "camera  yes: at pfn 0x" in fits.out


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["--align", "4K"], "add --fit"),
        (["--fit", "0"], "at least 1 byte"),
        (["--fit", "1M", "--align", "12K"], "no power of two"),
        (["--fit", "1M", "--csv"], "says nothing to --fit"),
        (["--fit", "1M", "--interval", "1s"], "says nothing to --fit"),
        (["--fit", "x"], "is not a size"),
    ],
)
def test_what_cannot_be_asked(run: Run, arguments: list[str], why: str) -> None:
    answer = run("-b", "emulator:steady", "cma", *arguments)
    assert answer.code == 2
    assert why in answer.err
