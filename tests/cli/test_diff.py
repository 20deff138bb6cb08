"""`heaptop diff`: recordings, moments, sources; text, JSON and the exit code."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

import heaptop.report
from heaptop import recording
from tests.cli.conftest import Run
from tests.support import archive
from tests.timelines import BEGAN_AT, Held, looked

VALIDATOR = Draft202012Validator(
    json.loads((Path(heaptop.report.__file__).parent / "heaptop-1.schema.json").read_text())
)
Write = Callable[..., str]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write_it(name: str, holders: Mapping[str, Sequence[Held]], boot: int = 1) -> str:
        path = str(tmp_path / name)
        recording.write(looked(holders, BEGAN_AT, boot), path)
        return path

    return write_it


def test_new_gone_and_changed(write: Write, run: Run) -> None:
    before = write("a", {"camera": [Held(1), Held(2)], "app": []})
    after = write("b", {"camera": [Held(2), Held(3, 4096, "x")], "app": [Held(2)]})
    ran = run("diff", before, after)
    assert ran.code == 0
    lines = [line.split() for line in ran.out.splitlines()]
    assert ran.out.splitlines()[0].endswith("1 new, 1 gone, 1 changed; -12.0 KiB")
    assert ["+", "3", "4.00", "KiB", "x", "system", "camera(100)"] in lines
    assert ["-", "1", "16.0", "KiB", "codec-out", "system", "camera(100)"] in lines
    assert [">", "2", "16.0", "KiB", "codec-out", "system", "camera(100)", "app(101)", "+app(101)"] in lines
    document = json.loads(run("diff", before, after, "--json").out)
    VALIDATOR.validate(document)
    assert (document["same"], document["same_boot"], document["buffers_delta"], document["bytes_delta"]) == (
        False,
        True,
        0,
        -12288,
    )
    assert [[one["inode"] for one in document[key]] for key in ("new", "gone", "changed")] == [[3], [1], [2]]
    assert document["changed"][0]["fields"] == ["holders"]
    assert [(one["name"], one["holder"], one["buffers_before"], one["buffers_now"]) for one in document["classes"]] == [
        ("codec-out", "app+camera", 0, 1),
        ("x", "camera", 0, 1),
        ("codec-out", "camera", 2, 0),
    ]
    assert [one["comm"] for one in document["processes"]] == ["app", "camera"]


def test_the_exit_code_is_asked_for(write: Write, run: Run) -> None:
    before, after = write("a", {"camera": [Held(1)]}), write("b", {"camera": [Held(1), Held(2)]})
    assert run("diff", before, after).code == 0
    assert run("diff", before, after, "--exit-code").code == 1
    same = run("diff", before, before, "--exit-code")
    assert (same.code, "nothing changed" in same.out) == (0, True)
    assert run("diff", before, after, "--exit-code", "--filter", "holder:app").code == 0
    assert run("diff", before, after, "--exit-code", "--filter", "holder:cam").code == 1


def test_two_boots_are_compared_by_class(write: Write, run: Run) -> None:
    before, after = write("a", {"camera": [Held(1)]}), write("b", {"camera": [Held(1), Held(2)]}, boot=2)
    ran = run("diff", before, after)
    assert "two boots: inodes have nothing in common" in ran.out
    assert "2 (+1)" in ran.out
    assert "camera(100)" not in ran.out
    assert json.loads(run("diff", before, after, "--json").out)["same_boot"] is False


@pytest.mark.parametrize("name", ["6.12.117-x86_64", "7.2.13-x86_64"])
def test_captures_of_real_kernels(name: str, run: Run) -> None:
    other = "6.12.117-debian-x86_64"
    document = json.loads(run("diff", str(archive(other)), str(archive(name)), "--json").out)
    VALIDATOR.validate(document)
    assert "\x1b" not in run("diff", str(archive(other)), str(archive(name))).out


def test_moments_of_one_recording(run: Run) -> None:
    whole = json.loads(run("diff", "simulation:leak-map", "--json").out)
    VALIDATOR.validate(whole)
    assert {one["name"]: one["buffers_now"] for one in whole["classes"]}["thumbnail"] == 1200
    part = json.loads(run("diff", "simulation:leak-map@first", "simulation:leak-map@1%", "--json").out)
    assert {one["name"]: one["buffers_now"] for one in part["classes"]}["thumbnail"] == 12
    assert run("diff", "simulation:leak-map@first", "-b", "simulation:leak-map", "--exit-code").code == 1


@pytest.mark.parametrize(
    "other", ["bugreport.txt", "dmabuf_dump-a.txt", "dmabuf_dump-b.txt", "dmabuf_dump.csv", "rk.txt"]
)
def test_other_tools_dumps(other: str, run: Run) -> None:
    folder = Path(__file__).parent.parent / "dumps"
    pair = str(folder / "dmabuf_dump.txt"), str(folder / other)
    VALIDATOR.validate(json.loads(run("diff", *pair, "--json").out))
    assert run("diff", *pair).code == 0


def test_an_at_sign_in_a_name(write: Write, run: Run) -> None:
    path = write("a@b", {"camera": [Held(1)]})
    assert run("diff", path, path).code == 0


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ((), 2),
        (("/nowhere", "/nowhere"), 4),
        (("simulation:steady@half", "simulation:steady"), 2),
        (("simulation:nothing",), 2),
        (("simulation:idle", "simulation:idle", "--filter", "size>"), 2),
        (("simulation:idle", "x", "y"), 2),
    ],
)
def test_bad_usage(run: Run, arguments: tuple[str, ...], code: int) -> None:
    assert run("diff", *arguments).code == code
