"""Boots each real kernel that can be had, and runs the guest's tests in it."""

import sys
from pathlib import Path

import pytest

from tests.vm.kernels import STOCK, MissingError, find, names
from tests.vm.machine import boot, build

HERE = Path(__file__).parent
RUN_TESTS = ("-m", "pytest", "-c", str(HERE / "guest/pytest.ini"))
GUEST_TESTS = (str(HERE / "guest"),)
SCAN = HERE.parent / "scan"
SCAN_TESTS = tuple(str(SCAN / f"test_{name}.py") for name in ("bpf", "bpf_chunks", "bpf_scan", "churn", "twins"))
WITHOUT_HEAPS = {"debian-6.1": SCAN_TESTS}
"""What is tested where there is no dma-heap: looking at processes, whose files stand for buffers."""
KERNELS = sorted({"6.12", "7.2", *STOCK, *names()})
TIMEOUT_S = 900

pytestmark = [pytest.mark.vm, pytest.mark.timeout(TIMEOUT_S + 60)]


@pytest.mark.parametrize("name", KERNELS)
def test_on_a_real_kernel(name: str, tmp_path: Path) -> None:
    try:
        kernel = find(name)
        build(HERE / "workload.c", tmp_path / "workload")
        status = boot(
            kernel,
            (sys.executable, *RUN_TESTS, *WITHOUT_HEAPS.get(name, GUEST_TESTS)),
            sys.stdout.buffer,
            timeout_s=TIMEOUT_S,
            environment={"HEAPTOP_VM_WORKLOAD": str(tmp_path / "workload"), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        )
    except MissingError as why:
        pytest.skip(str(why))
    assert status == 0
