"""`heaptop selftest` on real heaps: they do what the ABI says, but for what is known of this kernel."""

import re

from tests.vm.guest.conftest import run_heaptop

KNOWN = "A struct that cannot be written back leaves no descriptor open"


def test_real_heaps_hold() -> None:
    done = run_heaptop("-b", "kernel", "selftest")
    assert done.returncode == 0, done.stdout + done.stderr
    version, plan, *rest = done.stdout.splitlines()
    tests = [line for line in rest if not line.startswith("#")]
    assert (version, plan) == ("TAP version 14", f"1..{len(tests)}")
    assert tests
    for line in tests:
        assert line.startswith("ok ") or re.fullmatch(rf"not ok \d+ - \S+: {KNOWN} # TODO .+", line)
    skipped = [line for line in tests if "# SKIP" in line]
    assert len(skipped) < len(tests) // 5
