"""A process that ends, and another that gets its pid, between two looks: both real, in a pid namespace of their own."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("heaptop.scan._scan")

ROOT = Path(__file__).parent.parent.parent


def test_a_pid_that_is_used_again() -> None:
    """Its run time tells at once; if ever two ran equally long to the nanosecond, its turn among the others does."""
    command = ["unshare", "--pid", "--fork", "--mount-proc", sys.executable, "-m", "tests.scan.reuse"]
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
    except FileNotFoundError:
        pytest.skip("no unshare here")
    if "Operation not permitted" in done.stderr or "Permission denied" in done.stderr:
        pytest.skip("needs root, for a pid namespace")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["first"], told["second"], told["gone"]) == (["/dmabuf:first"], ["/dmabuf:second"], [])
    assert told["times"][0] != told["times"][1]
    assert told["looks"] is not None
