"""Fixtures for recordings."""

import os
from collections.abc import Iterator

import pytest


@pytest.fixture
def as_another_user(tmp_path: object) -> Iterator[None]:
    """Lose root's rights for a while; folders of pytest are their owner's only."""
    if os.geteuid() != 0:
        pytest.skip("needs root to become another user")
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)
