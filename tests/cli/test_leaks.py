"""`heaptop leaks`: what it names, of recordings and live, and how it ends."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

import heaptop.report
from tests.cli.conftest import FakeBackend, Run, Use
from tests.timelines import BEGAN_AT, Held, Line, leaking, looked

VALIDATOR = Draft202012Validator(
    json.loads((Path(heaptop.report.__file__).parent / "heaptop-1.schema.json").read_text())
)
EVIL = "evil\n[/x]\x1b[31m"


def test_a_recording_tells_all_its_moments(use: Use, run: Run) -> None:
    use(leaking(30))
    ran = run("leaks", "--json")
    assert ran.code == 0
    document = json.loads(ran.out)
    VALIDATOR.validate(document)
    assert document["watched"]["looks"] == 30
    (suspect,) = document["suspects"]
    assert {key: suspect[key] for key in ("exporter", "size_bytes", "name", "holder", "growth_per_minute")} == {
        "exporter": "system",
        "size_bytes": 16384,
        "name": "codec-out",
        "holder": "mediaserver",
        "growth_per_minute": 60.0,
    }
    assert suspect["confidence"] > 0.8
    evidence = suspect["evidence"]
    assert (evidence["sightings"], evidence["age_s"], evidence["grown"]) == (29, 28.0, 27)
    assert evidence["holders"] == [{"pid": 100, "start_time": None, "comm": "mediaserver", "buffers": 27}]
    assert evidence["first_seen"] == "2023-11-14T22:13:21.000Z"
    assert evidence["inodes"] == list(range(1, 28))


def test_text(use: Use, run: Run) -> None:
    use(leaking(30, name=EVIL, comm="me\x1b[0m"))
    ran = run("leaks")
    assert "line: 1 suspect, watched for 29 s in 30 looks" in ran.out
    assert "! +60 a minute of 16.0 KiB system evil\\n[/x]\\x1b[#1m, held by me\\x1b[0m".replace("#1", "31") in ran.out
    assert "27 buffers (432 KiB) came in 28 s and stayed, at 27 times; 29 sightings" in ran.out
    assert "\x1b" not in ran.out


def test_only_the_last_part_of_a_recording(use: Use, run: Run) -> None:
    use(leaking(30))
    document = json.loads(run("leaks", "--for", "3s", "--json").out)
    assert (document["watched"]["looks"], document["suspects"]) == (4, [])


def test_one_moment_is_no_verdict(use: Use, run: Run) -> None:
    use(leaking(1))
    ran = run("leaks")
    assert (ran.code, "0 suspects" in ran.out, "one moment tells no growth" in ran.err) == (0, True, True)


def test_another_boot_begins_anew(use: Use, run: Run) -> None:
    boots = [looked({"app": [Held(at) for at in range(number)]}, BEGAN_AT + number, 1) for number in range(1, 40)]
    boots += [looked({"app": [Held(1)]}, BEGAN_AT + number, 2) for number in range(40, 60)]
    use(Line(boots))
    assert json.loads(run("leaks", "--json").out)["suspects"] == []


def test_all_classes(use: Use, run: Run) -> None:
    use(Line([looked({"app": [Held(1), Held(2)], "none": []}, BEGAN_AT + at) for at in range(10)]))
    assert "plateau: 2 for 9 s" in run("leaks", "--all").out
    document = json.loads(run("leaks", "--all", "--json").out)
    VALIDATOR.validate(document)
    assert [row["kind"] for row in document["classes"]] == ["plateau"]
    assert run("leaks").out.count("\n") == 1


def test_a_filter_picks_classes(use: Use, run: Run) -> None:
    for expression, count in (("holder:media pid:100 name=codec-out size=16K", 1), ("camera", 0)):
        use(leaking(30))
        assert len(json.loads(run("leaks", "--json", "--filter", expression).out)["suspects"]) == count
    assert run("leaks", "--filter", "size>").code == 2


def test_the_exit_code_is_asked_for(use: Use, run: Run) -> None:
    use(leaking(30))
    assert run("leaks", "--exit-code").code == 1
    assert run("leaks", "--exit-code", "--filter", "camera").code == 0


def test_a_source_that_goes(use: Use, run: Run) -> None:
    backend = use(FakeBackend(looks=2))
    ran = run("leaks", "--for", "1s", "--interval", "0.1")
    assert (ran.code, "plug it in" in ran.err, backend.closed) == (3, True, 1)


def test_a_live_source_is_watched_for_a_time(use: Use, run: Run) -> None:
    use(FakeBackend(looks=9))
    ran = run("leaks", "--for", "0.3s", "--interval", "0.1")
    assert (ran.code, "in 4 looks" in ran.out or "in 3 looks" in ran.out) == (0, True)


@pytest.mark.parametrize("arguments", [("--for", "x"), ("--csv",), ("--sort", "name"), ("--interval", "1ms")])
def test_bad_usage(use: Use, run: Run, arguments: tuple[str, ...]) -> None:
    use(leaking(2))
    assert run("leaks", *arguments).code == 2


def test_an_interrupt_tells_what_was_found() -> None:
    command = [sys.executable, "-m", "heaptop", "-b", "emulator:idle", "leaks", "--for", "1h", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert "watching for 3600 s" in process.stderr.readline()
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (130, "")
    VALIDATOR.validate(json.loads(out))


def test_an_interrupt_that_was_ignored_stays_so(use: Use, run: Run) -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        use(leaking(5))
        assert run("leaks").code == 0
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
        os.kill(os.getpid(), signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)
