"""`heaptop sites`: a program that leaks through libstdc++ and a library is named by function and line."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from heaptop_emulator import shared
from tests.stacks.programs import build, line_of

BUFFERS = 6


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A shared emulator of the test's own."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    yield
    shared.stop(str(tmp_path / "heaptop"))


@pytest.fixture(scope="module")
def player(tmp_path_factory: pytest.TempPathFactory) -> Path:
    programs = tmp_path_factory.mktemp("player")
    build(programs, "libheap.so", ["heaplib.cc"], "-O2", "-g", "-fPIC", "-shared")
    return build(programs, "player", ["player.cc"], "-O2", "-g", "-pthread", "-DLINKED=heap")


@contextmanager
def running(*command: str | Path) -> Iterator[None]:
    """A program under `heaptop run`, from when it says that it is ready until it is told to end."""
    with subprocess.Popen(
        [sys.executable, "-m", "heaptop", "run", "-q", *map(str, command)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield
        process.communicate("\n", timeout=30)
        assert process.returncode == 0


def heaptop(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "heaptop", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def check(site: dict[str, dict[str, object]]) -> None:
    assert (site["site"]["function"], site["site"]["line"]) == (
        "heap_alloc(int, unsigned long)",
        line_of("heaplib.cc", "ALLOC"),
    )
    assert (site["caller"]["function"], site["caller"]["line"]) == (
        "player::Decoder::keep()",
        line_of("player.cc", "LEAK"),
    )


def test_what_leaks_is_on_top(player: Path, tmp_path: Path) -> None:
    with running("--", player, str(BUFFERS)):
        found = heaptop("-b", "emulator", "sites", "--json")
        text = heaptop("-b", "emulator", "sites").stdout
        written = {
            end: heaptop("-b", "emulator", "sites", "--export", tmp_path / f"x{end}") for end in (".json", ".html")
        }
        again = heaptop("-b", "emulator", "sites", "--export", tmp_path / "x.json")
        captured = heaptop("-b", "emulator", "capture", tmp_path / "recording")
    assert found.returncode == 0, found.stderr
    sites = [site for site in json.loads(found.stdout)["sites"] if site["site"] is not None]
    assert len(sites) == 1
    assert (sites[0]["buffers"], sites[0]["size_bytes"], sites[0]["comms"]) == (BUFFERS, BUFFERS << 16, ["player"])
    check(sites[0])
    stack = sites[0]["stacks"][0]
    assert stack["cut"] is None
    files = {(frame["path"] or "").rpartition("/")[2].partition(".so")[0] for frame in stack["frames"]}
    assert files == {"libc", "libheap", "player", "libstdc++"}
    lines = text.splitlines()
    assert "heap_alloc(int, unsigned long) (heaplib.cc:" in lines[2]
    assert f"player::Decoder::keep() (player.cc:{line_of('player.cc', 'LEAK')})" in lines[3]
    assert all(one.returncode == 0 for one in written.values()), written
    assert json.loads((tmp_path / "x.json").read_text())["profiles"][0]["endValue"] == BUFFERS << 16
    assert "player::Decoder::keep()" in (tmp_path / "x.html").read_text()
    assert again.returncode == 2
    # The recording tells the same when the program has long ended.
    assert captured.returncode == 0, captured.stderr
    replayed = heaptop("-b", f"replay:{tmp_path / 'recording'}", "sites", "--json")
    check(json.loads(replayed.stdout)["sites"][0])


def test_nothing_stays_behind_and_nothing_is_kept_where_it_is_not_wanted(player: Path, tmp_path: Path) -> None:
    with running("--no-stacks", "--", player, "1"):
        found = heaptop("-b", "emulator", "sites")
        assert "heaptop did not watch their allocation" in found.stdout
        assert "run the program with `heaptop run`" in found.stderr
    with running("--", player, "1"):
        assert list((tmp_path / "heaptop" / "stacks" / "emulator").iterdir())
    assert list((tmp_path / "heaptop" / "stacks" / "emulator").iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--export", "x.pdf"), "of no known kind"),
        (("--of", "dead"), "no buffers 'dead'"),
        (("--by", "girth"), "no weight 'girth'"),
        (("-n", "0"), "not a whole number"),
    ],
)
def test_wrong_options(arguments: tuple[str, ...], said: str) -> None:
    ended = heaptop("-b", "simulation:steady", "sites", *arguments)
    assert ended.returncode == 2
    assert said in ended.stderr
