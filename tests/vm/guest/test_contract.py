"""A real kernel keeps the contract of backends, with the workload's buffers in view."""

import pytest

from tests.backend.contract import AllocatorContract, BackendContract
from tests.vm.guest.truth import Truth


class TestKernel(BackendContract, AllocatorContract):
    @pytest.fixture
    def source(self, truth: Truth) -> str:
        assert truth.holds
        return "kernel"
