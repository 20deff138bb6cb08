"""A recording as a source."""

from pathlib import Path

import pytest

from heaptop.assemble import assemble
from heaptop.backend.base import Allocator, Backend, Timeline
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


def test_one_capture_is_a_timeline_of_one(capture_name: str) -> None:
    backend = ReplayBackend(str(archive(capture_name)))
    assert isinstance(backend, Timeline)
    capture = backend.capture()
    assert list(backend.moments()) == [capture.captured_at or 0.0]
    backend.seek(0)
    assert backend.capture() is capture
    for index in (-1, 1):
        with pytest.raises(IndexError):
            backend.seek(index)


def test_no_recording(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match="check the path"):
        ReplayBackend(str(tmp_path / "missing"))
