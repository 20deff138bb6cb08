"""The emulator and recordings keep the contract of backends."""

import pytest

from tests.backend.contract import AllocatorContract, BackendContract
from tests.support import archive


class TestEmulator(BackendContract, AllocatorContract):
    @pytest.fixture(params=["emulator:steady", "emulator:leak-fd"])
    def source(self, request: pytest.FixtureRequest) -> str:
        return str(request.param)


class TestReplay(BackendContract):
    @pytest.fixture
    def source(self, capture_name: str) -> str:
        return f"replay:{archive(capture_name)}"
