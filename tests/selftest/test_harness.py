"""The self test on emulated heaps of both ABIs, on heaps that fail, and on what is no heap."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator

import pytest

from heaptop.selftest.harness import TESTS, Heap
from heaptop_emulator import shared

HEAPTOP = (sys.executable, "-m", "heaptop")
LINE = re.compile(r"(not )?ok (\d+) - (\S+): (.*?)( # (SKIP|TODO) .+)?")


@pytest.fixture(autouse=True)
def _emulator_ends() -> Iterator[None]:
    yield
    shared.stop()


def ran(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([*HEAPTOP, *arguments], capture_output=True, text=True, check=False, timeout=100)


def lines(done: "subprocess.CompletedProcess[str]") -> list[re.Match[str]]:
    """The tests' lines; they are numbered as planned."""
    version, plan, *rest = done.stdout.splitlines()
    found = [match for line in rest if (match := LINE.fullmatch(line))]
    assert (version, plan) == ("TAP version 14", f"1..{len(found)}")
    assert [int(match[2]) for match in found] == list(range(1, len(found) + 1))
    return found


@pytest.mark.parametrize(("profile", "abi"), [("mainline", "mainline"), ("v4", "RFC v4")])
def test_emulated_heaps_hold(profile: str, abi: str) -> None:
    done = ran("-b", "emulator", "selftest", "--profile", profile)
    assert (done.returncode, done.stderr) == (0, "")
    found = lines(done)
    assert len(found) == 3 * len(TESTS)
    assert done.stdout.count(f"the ABI of {abi}\n") == 3
    # What it leaves open is what RFC v4 did.
    assert {match[4] for match in found if match[1]} <= {
        "A struct that cannot be written back leaves no descriptor open"
    }
    assert all(match[6] == "TODO" for match in found if match[1])
    assert sum(match[6] == "SKIP" for match in found) <= 3 * 7


def test_a_heap_that_fails_is_told() -> None:
    inner = ["--", *HEAPTOP, "selftest", "-b", "kernel", "system"]
    done = ran("run", "--emulate", "--quiet", "--fail-heap", "system", *inner)
    assert done.returncode == 1
    failed = [match for match in lines(done) if match[1]]
    assert len(failed) > len(TESTS) // 2
    assert "# ALLOC: expected success, got ENOMEM" in done.stdout


def test_what_is_no_heap_holds_little_and_leaves_nothing() -> None:
    before = set(os.listdir("/proc/self/fd"))
    results = list(Heap("null", "/dev/null").results())
    assert len(results) == len(TESTS)
    failed = [result for result in results if not result.holds]
    assert len(failed) > 25
    assert all("ENOTTY" in result.detail for result in failed[:5])
    assert set(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["-b", "emulator", "selftest", "nowhere"], 2, "no heap 'nowhere'"),
        (["-b", "replay:x", "selftest"], 2, "selftest has nothing to ask of replay:x"),
        (["-b", "emulator:steady", "selftest"], 2, "take -b kernel or -b emulator"),
        (["-b", "kernel", "selftest", "--profile", "v4"], 2, "--profile says nothing to the kernel"),
    ],
)
def test_wrong_words(arguments: list[str], code: int, said: str) -> None:
    done = ran(*arguments)
    assert (done.returncode, done.stdout) == (code, "")
    assert said in done.stderr
    assert "Traceback" not in done.stderr
