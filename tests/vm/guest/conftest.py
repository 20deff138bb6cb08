"""Fixtures of the tests that run in a guest: the workload, and heaptop as a program."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping

import pytest

from tests.vm.guest.truth import Json, Truth, parse, rows

TIMEOUT_S = 120

Heaptop = Callable[..., subprocess.CompletedProcess[str]]
Answer = Callable[[str], Json]


@pytest.fixture(scope="session")
def truth() -> Iterator[Truth]:
    """What the workload holds, for as long as the tests run."""
    with subprocess.Popen(
        [os.environ["HEAPTOP_VM_WORKLOAD"]], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        yield parse(process.stdout.read())
        process.stdin.close()
        assert process.wait(TIMEOUT_S) == 0


def run_heaptop(
    *arguments: str, before: tuple[str, ...] = (), uid: int | None = None
) -> subprocess.CompletedProcess[str]:
    """Run the program, by way of the command `before`, as that user."""
    return subprocess.run(
        [*before, sys.executable, "-m", "heaptop", *arguments],
        check=False,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="surrogateescape",
        timeout=TIMEOUT_S,
        user=uid,
        group=uid,
        extra_groups=None if uid is None else [],
    )


def document(*arguments: str, before: tuple[str, ...] = (), uid: int | None = None) -> Json:
    """The JSON document that heaptop prints."""
    done = run_heaptop(*arguments, "--json", before=before, uid=uid)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert isinstance(result, dict)
    return result


@pytest.fixture(scope="session")
def answer(truth: Truth) -> Answer:
    """What `heaptop VERB --json` says to root while the workload runs; each verb is asked once."""
    answers: dict[str, Json] = {}

    def ask(verb: str) -> Json:
        if verb not in answers:
            answers[verb] = document(verb)
        return answers[verb]

    return ask


@pytest.fixture(scope="session")
def buffers(answer: Answer) -> Mapping[int, Json]:
    """What `heaptop buffers --json` says to root, by inode."""
    return {int(str(row["inode"])): row for row in rows(answer("buffers")["buffers"])}


@pytest.fixture(scope="session")
def plain_user() -> int:
    """A uid that may run this Python, which may lie below a folder of root's alone (the overlay takes the change)."""
    for path in {sys.executable, os.path.realpath(sys.executable), os.getcwd(), *sys.path}:
        folder = os.path.realpath(path)
        while folder != "/":
            if os.path.isdir(folder):
                os.chmod(folder, os.stat(folder).st_mode | 0o055)
            folder = os.path.dirname(folder)
    return 1000
