"""A recorder killed at any instant: the recording opens, and what had been written is there."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent


def test_a_hundred_kills_at_random_moments_lose_at_most_the_interval_under_way() -> None:
    """In a process of its own, as it forks."""
    run = [sys.executable, "-m", "tests.recording.killed", "--kills", "100"]
    done = subprocess.run(run, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(rows) == 100
    # All that was told is found; of the moment under way when the signal came there may be all or nothing.
    assert {row["found"] - row["told"] for row in rows} <= {0, 1}
    assert sum(row["told"] for row in rows) > 100
