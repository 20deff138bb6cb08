"""A recording as a source."""

from pathlib import Path

import pytest

from heaptop.assemble import assemble
from heaptop.backend.base import Allocator, Backend
from heaptop.backend.replay import ReplayBackend
from heaptop.errors import RecordingError
from tests.support import archive, truth


def test_a_real_capture(capture_name: str) -> None:
    backend = ReplayBackend(str(archive(capture_name)))
    assert isinstance(backend, Backend)
    assert not isinstance(backend, Allocator)
    assert backend.source == backend.capture().source == f"replay:{archive(capture_name)}"
    assert backend.capture() is backend.capture()
    backend.close()
    backend.close()
    buffers = assemble(backend.capture()).buffers
    assert {buffer.inode for buffer in buffers} == {holder.inode for holder in truth(capture_name)}


def test_no_recording(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match="check the path"):
        ReplayBackend(str(tmp_path / "missing"))
