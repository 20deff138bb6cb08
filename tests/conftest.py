"""Fixtures for all tests."""

import os
import signal
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from heaptop_emulator import shared
from tests.support import CAPTURES, archive

# A busy machine is no reason to fail. CI judges a change: it takes the same examples each time.
settings.register_profile("heaptop", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("heaptop")

# A shell in the background ignores SIGINT, nohup SIGHUP: heaptop and all children would inherit that, and respect it.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)

CaptureDir = Callable[[str], Path]


@pytest.fixture(scope="session", autouse=True)
def runtime_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The shared emulator of the tests is not that of who runs them, and does not outlive them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_RUNTIME_DIR", str(tmp_path_factory.mktemp("runtime")))
        yield
        shared.stop()


@pytest.fixture(scope="session")
def capture_dir(tmp_path_factory: pytest.TempPathFactory) -> CaptureDir:
    """A function from a capture's name to the folder it is unpacked in. Treat it as read-only."""
    unpacked: dict[str, Path] = {}

    def unpack(name: str) -> Path:
        if name not in unpacked:
            unpacked[name] = tmp_path_factory.mktemp(name)
            with tarfile.open(archive(name)) as tar:
                tar.extractall(unpacked[name], filter="data")
        return unpacked[name]

    return unpack


@pytest.fixture(params=CAPTURES)
def capture_name(request: pytest.FixtureRequest) -> str:
    """Each capture of a real kernel in turn."""
    return str(request.param)
