"""`--profile-self`: shares of the CPU time that was really taken, by part."""

import re
import signal
import sys
import time

import pytest

from heaptop.cli.self_profile import SelfProfile, part_of


def test_it_counts_cpu_time(capsys: pytest.CaptureFixture[str]) -> None:
    before = signal.getsignal(signal.SIGPROF)
    with SelfProfile().running():
        began = time.process_time()
        while time.process_time() - began < 0.2:
            sum(range(100))
    text = capsys.readouterr().err
    assert re.search(r"heaptop: 0\.[2-9]\d s of CPU time", text)
    shares = [float(share) for share in re.findall(r"(\d+\.\d)%", text)]
    assert sum(shares) == pytest.approx(100, abs=1)
    assert signal.getsignal(signal.SIGPROF) is before
    assert signal.getitimer(signal.ITIMER_PROF) == (0.0, 0.0)


def test_parts() -> None:
    assert part_of(sys._getframe()) == "tests"
