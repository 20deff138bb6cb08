"""`heaptop check`: the exit code, and every form of the judgement."""

import json
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

import heaptop.report
from tests.cli.conftest import Ran, Run, Use
from tests.cli.growing import Daemon
from tests.timelines import Held

VALIDATOR = Draft202012Validator(
    json.loads((Path(heaptop.report.__file__).parent / "heaptop-1.schema.json").read_text())
)
QUICK = ("--settle", "0.1")
GALLERY = (1 << 18, 1 << 20, 1 << 22)


def gallery(look: int) -> dict[str, list[Held]]:
    """Other processes meanwhile: a ring of textures whose sizes are drawn by lot, and a ring that turns fast."""
    turn = look // 5
    textures = [
        Held(10_000 + turn + each, GALLERY[(turn + each) * 7 % 3], f"texture {turn + each}") for each in range(6)
    ]
    return {"gallery": textures, "codec": [Held(20_000 + look * 3 + each, 2 << 20, "ring") for each in range(8)]}


@pytest.fixture
def daemon(tmp_path: Path, use: Use) -> Daemon:
    made = Daemon(tmp_path / "ledger", others=gallery)
    use(made)
    return made


def test_one_buffer_in_twenty_cycles_fails_and_the_mended_twin_passes(daemon: Daemon, run: Run) -> None:
    for round_ in range(3):
        failed = run("check", *QUICK, "--", *daemon.leaks_every(20))
        assert failed.code == 1, round_
        assert failed.out == (
            "check failed: grown by 0.05 buffers a cycle, allowed: 0 buffers a cycle; 20 cycles\n"
            "  +1 x 16.0 KiB of system codec-out, held by mediaserver, in 1 of 20 cycles\n"
        ), round_
        passed = run("check", *QUICK, "--", "true")
        assert (passed.code, passed.out) == (
            0,
            "check passed: grown by 0 buffers a cycle, allowed: 0 buffers a cycle; 20 cycles\n",
        ), round_


def checked(run: Run, daemon: Daemon, *arguments: str) -> Ran:
    return run("check", *QUICK, "--count", "3", *arguments, "--", *daemon.leaks_every(1))


def test_limits(daemon: Daemon, run: Run) -> None:
    for limit, code in (("1/cycle", 0), ("0.5/cycle", 1), ("16K/cycle", 0), ("15K/cycle", 1)):
        assert checked(run, daemon, "--max-growth", limit).code == code, limit


def test_json_and_junit(daemon: Daemon, run: Run, tmp_path: Path) -> None:
    junit = tmp_path / "junit.xml"
    ran = checked(run, daemon, "--json", "--junit", str(junit))
    document = json.loads(ran.out)
    VALIDATOR.validate(document)
    assert (ran.code, document["passed"], document["excess"]) == (1, False, {"buffers": 1.0, "bytes": 16384.0})
    (one,) = document["classes"]
    assert (one["name"], one["holder"], one["judged"]) == ("codec-out", "mediaserver", "failed")
    suite = ET.fromstring(junit.read_text())[0]
    assert [suite.get(name) for name in ("tests", "failures", "errors", "skipped")] == ["2", "2", "0", "0"]
    assert "every cycle" in (suite[1].get("name") or "")


def test_suppressions(daemon: Daemon, run: Run, tmp_path: Path) -> None:
    ignore, junit = tmp_path / "ignore", tmp_path / "junit.xml"
    ignore.write_text("name:codec-out and holder:media # known <&> kept\nexporter:drm # boot logo\n")
    ran = checked(run, daemon, "--ignore", str(ignore), "--junit", str(junit))
    assert ran.code == 0
    assert "suppressed (known <&> kept): +1 x 16.0 KiB" in ran.out
    assert "note: suppression in line 2 matched nothing: exporter:drm" in ran.out
    suite = ET.fromstring(junit.read_text())[0]
    assert [case.find("skipped") is not None for case in suite.findall("testcase")] == [False, True]
    document = json.loads(checked(run, daemon, "--ignore", str(ignore), "--json").out)
    VALIDATOR.validate(document)
    assert document["unused_suppressions"] == [{"line": 2, "expression": "exporter:drm", "reason": "boot logo"}]
    ignore.write_text("name:codec-out\n")
    ran = checked(run, daemon, "--ignore", str(ignore))
    assert (ran.code, "ignore line 1: no reason" in ran.err) == (2, True)
    assert checked(run, daemon, "--ignore", str(tmp_path / "none")).code == 2


def test_a_baseline_is_kept_and_compared(daemon: Daemon, run: Run, tmp_path: Path) -> None:
    path = tmp_path / "baseline.json"
    written = checked(run, daemon, "--write-baseline", str(path))
    assert (written.code, written.out) == (0, "")
    assert json.loads(path.read_text())["classes"][0]["buffers"] == 1.0
    same = checked(run, daemon, "--baseline", str(path))
    assert (same.code, "as in the baseline: +1 x 16.0 KiB" in same.out) == (0, True)
    twice = ("sh", "-c", f"printf ++ >> {daemon.ledger}")
    assert run("check", *QUICK, "--count", "3", "--baseline", str(path), "--", *twice).code == 1
    gone = run("check", *QUICK, "--count", "3", "--baseline", str(path), "--", "true")
    assert (gone.code, "has not grown, though the baseline has it: 16.0 KiB of system codec-out" in gone.out) == (
        0,
        True,
    )
    document = json.loads(run("check", *QUICK, "--count", "2", "--baseline", str(path), "--json", "--", "true").out)
    VALIDATOR.validate(document)


@pytest.mark.parametrize(
    "text",
    ["", "{}", "[]", '{"schema": "x"}', '{"schema": "heaptop-baseline/1", "per": "minute", "classes": []}', "[" * 9999],
)
def test_a_bad_baseline(daemon: Daemon, run: Run, tmp_path: Path, text: str) -> None:
    path = tmp_path / "baseline.json"
    path.write_text(text)
    assert checked(run, daemon, "--baseline", str(path)).code == 4


def test_files_that_cannot_be_written(daemon: Daemon, run: Run, tmp_path: Path) -> None:
    assert checked(run, daemon, "--junit", str(tmp_path / "no" / "junit.xml")).code == 4
    assert list(tmp_path.glob("*.tmp")) == []
    assert checked(run, daemon, "--junit", "/dev/null").code == 1


def test_a_command_that_fails_is_an_error_in_junit(daemon: Daemon, run: Run, tmp_path: Path) -> None:
    junit = tmp_path / "junit.xml"
    ran = run("check", *QUICK, "--warmup", "0", "--json", "--junit", str(junit), "--", "sh", "-c", "exit 3")
    assert (ran.code, "failed with exit status 3" in ran.err) == (1, True)
    VALIDATOR.validate(json.loads(ran.out))
    error = ET.fromstring(junit.read_text())[0][0].find("error")
    assert error is not None
    assert "exit status 3" in (error.get("message") or "")


def test_a_source_that_goes_is_an_error_in_junit(daemon: Daemon, run: Run, tmp_path: Path) -> None:
    daemon.gone_after = 5
    junit = tmp_path / "junit.xml"
    assert run("check", *QUICK, "--junit", str(junit), "--", "true").code == 3
    assert "plug it in" in junit.read_text()


def test_hostile_names_in_every_form(daemon: Daemon, run: Run, tmp_path: Path) -> None:
    evil = "]]>\x1b[31m\x00\ufffe<&'\""[:31].replace("\x00", "")
    daemon.others = lambda look: {"e\x07vil": [Held(500 + at, name=evil) for at in range(look)]}
    junit = tmp_path / "junit.xml"
    ran = checked(run, daemon, "--junit", str(junit))
    assert "]]>\\x1b[31m" in ran.out
    ET.fromstring(junit.read_text())


def test_growth_by_the_minute(daemon: Daemon, run: Run) -> None:
    command = ("sh", "-c", f"for i in 1 2 3 4 5 6 7 8 9 10; do printf + >> {daemon.ledger}; sleep 0.4; done")
    ran = run("check", "--max-growth", "100K/min", "--json", "--", *command)
    document = json.loads(ran.out)
    VALIDATOR.validate(document)
    assert (ran.code, document["per"], document["cycles"]) == (1, "minute", None)
    assert run("check", "--max-growth", "8M/min", "--filter", "holder:camera", "--", "sleep", "0.3").code == 0


def test_too_short_to_tell_growth_by_the_minute(daemon: Daemon, run: Run) -> None:
    ran = run("check", "--max-growth", "0/min", "--", "true")
    assert (ran.code, "too few to tell growth by" in ran.err) == (0, True)
    assert run("check", "--max-growth", "0/min", "--timeout", "0.2", "--", "sleep", "100").code == 1
    assert run("check", "--max-growth", "0/min", "--", "false").code == 1


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("--max-growth", "1/fortnight", "--", "true"),
        ("--max-growth", "1/min", "--count", "3", "--", "true"),
        ("--max-growth", "1/min", "--marks", "stdin"),
        ("--marks", "signal", "--timeout", "1"),
    ],
)
def test_bad_usage(daemon: Daemon, run: Run, arguments: tuple[str, ...]) -> None:
    assert run("check", *arguments).code == 2
