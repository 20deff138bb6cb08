"""`heaptop bench`: what it measures, what it refuses, and that nothing is left."""

import errno
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

import heaptop.report
from heaptop.cli.main import main
from heaptop_emulator import shared
from tests.cli.conftest import FakeBackend, FakeHeaps, Run, Use

SCHEMA = json.loads((Path(heaptop.report.__file__).parent / "heaptop-1.schema.json").read_text())
STEPS = ["allocate", "map", "touch", "sync", "free"]


@pytest.fixture(autouse=True)
def _budget(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("heaptop.cli.bench.check_budget", lambda *_: None)


def test_each_heap_and_size_has_a_row_a_step(use: Use, run: Run) -> None:
    heaps = FakeHeaps()
    use(heaps)
    before = len(os.listdir("/proc/self/fd"))
    ran = run("bench", "--size", "4K,64K", "--count", "5", "--json")
    assert ran.code == 0
    document = json.loads(ran.out)
    Draft202012Validator(SCHEMA).validate(document)
    rows = document["latencies"]
    assert [(row["heap"], row["size_bytes"], row["step"]) for row in rows] == [
        (heap, size, step) for heap in ("reserved", "system") for size in (4096, 65536) for step in STEPS
    ]
    assert {row["count"] for row in rows} == {5, None}
    assert all((row["count"] is None) == (row["step"] == "sync") for row in rows)  # a memfd knows no SYNC
    assert {row["p50_s"] for row in rows if row["step"] == "allocate"} == {0.0000125}
    assert len(heaps.given) == 4 * 6
    assert len(os.listdir("/proc/self/fd")) == before
    assert heaps.closed == 1


def test_a_second_heap_is_measured_in_turn(use: Use, run: Run) -> None:
    heaps = FakeHeaps()
    use(heaps)
    ran = run("bench", "--size", "4K", "--count", "3", "--against", "reserved", "--csv")
    header, *rows = ran.out.splitlines()
    assert header.startswith("heap,size_bytes,step,count,p50_s")
    assert [row.split(",")[0] for row in rows] == ["system"] * 5
    assert [allocation.heap for allocation in heaps.given] == ["system", "reserved"] * 4
    assert rows[0].endswith(",1.0")


def test_what_one_heap_refuses_does_not_stop_the_others(use: Use, run: Run) -> None:
    use(FakeHeaps(refusals={0: errno.ENOMEM}, names=("reserved", "system")))
    ran = run("bench", "--size", "4K", "--count", "2")
    assert ran.code == 3  # the fake refuses as long as nothing was given: both
    assert ran.err.count("note: ") == 2
    assert "ENOMEM" in ran.err
    use(FakeHeaps(refusals={3: errno.ENOMEM}))
    ran = run("bench", "--size", "4K", "--count", "2")
    assert ran.code == 0
    assert "note: system refused" in ran.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nowhere"], "no heap 'nowhere'"),
        (["--against", "nowhere"], "no heap 'nowhere'"),
        (["--size", "0"], "SIZE 0"),
        (["--size", "4K,"], "SIZE"),
        (["--size", "-1"], "negative"),
        (["--count", "0"], "--count 0"),
        (["--readonly"], "allocates nothing"),
    ],
)
def test_wrong_words(use: Use, run: Run, arguments: list[str], said: str) -> None:
    use(FakeHeaps())
    ran = run("bench", *arguments)
    assert (ran.code, ran.out) == (2, "")
    assert said in ran.err


def test_what_cannot_allocate_is_told(use: Use, run: Run) -> None:
    use(FakeBackend())
    assert run("bench").err == "heaptop: bench: fake cannot allocate; only the running kernel and the emulator can\n"
    use(FakeHeaps(names=()))
    assert run("bench").code == 3


def test_too_much_needs_force(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.undo()
    assert main(["-b", "emulator:idle", "bench", "system", "--size", "900M", "--count", "1"]) == 2
    assert "more than half of the" in capsys.readouterr().err


def test_an_interrupt_gives_everything_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    client, _ = shared.connect_or_start(lasting=True)
    try:
        command = [sys.executable, "-m", "heaptop", "-b", "emulator", "bench", "--size", "1M", "--count", "1000000"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as bench:
            seen = client.events()
            os.set_blocking(seen, True)
            assert os.read(seen, 1)  # it has allocated
            bench.send_signal(signal.SIGINT)
            out, err = bench.communicate(timeout=60)
        os.close(seen)
        assert (bench.returncode, out) == (130, "")
        assert len(err.splitlines()) == 1  # which emulator it took
        assert client.about().buffers == 0
    finally:
        client.close()
        shared.stop()
