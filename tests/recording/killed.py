"""Kills recorders with SIGKILL at random moments, and says what was lost: `python -m tests.recording.killed`.

Ten recorders, one after the other, go on with the same recording. Each tells through a pipe when a moment was written;
it is killed after some of them and a random part of the time that the next one takes. No sleep: it is busy until then.
"""

import argparse
import json
import os
import random
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from heaptop import recording
from heaptop.assemble import assemble
from heaptop.recorder import Recorder
from heaptop.recording.series import Series
from heaptop.session import Session
from tests.recording.phone import lives

RECORDERS = 10


def record(path: str, seed: int, told: int) -> None:
    """Record as fast as can be, until killed; a byte to `told` after each moment that is written."""
    phones = lives(seed, 1 << 30)
    phone = next(phones)
    phone.tick(seed * 1000)  # each begins later than the one before
    recorder = Recorder(path, tell=lambda _: None, clock=lambda: phone.at, uptime=lambda: phone.up)
    session = Session(phone, lambda: phone.at)
    session.observer = recorder.observe
    session.refresh()
    os.write(told, b".")
    for _ in phones:
        session.refresh()
        os.write(told, b".")


def kill_one(path: str, rng: random.Random, number: int) -> int:
    """Start a recorder, kill it, and give the number of moments that it told of."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.close(read)
            record(path, number, write)
        finally:
            os._exit(1)
    os.close(write)
    told, wanted = 0, rng.randrange(1, 12)
    while told < wanted:
        told += len(os.read(read, 1))
    until = time.perf_counter() + rng.random() * 0.002
    while time.perf_counter() < until:
        pass
    os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    assert os.WIFSIGNALED(status)
    while rest := os.read(read, 4096):
        told += len(rest)
    os.close(read)
    return told


def moments(path: str, before: int) -> int:
    """How many moments the recording has; each after the first `before` is opened."""
    series = recording.read_all(path)
    assert isinstance(series, Series)
    for index in range(before, len(series.moments)):
        capture = series.capture(index)
        assert "recording" not in capture.files, (index, capture.files["recording"])
    assert assemble(series.capture(0)).buffers
    return len(series.moments)


def run(kills: int, seed: int, folder: str) -> list[dict[str, Any]]:
    """What each kill cost: moments that were written, told of and found."""
    rng, rows, before = random.Random(seed), [], 0
    for number in range(kills):
        if number % RECORDERS == 0:
            before = 0
        path = str(Path(folder) / f"recording{number // RECORDERS}")
        told = kill_one(path, rng, number)
        found = moments(path, before)
        rows.append({"kill": number, "told": told, "found": found - before})
        before = found
    return rows


def main() -> int:
    """Print a line of JSON for each kill, and what was lost at most."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rows = run(options.kills, options.seed, folder)
    sys.stdout.write("".join(json.dumps(row) + "\n" for row in rows))
    return 0 if all(row["found"] >= row["told"] for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
